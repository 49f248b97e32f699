"""Paths inside a program's container, as they are outside: by options, variables and cd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from hpcdl.batchscript.model import Assignment, BatchScript, Program, Word
from hpcdl.batchscript.mounts import (
    Mounts,
    folder_inside,
    is_bind,
    pairs_of,
    pairs_of_mount,
    words_of_mounts,
)
from hpcdl.batchscript.whereabouts import Trail, is_whole, joined_trail

# The text of a word, which comes with its line and the folder of its shell
Read = Callable[[Word, int, Trail], "str | None"]


class Inside:
    """What a program's container shows of the machine.

    Args:
        script: the batch script.
        program: one of its programs, in a container.
        read: the text of a word; None where it is not known.
    """

    def __init__(self, script: BatchScript, program: Program, read: Read) -> None:
        self._read = read
        self._program = program
        self.is_sure = True  # whether all that the container shows is known
        self._mounts = Mounts(tuple(self._pairs(binds_of(script, program))))

    def outside(self, path: str, start: str | None = None) -> str | None:
        """A path of the program's as the machine has it; None where it is not known.

        Args:
            path: the path inside.
            start: the folder of the shell around the container; without it, a path that begins
                there stays as it is.
        """
        if self._program.command.is_inside:
            path = self._from_home(path)
        inside = path
        if not is_whole(path):
            folder = self.folder()
            if folder is None:
                return None
            if folder:
                inside = f"{folder}/{path}"
            if start is not None and not is_whole(inside):
                inside = f"{start}/{inside}"
        if not inside.startswith("/"):
            return inside
        if self._mounts.is_of_image(inside):
            return None
        return self._mounts.outside(inside)

    def folder(self) -> str | None:
        """The folder inside where the program starts: by --pwd and cd; empty: the shell's own.

        None where it is not known.
        """
        program, trail = self._program, self._trail()
        if trail is None:
            return None
        folder = ""
        for word in trail:
            went: Trail = None
            if word is self._option():
                went = program.container_command.went
            text = self._read(word, program.command.line, went)
            if text is None:
                return None
            if word is not self._option():
                text = self._from_home(text)
            if folder and not is_whole(text):
                text = f"{folder}/{text}"
            folder = text
        return folder

    def _from_home(self, path: str) -> str:
        """A path that a shell inside reads: its ~ is what --home says, and not the user's own."""
        container = self._program.container
        homes = container.values("home") if container is not None else []
        if not homes or path.partition("/")[0] != "~":
            return path
        start = self._program.container_command
        text = self._read(homes[-1], start.line, start.went)
        home = (text or "").rpartition(":")[2]
        return f"{home}{path[1:]}" if home else path

    def _trail(self) -> Trail:
        own = self._option()
        if own is None:
            return self._program.inside
        return joined_trail((own,), self._program.inside)

    def _option(self) -> Word | None:
        container = self._program.container
        if container is None:
            return None
        return folder_inside(container)

    def _pairs(self, binds: list[Assignment]) -> Iterator[tuple[str | None, str]]:
        """The paths outside, None where unknown, and inside."""
        for bind in binds:
            text = None
            if not bind.conditional:
                text = self._read(bind.word, bind.line, bind.went)
            if bind.name == "--mount":
                self.is_sure = self.is_sure and text is not None
                yield from pairs_of_mount(text or "")
            elif text is not None:
                yield from pairs_of(text)
            else:
                yield from self._half_known(bind)

    def _half_known(self, bind: Assignment) -> Iterator[tuple[str | None, str]]:
        """Binds of which only what is inside is known: $DATA:/data."""
        for part in bind.word.raw.strip("\"'").split(","):
            source, _, rest = part.partition(":")
            target = rest.partition(":")[0]
            if bind.conditional or not target.startswith("/") or "$" in target:
                self.is_sure = False
                continue
            word = replace(bind.word, text=None, raw=source)
            yield self._read(word, bind.line, bind.went), target


def binds_of(script: BatchScript, program: Program) -> list[Assignment]:
    """What shows a program's container folders: the variables that it sees, then its options."""
    start, container = program.container_command, program.container
    variables: dict[str, Assignment] = {}
    for item in script.set_before(start):
        if is_bind(item.name):
            variables[item.name] = item
    binds = list(filter(lambda item: item.exported, variables.values()))
    for name, word in start.env:
        if is_bind(name):
            binds.append(Assignment(name, word, start.line, exported=True, went=start.went))
    if container is None:
        return binds
    options = {"--bind": words_of_mounts(container), "--mount": container.values("mount")}
    for name, words in options.items():
        for word in words:
            binds.append(Assignment(name, word, start.line, went=start.went))
    return binds
