"""A job's notebook: whether it can run, what of it is left out, and the Python that is in it.

What its cells mean is decided in `hpcdl.trainer.support`, which runs them in the container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.trainer.support.cells import Remark, Translated, place, translate
from hpcdl.trainer.support.notebookfile import NotebookError, read_cells
from hpcdl.usercode.source import NOTEBOOK, parse_source

SUFFIX = NOTEBOOK
_MARK = re.compile(r"# hpcdl: (?P<name>.*), cell (?P<cell>\d+)")


@dataclass(frozen=True)
class Notebook:
    """A notebook that was read.

    Args:
        path: the file.
        cells: its code cells.
        runs: the scripts and notebooks next to it that it runs, with the places where it does.
        missing: places where it runs a file that is not there.
    """

    path: Path
    cells: list[Translated]
    runs: dict[Path, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def _remarks(self, remarks: str) -> Iterator[str]:
        for cell in self.cells:
            remark: Remark
            for remark in getattr(cell, remarks):
                where = place(self.path.name, remark.cell, remark.line)
                yield f"{where}: {remark.text}"

    @property
    def problems(self) -> list[str]:
        """What cannot be run, with cell and line."""
        return list(self._remarks("problems"))

    @property
    def left_out(self) -> list[str]:
        """What is not run, with cell and line, and why."""
        return list(self._remarks("left_out"))

    @property
    def doubts(self) -> list[str]:
        """What runs, and may fail in a batch job."""
        return [*self._remarks("doubts"), *self.missing]

    @property
    def writes(self) -> list[str]:
        """The names of the files that its cells write."""
        return [name for cell in self.cells for name in cell.writes]

    @property
    def programs(self) -> dict[str, str]:
        """The Python of each cell, by ``nb.ipynb, cell 3``."""
        return {f"{self.path.name}, cell {cell.cell.number}": cell.plain for cell in self.cells}


def read(path: Path) -> Notebook:
    """Read a notebook.

    Raises:
        UserError: it cannot be read, or is not a notebook with Python code.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except NotebookError as error:
        raise UserError(str(error)) from error


@lru_cache(maxsize=16)
def _read(path: Path, time_ns: int, size: int) -> Notebook:
    cells = translate(read_cells(str(path)))
    written = {name for cell in cells for name in cell.writes}
    notebook = Notebook(path, cells)
    for cell in cells:
        for line, name in cell.files:
            file = path.parent / name
            if not file.suffix:
                file = file.with_suffix(".py")
            where = place(path.name, cell.cell.number, line)
            if file.is_file():
                notebook.runs[file] = where
            elif name not in written:
                fix = "give its path from the notebook's folder"
                notebook.missing.append(f"{where}: %run {name}: there is no {file}; {fix}")
    return notebook


def refuse_problems(path: Path) -> None:
    """Raise UserError with all that cannot be run in a notebook, and in those that it runs."""
    problems: list[str] = []
    for notebook in with_those_it_runs(path):
        problems += notebook.problems
    if problems:
        raise UserError("\n".join(problems))


def with_those_it_runs(path: Path) -> list[Notebook]:
    """A notebook, and the notebooks that it runs with ``%run``."""
    waiting, notebooks = [path], {}
    while waiting:
        file = waiting.pop(0)
        if file not in notebooks:
            notebooks[file] = read(file)
            waiting += [other for other in notebooks[file].runs if other.suffix == SUFFIX]
    return list(notebooks.values())


def script_of(path: Path) -> str:
    """The Python of a notebook's code cells as one program, to be read only.

    `where` finds the cell of a line. A cell that is not Python is left out.

    Raises:
        UserError: it cannot be read, or is not a notebook with Python code.
    """
    parts = []
    for name, program in read(path).programs.items():
        if parse_source(program) is None:
            program = ""
        parts.append(f"# hpcdl: {name}\n{program}")
    return "\n".join(parts) + "\n"


def where(name: str, source: str, line: int) -> str:
    """The name of a line in messages: ``train.py:3``, or the cell of a notebook.

    Args:
        name: the program's file.
        source: its text, of a notebook that of `script_of`.
        line: the line, from 1.
    """
    if name.endswith(SUFFIX):
        lines = source.split("\n")[:line]  # a form feed ends no line
        for number in range(len(lines) - 1, -1, -1):
            mark = _MARK.fullmatch(lines[number])
            if mark:
                return place(mark["name"], int(mark["cell"]), line - number - 1)
    return f"{name}:{line}"
