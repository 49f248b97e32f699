"""A path that a blank tears in two: VARIABLE= /path, or a value with a blank and no quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.model import BatchScript, Command, Program, ScriptFinding, Word
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

_IMAGE = re.compile(r".*\.(?:sif|simg|img|sqsh|squashfs)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_PATH = re.compile(r"(?:~|\.{0,2})/.*", re.DOTALL)


def torn_path_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """Assignments and words that a blank tears."""
    used = {name for name, _ in script.uses}
    for command in script.commands:
        fix = torn_assignment(command, used)
        name = (fix or "").partition("=")[0]
        if fix and name == command.words[0].raw:
            yield _parted_assignment(command, name, fix)
            continue
        if fix:
            yield ScriptFinding(
                "torn-path",
                command.line,
                f"a blank tears the path: {name} does not get it, and bash takes its rest for a "
                f"command",
                f"without the blank, or in quotes: {cut(one_line(fix))}",
                blocks=True,
            )
            continue
        for word in _torn_words(command):
            quoted = _quoted(word)
            yield ScriptFinding(
                "torn-path",
                command.line,
                f"{one_line(word.raw)} is {cut(one_line(word.torn or ''))}: without quotes its "
                f"blank makes two words of it",
                f"in double quotes: {quoted}",
                blocks=True,
            )
    for program in script.programs:
        meant = _torn_image(program)
        if meant:
            yield ScriptFinding(
                "torn-path",
                program.command.line,
                f"a blank tears the image's path: {cut(one_line(meant))}",
                f'in double quotes: "{cut(one_line(meant))}"',
                blocks=True,
            )


def _parted_assignment(command: Command, name: str, fix: str) -> ScriptFinding:
    """Blanks around the = of an assignment: its name is a command."""
    first, *others = fix.splitlines()
    shown = one_line(first.rstrip("\\ "))
    if others:
        shown += " …"
    return ScriptFinding(
        "torn-path",
        command.line,
        f"bash takes {name} for a command, and = for its first word: the variable gets no value",
        f"no blanks around =: {cut(shown)}",
        blocks=True,
    )


def _torn_image(program: Program) -> str | None:
    """The image that was meant by: exec /our images/a.sif python."""
    image = program.container.image if program.container else None
    if (
        image is None
        or image.torn
        or program.command.is_inside
        or not program.words
        or image.text is None
    ):
        return None
    begin, rest = image.text, program.words[0].text or ""
    is_torn = _PATH.fullmatch(begin) and not _IMAGE.fullmatch(begin)
    if not is_torn or not _IMAGE.fullmatch(rest) or rest.startswith(("/", "./")):
        return None
    return f"{begin} {rest}"


def torn_image(word: Word | None) -> str | None:
    """The whole path of an image that a blank tears, where the word is its beginning.

    A variable with a command's words, as apptainer exec a.sif python, is none.
    """
    parts = (word.torn or "").split() if word is not None else []
    if word is None or len(parts) < 2 or word.text != parts[0] or word.text.startswith("-"):
        return None
    is_path = _IMAGE.fullmatch(parts[-1]) and not _IMAGE.fullmatch(parts[0])
    return word.torn if is_path and not any(part.startswith("-") for part in parts) else None


def torn_assignment(command: Command, used: set[str]) -> str | None:
    """The assignment that was meant; None where none is torn."""
    words = [word.raw for word in command.words]
    if not words or command.words[0].torn:
        return None
    if command.env and len(words) <= 2:
        name, value = command.env[-1]
        if f"{name}={value.raw}{words[0]}" in command.text:
            return None  # no blank: the parser divides a_$1.sif
        tail = " ".join(words)
        if not value.raw or value.raw in ('""', "''"):
            is_path = _PATH.fullmatch(words[0]) or words[0].startswith("$")
            is_torn = _IMAGE.fullmatch(words[-1]) or (is_path and name in used and len(words) == 1)
            if is_torn and not value.raw:
                return f"{name}={tail if len(words) == 1 else f'{chr(34)}{tail}{chr(34)}'}"
            return None
        if _IMAGE.fullmatch(words[-1]) and not _IMAGE.fullmatch(value.raw) and _is_place(value):
            glued = value.raw.endswith("/") and len(words) == 1
            return f"{name}={value.raw}{tail}" if glued else f'{name}="{value.raw} {tail}"'
        return None
    if _NAME.fullmatch(words[0]) and len(words) > 1 and words[1].startswith("="):
        value_text = " ".join([words[1][1:], *words[2:]]).strip()
        if words[0] in used and value_text:
            return f"{words[0]}={value_text}"
    return None


def _is_place(word: Word) -> bool:
    return bool(_PATH.fullmatch(word.raw) or word.raw.startswith("$")) and "/" in (
        word.text or word.raw
    )


def _torn_words(command: Command) -> Iterator[Word]:
    """One word of each value that is torn, and is a path rather than a list of words."""
    done: set[str] = set()
    for before, word in zip(command.words, command.words[1:], strict=False):
        if word.torn is None or word.raw in done:
            continue
        done.add(word.raw)
        takes_one = command.name == "cd" or before.raw.startswith("-")
        if _is_torn_path(word.torn.split(), takes_one):
            yield word


def _is_torn_path(parts: list[str], takes_one: bool) -> bool:
    """Whether parts are one path; a list of paths, or a program with its arguments, is none.

    Args:
        parts: what the shell makes of the value.
        takes_one: whether one word is expected there, as behind --data.
    """
    if not _PATH.fullmatch(parts[0]) or any(part.startswith("-") for part in parts):
        return False
    *_, last = parts
    if any(_PATH.fullmatch(part) for part in parts[1:]):
        return False
    is_image = bool(_IMAGE.fullmatch(last)) and not _IMAGE.fullmatch(parts[0])
    return is_image or (takes_one and any("/" in part for part in parts[1:]))


def _quoted(word: Word) -> str:
    return f'"{one_line(word.raw)}"'
