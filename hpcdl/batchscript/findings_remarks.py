"""Lines that sbatch takes for remarks, and that were meant as directives."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.directives import read_header
from hpcdl.batchscript.model import BatchScript, ScriptFinding
from hpcdl.batchscript.sbatchtable import OPTIONS
from hpcdl.text import cut, one_line

_MARK = "#SBATCH"
_INDENTED = re.compile(r"[ \t]+#SBATCH\s+-")
_LIKE_THE_MARK = re.compile(r"#([A-Za-z]{4,8})[ \t]+(-.*)")
_GLUED = re.compile(r"[^\s#](#SBATCH\s+-.*)")


def remark_findings(script: BatchScript) -> Iterator[ScriptFinding]:
    """What stands above the first command, and is a remark to sbatch and to bash."""
    for number, line in enumerate(script.text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            return  # the first command
        if _INDENTED.match(line):
            cause = "sbatch reads a line that begins with #SBATCH, and this one begins with a blank"
            yield _finding(number, cause, f"without it: {_shown(line)}")
        elif line.startswith(_MARK):
            yield from _glued(number, line)
        else:
            yield from _misspelt(script, number, line)


def _glued(number: int, line: str) -> Iterator[ScriptFinding]:
    """A line end is missing: -e x.err#SBATCH --time=1."""
    match = _GLUED.search(line)
    before = line[: match.start(1)] if match else ""
    is_quoted = before.count('"') % 2 or before.count("'") % 2
    if match and not is_quoted and "#" not in before.removeprefix(_MARK):
        cause = (
            f"{_shown(match[1])} stands behind another directive, where it is a remark to sbatch"
        )
        yield _finding(number, cause, f"a line of its own: {_shown(match[1])}")


def _misspelt(script: BatchScript, number: int, line: str) -> Iterator[ScriptFinding]:
    """#SBACTH, #BATCH: with options of sbatch's alone behind it, none of which the script has.

    Where it has one of them, the line may be an older choice that is switched off.
    """
    match = _LIKE_THE_MARK.match(line)
    if match is None or not _is_near(match[1]):
        return
    meant = f"{_MARK} {match[2]}"
    header = read_header(f"{meant}\n")
    if header.faults or not header.read:
        return
    for token in header.read:
        if not token.is_option or token.name not in OPTIONS or script.directive(token.name):
            return
        if OPTIONS[token.name] == "required" and not token.value:
            return
    cause = f"sbatch reads #SBATCH alone: #{match[1]} is a remark to it"
    yield _finding(number, cause, f"if it is meant to count: {_shown(meant)}")


def _is_near(word: str) -> bool:
    """Whether a letter of SBATCH is missing, there twice, or changed places with its neighbour.

    A letter more in front is how people switch a line off: #xSBATCH, #sSBATCH.
    """
    mark = _MARK[1:]
    capitals = word.upper()
    places = range(len(mark))
    missing = {mark[:place] + mark[place + 1 :] for place in places}
    twice = {mark[:place] + mark[place] + mark[place:] for place in places[1:]}
    changed = {
        mark[:place] + mark[place + 1] + mark[place] + mark[place + 2 :] for place in places[:-1]
    }
    return capitals in (mark, *missing, *twice, *changed)


def _finding(number: int, cause: str, fix: str) -> ScriptFinding:
    return ScriptFinding("ignored-directive", number, cause, fix)


def _shown(text: str) -> str:
    return cut(one_line(text.strip()), 120)
