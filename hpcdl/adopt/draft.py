"""A job file while it is made: its keys with their lines, and what is not carried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcdl.adopt.model import Adopted, Left
from hpcdl.adopt.secrets import hidden
from hpcdl.batchscript.model import BatchScript, Directive
from hpcdl.yamlfile.reader import Located

_FIRST_LINE = 1


class Draft:
    """Collects the keys of a job file.

    Args:
        script: the batch script.
        folder: from where sbatch is called.
    """

    def __init__(self, script: BatchScript, folder: Path) -> None:
        self.script = script
        self.folder = folder
        self.document = Located({}, self._where(_FIRST_LINE))
        self.left: list[Left] = []
        self.obstacles: list[Left] = []
        self.notes: list[str] = []
        # Variables that the script sets for the container alone, whatever is around it
        self.of_image: frozenset[str] = frozenset()
        self._listed: dict[str, set[str]] = {}  # the texts of each list, for a quick look

    def put(self, key: str, value: Any, line: int) -> None:
        """Write a value for a key, such as ``resources.gpus``, from a line of the script."""
        section = self.document
        head, _, last = key.partition(".")
        if last:
            section = section.value.setdefault(head, Located({}, self._where(line)))
        section.value[last or head] = self._located(value, line)

    def add(self, key: str, values: list[str], line: int) -> None:
        """Add texts to the list of a key."""
        section, _, last = key.partition(".")
        there = self.document.value.get(section)
        if there is not None and last:
            there = there.value.get(last)
        if there is None:
            self.put(key, list(dict.fromkeys(values)), line)
            return
        known = self._listed.setdefault(key, set(there.plain()))
        for value in dict.fromkeys(values):
            if value not in known:
                known.add(value)
                there.value.append(self._located(value, line))

    def drop(self, key: str) -> None:
        """Take out a key of a section, such as ``cluster.modules``."""
        head, _, last = key.partition(".")
        section = self.document.value.get(head)
        if section is not None:
            section.value.pop(last, None)
            self._listed.pop(key, None)
        if section is not None and not section.value:
            del self.document.value[head]

    def get(self, key: str) -> Any:
        """The value of a key; None where there is none yet."""
        head, _, last = key.partition(".")
        section = self.document.value.get(head)
        if section is None:
            return None
        if not last:
            return section.plain()
        inner = section.value.get(last)
        return None if inner is None else inner.plain()

    def leave(self, line: int, text: str, why: str, fix: str = "") -> None:
        """Note that something is not carried."""
        self.left.append(Left(line, hidden(text), why, fix))

    def leave_option(self, directive: Directive, why: str, fix: str = "") -> None:
        """Note that an option of sbatch is not carried."""
        self.leave(directive.line, directive.text, why, fix)

    def refuse(self, line: int, text: str, why: str, fix: str) -> None:
        """Note why no job file does the same."""
        self.obstacles.append(Left(line, hidden(text), why, fix))

    def note(self, text: str) -> None:
        """Note what a reader has to know."""
        self.notes.append(text)

    def adopted(self) -> Adopted:
        """The result."""
        by_line = sorted(self.left, key=lambda item: item.line)
        return Adopted(self.script, self.document, self.folder, by_line, self.obstacles, self.notes)

    def _where(self, line: int) -> str:
        return f"{self.script.shown or self.script.path.name}:{line}"

    def _located(self, value: Any, line: int) -> Located:
        where = self._where(line)
        if isinstance(value, list):
            return Located([self._located(item, line) for item in value], where)
        if value is None:
            return Located(None, where)
        raw = str(value).lower() if isinstance(value, bool) else str(value)
        return Located(value, where, raw)
