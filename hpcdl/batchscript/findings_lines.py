"""What is wrong with a script's #SBATCH lines as such: unknown options, late ones, placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from shlex import quote

from hpcdl.batchscript.comments import without_comment
from hpcdl.batchscript.findings_remarks import remark_findings
from hpcdl.batchscript.findings_strays import stray_finding, strays_of
from hpcdl.batchscript.findings_values import value_findings
from hpcdl.batchscript.model import BatchScript, Directive, ScriptFinding
from hpcdl.batchscript.sbatchtable import OPTIONS, candidates, long_name
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
# In a command, which to bash is: read from a file, and write to another
_PLACEHOLDER_IN_PATH = re.compile(r"[^\s\"'=<>]*(?<=[/=@])<[A-Za-z][\w .-]*>(?=[/:\s\"'.]|$)")
_IN_QUOTES = re.compile(r"\s*(?:export\s+)?\w+=([\"']).*")  # an assignment; other texts are free
_BELOW = re.compile(r"[/~.$].*\w\}?/<")  # below a folder, unlike a pattern of sed's or awk's
_NEAR = 0.75  # how alike two names are where one may be meant: partion, not image and time
_ODD_BLANK = "\N{NO-BREAK SPACE}"
_ODD_QUOTES = (
    *("\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),
    *("\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"),
    "\N{DOUBLE LOW-9 QUOTATION MARK}",
)


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
    strays = strays_of(script)
    told = {id(group.before) for group in strays if group.says_value}
    behind = {id(group.before): group.words for group in strays}
    for group in strays:
        before = group.before
        if before is None or before.name in OPTIONS or before.value is not None:
            yield stray_finding(script, group)
    for directive in script.all_directives:
        if not directive.is_option or id(directive) in told:
            continue
        if directive.name not in OPTIONS and not around.sbatch_takes:
            yield _unknown(directive, behind.get(id(directive), ()))
        elif directive.name in OPTIONS and not _has_odd_blank(directive):
            yield from value_findings(directive)
    yield from _late(script)
    yield from remark_findings(script)
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


def _unknown(directive: Directive, behind: tuple[str, ...]) -> ScriptFinding:
    """An option that sbatch does not know, with the nearest, and the words behind it."""
    written = directive.name
    if written == "--":
        return ScriptFinding(
            "unknown-option",
            directive.line,
            "-- ends the options of all lines, and sbatch refuses what comes behind it: "
            f"{_shown(directive.text.removeprefix('-- '))}",
            "leave -- out",
            blocks=True,
        )
    name = written.lower().replace("_", "-")
    meant = _MEANT.get(name) or long_name(name)
    several = candidates(written)
    if several and not meant:
        fix = f"write one of them in full: {', '.join(f'--{option}' for option in several[:6])}"
        return ScriptFinding(
            "unknown-option",
            directive.line,
            f"{_shown(directive.text)} may be any of several options of sbatch, which refuses it",
            fix,
            blocks=True,
        )
    meant = meant or _nearest(name)
    if not meant:
        return ScriptFinding(
            "unknown-option",
            directive.line,
            f"sbatch itself has no option {_shown(directive.text)}: unless a plug-in of the site's "
            "adds it, sbatch refuses the script",
            "see sbatch --help on the site; where it is not there, remove the line",
        )
    value = directive.value
    if value is None and meant and OPTIONS[meant] == "required":
        value = next((word for word in behind if word != "="), "VALUE")
    fix = f"#SBATCH --{meant}"
    if value is not None:
        fix += f"={_shown(value)}"
    return ScriptFinding(
        "unknown-option",
        directive.line,
        f"sbatch has no option {_shown(directive.text)}, and refuses the script",
        fix,
        blocks=True,
    )


def _in_commands(script: BatchScript) -> Iterator[ScriptFinding]:
    """A text in a command that stands for one's own: /gpfs/scratch/<group>/tensorflow.sif."""
    for number in sorted(_command_lines(script) - _free_lines(script)):
        line = without_comment(script.line(number))
        match = None if line.lstrip().startswith("#") else _PLACEHOLDER_IN_PATH.search(line)
        before = line[: match.start()] if match else ""
        is_quoted = before.count('"') % 2 or before.count("'") % 2
        is_path = match is not None and _BELOW.match(match[0]) is not None
        if match and (not is_quoted or (is_path and _IN_QUOTES.match(line))):
            yield ScriptFinding(
                "placeholder",
                number,
                f"{_shown(match[0])} has a text that stands for one of your own; bash takes < and "
                "> for files to read and to write",
                "write the path that is meant, without < and >",
                blocks=True,
            )


def _free_lines(script: BatchScript) -> set[int]:
    """The lines that begin within a text, which may be anything: a program's, a page.

    An assignment's that go on behind a backslash are words of a command.
    """
    continued: set[int] = set()
    for assignment in script.assignments:
        first, count = assignment.line, assignment.word.raw.count("\n")
        for number in range(first + 1, first + count + 1):
            if script.line(number - 1).endswith("\\"):
                continued.add(number)
    return set(script.texts) - continued


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


def _nearest(name: str) -> str | None:
    """The option that may be meant; none where a word is added to it, as a plug-in does."""
    near = next(iter(get_close_matches(name, list(OPTIONS), n=1, cutoff=_NEAR)), None)
    if near and (name.endswith(f"-{near}") or name.startswith(f"{near}-")):
        return None
    return near


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


def _shown(text: str) -> str:
    return cut(one_line(text.strip()), 120)
