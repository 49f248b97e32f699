"""A command of several lines that ends too early: its next line is a command of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from shlex import quote

from hpcdl.batchscript.comments import without_comment
from hpcdl.batchscript.model import BatchScript, Command, ScriptFinding
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

_BLANK_BEHIND = re.compile(r".*(?<!\S)\\[ \t]+")
# Two words without a blank between them, of which the second is an option at the margin
_GLUED = re.compile(r"([^\s\\]*[^\s\\])\\\n(--?[A-Za-z][\w-]*)")


def torn_line_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """Lines that bash runs by themselves, and that belong to the command above."""
    ends: dict[int, Command] = {}
    for command in script.commands:
        ends.setdefault(command.end_line, command)
    told: set[int] = set()
    for command in script.commands:
        yield from joined_words(script, command)
        line = command.line
        if line in told or not command.words or _is_unread(script, line):
            continue
        is_option = re.match(r"--?[A-Za-z]", command.words[0].raw) is not None
        before = ends.get(line - 1)
        is_deeper = before is not None and _depth(script, line) > _depth(script, before.line)
        cause = _cause(script, line - 1, is_option, is_deeper)
        if cause:
            told.add(line)
            shown = cut(one_line(script.line(line).strip()), 80)
            yield ScriptFinding(
                "torn-line",
                line,
                f"bash takes {shown} for a command of its own: {cause[0]}",
                cause[1],
                blocks=True,
            )


def joined_words(script: BatchScript, command: Command) -> Iterator[ScriptFinding]:
    """Lines that end in a backslash without a blank: bash makes one word of two."""
    for match in _GLUED.finditer(command.text):
        before = command.text[: match.start()]
        begun = f"{before}{match[1]}"
        if command.heredoc is not None or begun.count("'") % 2 or begun.count('"') % 2:
            continue
        number = command.line + before.count("\n")
        if script.line(number).endswith(f"{match[1]}\\"):
            joined = f"{match[1]}{match[2]}"
            yield ScriptFinding(
                "torn-line",
                number,
                f"no blank stands before the backslash: bash makes one word of two, {joined}",
                f"in line {number}: {_shown(script.line(number).removesuffix(chr(92)))} \\",
            )


def _cause(
    script: BatchScript, number: int, is_option: bool, is_deeper: bool
) -> tuple[str, str] | None:
    """Why the command above ends, and what to do; None where it is meant to end there.

    Args:
        script: the script.
        number: of the line above.
        is_option: whether the line begins with an option, which no command's name does.
        is_deeper: whether it begins deeper than the command that ends above it.
    """
    above = script.line(number)
    if _BLANK_BEHIND.fullmatch(above) and (is_option or (is_deeper and "#" not in above)):
        fix = f"sed -i 's/\\\\[ \\t]*$/\\\\/' {quote(script.shown)}"
        return f"the backslash in line {number} has a blank behind it", fix
    code = without_comment(above).strip()
    has_comment = code != above.strip()
    is_behind = has_comment and re.fullmatch(r"(?:.*\s)?\\", code) is not None
    if number < 1 or not (is_option or (is_deeper and is_behind)):
        return None
    if not above.strip():
        return f"the empty line {number} ends the command", f"remove line {number}"
    if has_comment and not code:
        return _below_comments(script, number)
    cause = f"no backslash ends line {number}"
    if is_behind:
        cause = f"behind the backslash in line {number} stands a comment, and it continues nothing"
    elif has_comment and above.rstrip().endswith("\\"):
        cause = f"the comment in line {number} ends the command; its backslash is a part of it"
    code = code.removesuffix("\\").rstrip()
    place = f"in line {number}"
    if has_comment:
        place += ", without the comment"
    return cause, f"{place}: {_shown(code)} \\"


def _below_comments(script: BatchScript, last: int) -> tuple[str, str] | None:
    """Why a command ends above lines of comments, of which one is the last."""
    first = last
    while script.line(first - 1).lstrip().startswith("#"):
        first -= 1
    above = script.line(first - 1)
    move = f"put the comment above the whole command: {_shown(script.line(last))}"
    if above.endswith("\\"):
        cause = f"the comment in line {first} ends the command"
        if script.line(first).rstrip().endswith("\\"):
            cause += "; its backslash is a part of it"
        return cause, move
    if not above.strip():
        return None
    code = without_comment(above).strip()
    return f"no backslash ends line {first - 1}", f"in line {first - 1}: {_shown(code)} \\; {move}"


def _depth(script: BatchScript, number: int) -> int:
    line = script.line(number)
    return len(line) - len(line.lstrip())


def _is_unread(script: BatchScript, line: int) -> bool:
    return any(first <= line <= last for first, last in script.unread)


def _shown(text: str) -> str:
    return cut(one_line(text.strip()), 120)
