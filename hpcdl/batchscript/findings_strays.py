"""Words of an #SBATCH line that belong to no option: sbatch refuses the script for the first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcdl.batchscript.findings_values import MEMORY, NUMBERS, swallowed_option, wrong_value
from hpcdl.batchscript.model import BatchScript, Directive, ScriptFinding
from hpcdl.batchscript.placeholders import example
from hpcdl.batchscript.sbatchtable import OPTIONS, long_name
from hpcdl.text import cut, one_line

_DASHES = ("\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}")
_TO_FILL_IN = re.compile(r"<+[^<>]*>+|(?<![^\s=])\[+[A-Za-z ][^\[\]]*\]+")
_TEXTS = ("job-name", "comment")  # options whose values may have blanks
_PATHS = ("output", "error", "input", "chdir")
_JOINING = (",", "&", "|")  # of lists: BEGIN, END
_LOGS_IN_ONE = ("-oe", "-eo")  # PBS writes so; SLURM has one log, unless --error names another


@dataclass(frozen=True)
class Strays:
    """Words of a line that belong to no option, and the option behind which they stand."""

    line: int
    words: tuple[str, ...]
    before: Directive | None
    to_fill_in: str | None = None  # the whole text of which they are a part: <your group>

    @property
    def says_value(self) -> bool:
        """Whether what is said of the words is about the value in front of them, too."""
        before = self.before
        if before is None:
            return False
        parted = self.to_fill_in is not None or is_parted(before)
        return parted or swallowed_option(before) is not None or before.text in _LOGS_IN_ONE


def is_parted(before: Directive) -> bool:
    """Whether blanks around = part an option from its value: --nodes= 2, --nodes = 2, -N = 2."""
    return before.value in ("", "=")


def strays_of(script: BatchScript) -> list[Strays]:
    """The first such words of each line: of a line they say enough."""
    found: dict[int, Strays] = {}
    before: dict[int, Directive] = {}
    ended: set[int] = set()
    for directive in script.all_directives:
        line = directive.line
        if directive.is_option:
            before[line] = directive
            ended |= found.keys() & {line}
        elif line not in ended:
            words = (*found[line].words, directive.text) if line in found else (directive.text,)
            found[line] = Strays(line, words, before.get(line), _to_fill_in(script, line, words[0]))
    return list(found.values())


def _to_fill_in(script: BatchScript, line: int, word: str) -> str | None:
    texts = _TO_FILL_IN.findall(script.line(line))
    return next((text for text in texts if word in text), None)


def stray_finding(script: BatchScript, strays: Strays) -> ScriptFinding:
    """What is wrong with the words, and the line that was meant."""
    line, before, given = strays.line, strays.before, strays.words[0]
    if given.startswith(_DASHES):
        plain = given.lstrip("".join(("-", *_DASHES)))
        fix = f"with a minus from the keyboard: #SBATCH --{_shown(plain)}"
        cause = f"{_shown(given)} begins with a dash of a word processor; sbatch wants --"
        return ScriptFinding("unknown-option", line, cause, fix, blocks=True)
    if strays.to_fill_in:
        name = before.name if before else "account"
        cause = f"{_shown(strays.to_fill_in)} stands for a value of your own"
        fix = f"#SBATCH --{name}={example(name)}"
        return ScriptFinding("placeholder", line, cause, fix, blocks=True)
    if before and before.name == "export":
        all_words = "".join(d.text for d in script.all_directives if d.line == line)
        return ScriptFinding(
            "export-lost",
            line,
            f"a blank ends the list of --export: sbatch refuses {_shown(given)}",
            f"no blanks in the list: #SBATCH {_shown(all_words)}",
            blocks=True,
        )
    cause = f"the word {_shown(given)} belongs to no option; sbatch refuses the script"
    if strays.says_value and before:
        fix = _with_value(before, strays.words)
        cause = f"a blank parts --{before.name} from its value; sbatch refuses the script"
        if not is_parted(before):
            cause = f"{_shown(before.text)} has {before.value} for its value, and {_shown(given)} "
            cause += "belongs to no option; sbatch refuses the script"
        return ScriptFinding("unknown-option", line, cause, fix, blocks=True)
    return ScriptFinding("unknown-option", line, cause, _remedy(script, strays), blocks=True)


def _with_value(before: Directive, words: tuple[str, ...]) -> str:
    """The option with the words for its value."""
    name = swallowed_option(before) or before.name
    value = " ".join(words)
    if len(words) > 1 and name in (*_TEXTS, *_PATHS):
        value = f'"{value}"'
    elif len(words) > 1:
        value = words[0]
    return f"#SBATCH --{name}={_shown(value)}"


def _remedy(script: BatchScript, strays: Strays) -> str:
    """What to write in place of an option and the words behind it."""
    before, words = strays.before, strays.words
    given = words[0]
    name, equals, value = given.partition("=")
    if equals and long_name(name):
        return f"#SBATCH --{long_name(name)}={_shown(value)}"
    if before and before.value is not None and OPTIONS.get(before.name) == "required":
        joined = _joined(before.name, before.value, words)
        if joined:
            return joined
    elif before and OPTIONS.get(before.name) == "optional":
        meant = words[1:2] or words if given == "=" else words
        return f"#SBATCH --{before.name}={_shown(meant[0])}"
    line = script.line(strays.line)
    place = re.search(rf"(?<=\s){re.escape(given)}(?!\S)", line)
    if place is None:
        return f"remove it, or write # in front: # {_shown(given)}"
    remark = f"{line[: place.start()]}# {line[place.start() :]}"
    return f"remove it, or write # in front: {_shown(remark)}"


def _joined(name: str, value: str, words: tuple[str, ...]) -> str | None:
    """The value with the words behind it, where that is right; None where they are a remark."""
    if name in (*MEMORY, *NUMBERS, "time", "time-min", "nodes"):
        if wrong_value(name, value + words[0]) is None:
            return f"#SBATCH --{name}={_shown(value + words[0])}"
        return f"remove {_shown(' '.join(words))}: #SBATCH --{name}={_shown(value)}"
    is_path = name in _PATHS and any(re.search(r"[/.%]", word) for word in words)
    if name in _TEXTS or is_path:
        return f'#SBATCH --{name}="{_shown(" ".join((value, *words)))}"'
    if value.endswith(_JOINING) or words[0].startswith(_JOINING):
        return f"#SBATCH --{name}={_shown(''.join((value, *words)))}"
    return None


def _shown(text: str) -> str:
    return cut(one_line(text.strip()), 120)
