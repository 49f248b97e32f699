"""Where a script's relative paths start, and how the job file names them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hpcdl.adopt.draft import Draft
from hpcdl.adopt.values import Values
from hpcdl.batchscript.model import Assignment, BatchScript, Command, Program
from hpcdl.batchscript.whereabouts import MOVERS, Trail, is_whole

_PWD = re.compile(r"\bPWD\b|\bpwd\b")


def folder_of(script: BatchScript) -> Path:
    """From where sbatch is called: the script's folder, or this one if the program lies here."""
    own = Path(os.path.abspath(script.path)).parent
    for program in script.programs:
        name = program.script.text if program.script is not None else None
        if name and not is_whole(name) and not (own / name).exists() and Path(name).exists():
            return Path.cwd()
    return own


class Folders:
    """The working directory of each line, and paths from there.

    Args:
        draft: the job file.
        values: of the script's words.
        target: the folder where the job file will lie.
        program: the program that the job runs.
    """

    def __init__(self, draft: Draft, values: Values, target: Path, program: Program | None) -> None:
        self._draft = draft
        self._values = values
        self._target = target
        self._program = program
        chdir = draft.script.directive("chdir")
        self._start = (chdir.value or "").strip() if chdir is not None else ""
        self._lines: dict[int, int] = {}  # of the words of cd
        for command in draft.script.commands:
            if command.name not in MOVERS:
                continue
            self._lines.update({id(word): command.line for word in command.words})

    def working(self, line: int) -> str | None:
        """The program's working directory, from the folder of sbatch; None if it is not known."""
        return self._after(self._program.went if self._program is not None else (), line)

    def tell(self, seen: Sequence[Assignment]) -> None:
        """Tell the values what $PWD is, at each line that names it.

        Args:
            seen: the assignments that the program sees.
        """
        naming: list[Command | Assignment] = []
        for command in self._draft.script.commands:
            if _PWD.search(command.text) and not command.is_inside:
                naming.append(command)
        for assignment in seen:
            shell = assignment.word.shell
            if _PWD.search(assignment.word.raw) and not (shell is not None and shell.is_inside):
                naming.append(assignment)
        by_line = self._values.folders
        for item in sorted(naming, key=lambda item: item.line):
            folder = self._after(item.went, item.line)
            if folder is not None and not folder.startswith(("$", "~")):
                folder = os.path.normpath(self._draft.folder / folder)
            if by_line.setdefault(item.line, folder) != folder:
                by_line[item.line] = None  # it changes within the line

    def _after(self, trail: Trail, line: int) -> str | None:
        """The folder after some cd."""
        folder = self._start
        if trail is None:
            return None
        for word in trail:
            to = self._values.path(word, self._lines.get(id(word), line))
            if to is None:
                return None
            folder = _joined(folder, to)
        return folder

    def in_job(self, path: str, line: int) -> str | None:
        """A path of a line as the job file names it; None if where it starts is not known."""
        if is_whole(path):
            return self.from_target(path)
        folder = self.working(line)
        return None if folder is None else self.from_target(_joined(folder, path))

    def whole(self, path: str, line: int) -> str | None:
        """A path of a line from the root on; None if where it starts is not known."""
        folder = self.working(line)
        if is_whole(path) or folder is not None:
            return os.path.normpath(self._draft.folder / _joined(folder or "", path))
        return None

    def from_target(self, path: str) -> str:
        """A path from sbatch's folder as the job file names it, which lies in another one."""
        folder = self._draft.folder
        if path.startswith(("$", "~")):
            return path
        if path.startswith("/"):
            below = os.path.normpath(path)
            if not Path(below).is_relative_to(folder) or self._target != folder:
                return below
            return os.path.relpath(below, folder)
        whole = os.path.normpath(folder / path)
        return os.path.relpath(whole, self._target) if self._target != folder else _relative(path)


def _relative(path: str) -> str:
    return os.path.normpath(path or ".")


def _joined(folder: str, path: str) -> str:
    return path if is_whole(path) or not folder else f"{folder}/{path}"
