"""Paths inside the script's container, as they are outside: a job file names those."""

from __future__ import annotations

from hpcdl.adopt.values import Values
from hpcdl.batchscript.model import BatchScript, Container, Program, Word
from hpcdl.batchscript.mounts import Mounts, folder_inside, is_bind, pairs_of, words_of_mounts


class Inside:
    """What a program's container shows of the machine.

    Args:
        script: the batch script.
        program: one of its programs, in a container.
        values: of the script's words.
    """

    def __init__(self, script: BatchScript, program: Program, values: Values) -> None:
        self._values = values
        self._line = program.command.line
        self._container = program.container
        self._mounts = Mounts(self._pairs(script, program))

    def outside(self, path: str) -> str | None:
        """A path of the program's as the machine has it; None where it is not known."""
        inside = path
        if not path.startswith(("/", "~", "$")):
            if self.folder() is None:
                return path if self._word() is None else None
            inside = f"{self.folder()}/{path}"
        if not inside.startswith("/"):
            return inside
        return None if self._mounts.is_of_image(inside) else self._mounts.outside(inside)

    def folder(self) -> str | None:
        """The folder inside where the program starts, where an option says it."""
        word = self._word()
        return None if word is None else self._values.path(word, self._line)

    def _word(self) -> Word | None:
        return folder_inside(self._container) if self._container is not None else None

    def _pairs(self, script: BatchScript, program: Program) -> tuple[tuple[str | None, str], ...]:
        pairs: list[tuple[str | None, str]] = []
        for word, line in self._words(script, program.container, program):
            text = self._values.path(word, line)
            if text is not None:
                pairs += pairs_of(text)
                continue
            for part in word.raw.strip("\"'").split(","):
                source, _, rest = part.partition(":")
                target = rest.partition(":")[0]
                known = self._values.path(Word(None, source), line)
                pairs += [(known, target)] if target.startswith("/") else []
        return tuple(pairs)

    def _words(
        self, script: BatchScript, container: Container | None, program: Program
    ) -> list[tuple[Word, int]]:
        """The words that name folders outside and inside, with their lines."""
        line = program.command.line
        words = [(a.word, a.line) for a in script.set_before(program.command) if is_bind(a.name)]
        words += [(word, line) for name, word in program.command.env if is_bind(name)]
        own = words_of_mounts(container) if container is not None else []
        return [*words, *((word, line) for word in own)]
