"""What is wrong with a script's #SBATCH lines as such: unknown options, late ones, placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from shlex import quote

from hpcdl.batchscript.comments import without_comment
from hpcdl.batchscript.model import BatchScript, Directive, ScriptFinding
from hpcdl.batchscript.sbatchtable import OPTIONS, candidates, long_name
from hpcdl.batchscript.sizes import memory_mb, slurm_seconds
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

# Words of other systems, and what people call SLURM's options
_MEANT = {
    **dict.fromkeys(("walltime", "wall-time", "timelimit", "time-limit", "wall"), "time"),
    **dict.fromkeys(("ncpus", "cpus", "cores", "threads", "ppn", "ncores"), "cpus-per-task"),
    **dict.fromkeys(("queue", "q"), "partition"),
    **dict.fromkeys(("project", "group"), "account"),
    **dict.fromkeys(("name", "jobname"), "job-name"),
    **dict.fromkeys(("memory", "ram"), "mem"),
    **dict.fromkeys(("gpu", "ngpus", "num-gpus"), "gpus"),
    **dict.fromkeys(("email", "mail"), "mail-user"),
    **dict.fromkeys(("stdout", "out", "log"), "output"),
    **dict.fromkeys(("stderr", "err"), "error"),
    **dict.fromkeys(("tasks", "nprocs", "np", "procs"), "ntasks"),
    **dict.fromkeys(("cwd", "workdir", "directory"), "chdir"),
}
_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\{\{.*\}\}|\[(?:your|account|project|partition|email)[^\]]*\]"
    r"|\byour(?:[-_. ]|\b)|\bYOUR[A-Z_-]|^x{3,}$|^X{2,}\d*$|change[-_]?me|\bTODO\b|\bFIXME\b"
    r"|^(?:ACCOUNT|PROJECT|GROUP|PARTITION|QUEUE|QOS|EMAIL|PROJECT_?ID|ACCOUNT_?NAME)$|^\.\.\.$",
)
# In a command, which to bash is: read from a file, and write to another
_PLACEHOLDER_IN_PATH = re.compile(r"[^\s\"'=<>]*(?<=[/=@])<[A-Za-z][\w .-]*>(?=[/:\s\"'.]|$)")
_IN_QUOTES = re.compile(r"\s*(?:export\s+)?\w+=([\"']).*")  # an assignment; other texts are free
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]")
# Options in which a dollar or an odd text is one's own affair, or another finding's
_FREE = ("comment", "export", "wrap", "output", "error", "input", "job-name")
_NEAR = 0.75  # how alike two names are where one may be meant: partion, not image and time
_NUMBERS = ("ntasks", "ntasks-per-node", "cpus-per-task", "cpus-per-gpu", "ntasks-per-socket")
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
_INDENTED = re.compile(r"[ \t]+#SBATCH\s+-")
_ODD_BLANK = "\N{NO-BREAK SPACE}"
_ODD_QUOTES = (
    *("\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),
    *("\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"),
    "\N{DOUBLE LOW-9 QUOTATION MARK}",
)
_DASHES = ("\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}")


def line_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """What is wrong with single lines."""
    for line, fault in script.faults:
        yield ScriptFinding(
            "bad-value",
            line,
            f"sbatch cannot read this line: {fault}",
            f"close it, or put the value in quotes: {_shown(script.line(line))}",
            blocks=True,
        )
    yield from _odd_letters(script)
    before: dict[int, Directive] = {}  # the last option of each line
    strays: set[int] = set()
    for directive in script.all_directives:
        if directive.is_option:
            before[directive.line] = directive
        if not directive.is_option:
            if directive.line not in strays:  # of a line the first says enough
                yield _stray(script, directive, before.get(directive.line))
            strays.add(directive.line)
        elif directive.name not in OPTIONS and not around.sbatch_takes:
            yield _unknown(directive)
        elif directive.name in OPTIONS and not _has_odd_blank(directive):
            yield from _value_findings(directive)
    yield from _late(script)
    yield from _indented(script)
    yield from _in_commands(script)


def _has_odd_blank(directive: Directive) -> bool:
    return _ODD_BLANK in directive.text and directive.name not in ("comment", "job-name", "wrap")


def _odd_letters(script: BatchScript) -> Iterator[ScriptFinding]:
    """Blanks and quotes of a word processor, which sbatch and bash take for letters."""
    for number in sorted({odd.line for odd in filter(_has_odd_blank, script.all_directives)}):
        yield ScriptFinding(
            "bad-value",
            number,
            "a no-break space of a word processor stands here, which sbatch takes for a letter",
            f"sed -i 's/\\xc2\\xa0/ /g' {quote(script.shown)}",
            blocks=True,
        )
    for assignment in script.assignments:
        raw = assignment.word.raw
        if raw[:1] in _ODD_QUOTES:
            plain = raw.strip("".join(_ODD_QUOTES))
            yield ScriptFinding(
                "torn-path",
                assignment.line,
                f"{_shown(raw)} has quotes of a word processor, which bash takes for letters",
                f'with quotes from the keyboard: {assignment.name}="{_shown(plain)}"',
                blocks=True,
            )


def _unknown(directive: Directive) -> ScriptFinding:
    """An option that sbatch does not know, with the nearest."""
    given = directive.name
    name = given.lower().replace("_", "-")
    meant = _MEANT.get(name) or long_name(name)
    several = candidates(given)
    if several and not meant:
        fix = f"write one of them in full: {', '.join(f'--{found}' for found in several[:6])}"
        return ScriptFinding(
            "unknown-option",
            directive.line,
            f"{_shown(directive.text)} may be any of several options of sbatch, which refuses it",
            fix,
            blocks=True,
        )
    if not meant:
        meant = next(iter(get_close_matches(name, list(OPTIONS), n=1, cutoff=_NEAR)), None)
    value = f"={directive.value}" if directive.value is not None else ""
    fix = f"#SBATCH --{meant}{_shown(value)}" if meant else "remove the line; see sbatch --help"
    return ScriptFinding(
        "unknown-option",
        directive.line,
        f"sbatch has no option {_shown(directive.text)}, and refuses the script",
        fix,
        blocks=True,
    )


def _stray(script: BatchScript, directive: Directive, before: Directive | None) -> ScriptFinding:
    """A word that belongs to no option: sbatch refuses it."""
    given, line = directive.text, directive.line
    if given.startswith(_DASHES):
        plain = given.lstrip("".join(("-", *_DASHES)))
        fix = f"with a minus from the keyboard: #SBATCH --{_shown(plain)}"
        cause = f"{_shown(given)} begins with a dash of a word processor; sbatch wants --"
        return ScriptFinding("unknown-option", line, cause, fix, blocks=True)
    texts = re.findall(r"<[^<>]*>", script.line(line))
    if any(given in text for text in texts):
        name, text = before.name if before else "account", texts[0]
        cause, fix = f"{_shown(text)} stands for a value of your own", f"#SBATCH --{name}="
        return ScriptFinding("placeholder", line, cause, fix + _example(name), blocks=True)
    if before and before.name == "export":
        all_words = "".join(d.text for d in script.all_directives if d.line == line)
        return ScriptFinding(
            "export-lost",
            line,
            f"a blank ends the list of --export: sbatch refuses {_shown(given)}",
            f"no blanks in the list: #SBATCH {_shown(all_words)}",
            blocks=True,
        )
    name, equals, value = given.partition("=")
    if equals and long_name(name):
        fix = f"#SBATCH --{long_name(name)}={_shown(value)}"
    elif before and before.value is not None and OPTIONS.get(before.name) == "required":
        fix = _joined(before.name, before.value, given)
    elif before and OPTIONS.get(before.name) == "optional":
        fix = f"#SBATCH --{before.name}={_shown(given)}"
    else:
        fix = f"remove it, or write # in front: # {_shown(given)}"
    cause = f"the word {_shown(given)} belongs to no option; sbatch refuses the script"
    return ScriptFinding("unknown-option", line, cause, fix, blocks=True)


def _joined(name: str, value: str, stray: str) -> str:
    """The value with the word behind it, where that is right; else the line without the word."""
    if name in (*_MEMORY, *_NUMBERS, "time", "time-min", "nodes"):
        if _wrong_value(name, value + stray) is None:
            return f"#SBATCH --{name}={_shown(value + stray)}"
        return f"remove {_shown(stray)}: #SBATCH --{name}={_shown(value)}"
    return f'#SBATCH --{name}="{_shown(value)} {_shown(stray)}"'


def _value_findings(directive: Directive) -> Iterator[ScriptFinding]:
    """What is wrong with the value of an option that sbatch knows."""
    name, value, takes = directive.name, directive.value, OPTIONS[directive.name]
    if takes == "required" and value is None:
        cause = f"{_shown(directive.text)} has no value, and sbatch wants one"
        fix = f"#SBATCH --{name}=VALUE"
        yield ScriptFinding("bad-value", directive.line, cause, fix, blocks=True)
    elif value is not None and (takes == "no" or (name == "requeue" and value != "expedite")):
        cause = f"--{name} takes no value; sbatch refuses {_shown(directive.text)}"
        yield ScriptFinding("bad-value", directive.line, cause, f"#SBATCH --{name}", blocks=True)
    if not value:
        return
    yield from _placeholder(directive, value)
    wrong = _wrong_value(name, value)
    if wrong is None and _is_glued(directive):
        wrong = ("no = behind a letter, which becomes a part of it", value[1:] or "VALUE")
    if wrong and not is_placeholder(name, value):
        cause = f"sbatch takes no {_shown(value)} for --{name}: expected {wrong[0]}"
        fix = _instead(directive) or f"#SBATCH --{name}={wrong[1]}"
        yield ScriptFinding("bad-value", directive.line, cause, fix, blocks=True)


def _placeholder(directive: Directive, value: str) -> Iterator[ScriptFinding]:
    """A text that stands for one's own: <group>, YOUR_ACCOUNT; $ACCOUNT, which no shell reads."""
    if not is_placeholder(directive.name, value):
        return
    name = directive.name
    if _VARIABLE.search(value):
        cause = f"no shell reads an #SBATCH line: --{name} is the text {_shown(value)}"
        fix = f"write its value: #SBATCH --{name}=VALUE, or: sbatch --{name}={_shown(value)} SCRIPT"
    else:
        cause = f"{_shown(value)} stands for a value of your own"
        fix = f"#SBATCH --{name}={_example(name)}"
    blocks = name not in ("mail-user", "job-name", "comment")
    yield ScriptFinding("placeholder", directive.line, cause, fix, blocks=blocks)


def is_placeholder(name: str, value: str) -> bool:
    """Whether the value of an option stands for one's own: <group>, YOUR_ACCOUNT, $ACCOUNT."""
    if name == "job-name":
        return bool(re.search(r"<[^<>]*>|\{\{.*\}\}", value))
    if _PLACEHOLDER.search(value):
        return name not in ("comment", "wrap", "export")
    return bool(_VARIABLE.search(value)) and name not in _FREE


def _example(name: str) -> str:
    """What to write there."""
    if name == "account":
        return "NAME (yours: sacctmgr -n show user $USER withassoc format=account)"
    return "NAME (partitions: sinfo -s)" if name == "partition" else "VALUE"


def _wrong_value(name: str, value: str) -> tuple[str, str] | None:
    """What is expected instead of a value that sbatch refuses for certain, and an example."""
    if name in ("time", "time-min"):
        is_right = slurm_seconds(value) is not None or value.upper() in ("UNLIMITED", "INFINITE")
        is_right = is_right or re.fullmatch(r"-1|\d*(:\d*){0,2}", value) is not None
        return None if is_right else ("minutes, or days-hours:minutes:seconds", "01:00:00")
    if name in _NUMBERS and not re.fullmatch(r"\d+", value):
        return "a number", "1"
    if name == "nodes":
        # also 1,3,5 and 2-8:2, which newer releases take
        match = re.fullmatch(r"\d+[kKmM]?(?:-\d+[kKmM]?)?(?:[,:].*)?", value)
        return None if match else ("a number, or the least and the most", "1")
    if (
        name in _MEMORY
        and memory_mb(value) is None
        and not re.fullmatch(r"\d+[KMGTkmgt]?[bB]?", value)
    ):
        return "a number with K, M, G or T", "16G"
    if name == "gres" and re.match(r"gpus?=|gpus:", value):
        return "gpu:COUNT or gpu:TYPE:COUNT", "gpu:" + re.sub(r"^gpus?[=:]", "", value)
    return None


def _instead(directive: Directive) -> str | None:
    """The line for -t=10 and -time=10, where the letter has swallowed the rest."""
    text = directive.text.split()[0] if directive.text.split() else ""
    if text.startswith("--") or directive.value is None:
        return None
    if directive.value.startswith("="):
        return f"#SBATCH --{directive.name}{_shown(directive.value)}"
    name, equals, value = text[1:].partition("=")
    meant = long_name(name) if equals else None
    return f"#SBATCH --{meant}={_shown(value)}" if meant else None


def _is_glued(directive: Directive) -> bool:
    """Whether a letter's value begins with =, as in -J=a: sbatch takes the = for a part of it."""
    return (directive.value or "").startswith("=") and not directive.text.startswith("--")


def _in_commands(script: BatchScript) -> Iterator[ScriptFinding]:
    """A text in a command that stands for one's own: /gpfs/scratch/<group>/tensorflow.sif."""
    for number in sorted(_command_lines(script)):
        line = without_comment(script.line(number))
        match = None if line.lstrip().startswith("#") else _PLACEHOLDER_IN_PATH.search(line)
        before = line[: match.start()] if match else ""
        is_quoted = before.count('"') % 2 or before.count("'") % 2
        if match and (not is_quoted or _IN_QUOTES.match(line)):
            yield ScriptFinding(
                "placeholder",
                number,
                f"{_shown(match[0])} has a text that stands for one of your own; bash takes < and "
                "> for files to read and to write",
                "write the path that is meant, without < and >",
                blocks=True,
            )


def _command_lines(script: BatchScript) -> set[int]:
    """The lines of commands and assignments: no text of a here-document."""
    lines: set[int] = set()
    for command in script.commands:
        lines.update(range(command.line, command.end_line + 1))
    for assignment in script.assignments:
        count = assignment.word.raw.count("\n") + 1
        lines.update(range(assignment.line, assignment.line + count))
    for first, last in script.unread:
        lines.update(range(first, last + 1))
    return lines


def _late(script: BatchScript) -> Iterator[ScriptFinding]:
    """Directives below the first command, which sbatch does not read."""
    lines: dict[int, list[Directive]] = {}
    for directive in script.ignored:
        lines.setdefault(directive.line, []).append(directive)
    for number, directives in lines.items():
        if all(
            d.is_option and script.value(d.name) == d.value and script.directive(d.name)
            for d in directives
        ):
            continue  # it says again what stands above
        first = next((c.line for c in script.commands if c.line < number), None)
        above = f"above line {first}" if first else "above the first command"
        yield ScriptFinding(
            "late-directive",
            number,
            "sbatch stops reading at the first command: it does not see this line",
            f"move it {above}: {_shown(script.line(number))}",
        )


def _indented(script: BatchScript) -> Iterator[ScriptFinding]:
    """Blanks in front of #SBATCH: for sbatch, and for bash, this is a remark."""
    for number, line in enumerate(script.text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            return  # the first command
        if _INDENTED.match(line):
            yield ScriptFinding(
                "ignored-directive",
                number,
                "sbatch reads a line that begins with #SBATCH, and this one begins with a blank",
                f"without it: {_shown(line)}",
            )


def _shown(text: str) -> str:
    return cut(one_line(text.strip()), 120)
