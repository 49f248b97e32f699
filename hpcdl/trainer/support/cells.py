"""Turns a notebook's cells into Python: what runs, and what a reader of the program may look at."""

from __future__ import annotations

import ast
import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

from . import magics
from .notebookfile import Cell
from .statements import Statement, statements

_SHELL = "get_ipython()"
_OPTION = re.compile(r"\s*-(?:[nrp]\s*\d+|[tcqov]\b|[lsTD]\s*\S+)\s*")  # of %timeit and %prun
_RUN = re.compile(r"(?:-[ine]\s+)*(?P<file>'[^']*'|\"[^\"]*\"|[^\s'\"-]\S*)")
_AUTOMAGIC = re.compile(r"([A-Za-z]\w*)(?:[ \t]+(.*))?")
_BARE = (*magics.ALIASES, "cd", "pwd", "env", "who", "whos", "lsmagic")
_BOUND = r"(?:^|[\s,(]){0}\s*(?:=[^=]|,)|\b(?:import|def|class|as|for|global)\b[^\n=]*\b{0}\b"
_EXIT = re.compile(r"^(\s*(?:exit|quit))(?=\s*(?:#.*)?$)")  # both words alone end it in Jupyter
_INTERNET = re.compile(
    r"(?:wget|curl|gdown|kaggle|git\s+clone|git\s+pull|gsutil|aws|apt|apt-get)\b"
)


class Remark(NamedTuple):
    """Something to say of a place in a notebook.

    Args:
        cell: the number of the code cell.
        line: the line in it, from 1.
        text: what was found, and what it means.
    """

    cell: int
    line: int
    text: str


class Translated(NamedTuple):
    """A cell as Python, line for line.

    Args:
        cell: the cell.
        runs: its program, in which IPython's lines are calls of ``get_ipython()``.
        plain: the Python in it alone, for a reader: the body of ``%%time``, what follows ``%time``.
        left_out: what is not run, and why.
        problems: what cannot be run.
        doubts: what runs, and may fail in a batch job.
        files: the files that it runs (``%run``).
        writes: the files that it writes (``%%writefile``).
    """

    cell: Cell
    runs: str
    plain: str
    left_out: List[Remark]
    problems: List[Remark]
    doubts: List[Remark]
    files: List[Tuple[int, str]]
    writes: List[str]


def place(notebook: str, cell: int, line: int) -> str:
    """How a place in a notebook is called in messages."""
    return "{}, cell {}, line {}".format(notebook, cell, line)


def translate(cells: Sequence[Cell]) -> List[Translated]:
    """Translate all cells of a notebook."""
    whole = "\n".join(cell.source for cell in cells)
    translated = []
    for cell in cells:
        translated.append(_Translation(cell, whole).result())
    return translated


class _Translation:
    """One cell's translation.

    Args:
        cell: the cell.
        whole: the text of all cells, to see which names are variables.
    """

    def __init__(self, cell: Cell, whole: str) -> None:
        self.cell, self.whole = cell, whole
        self.left_out: List[Remark] = []
        self.problems: List[Remark] = []
        self.doubts: List[Remark] = []
        self.files: List[Tuple[int, str]] = []
        self.writes: List[str] = []

    def result(self) -> Translated:
        """Translate it."""
        if "skip-execution" in self.cell.tags:
            self._leave_out(1, "the cell", "it has the tag skip-execution")
            runs = plain = _blank(self.cell.source)
        else:
            runs, plain = self._cell(_dedented(self.cell.source), 1)
        remarks = (self.left_out, self.problems, self.doubts)
        return Translated(self.cell, runs, plain, *remarks, self.files, self.writes)

    def _cell(self, source: str, first: int) -> Tuple[str, str]:
        """What runs, and the plain Python, of a cell or of what a cell magic is written over.

        Args:
            source: its text.
            first: the number of its first line in the cell.
        """
        stripped = source.lstrip()
        if not stripped.startswith("%%"):
            return self._lines(source, first)
        above = source[: len(source) - len(stripped)].count("\n")
        head, _, body = stripped.partition("\n")
        name, line = _split(head[2:])
        runs, plain = self._cell_magic(name, line, body, first + above)
        return "\n" * above + runs, "\n" * above + plain

    def _cell_magic(self, name: str, line: str, body: str, first: int) -> Tuple[str, str]:
        empty = _blank(body) + "\n"
        problem = magics.cell_problem(name, line)
        reason = magics.left_out_cell(name, body)
        if reason is not None:
            self._leave_out(first, "the cell %%{}".format(name), reason)
            return empty, empty
        if problem:
            self._refuse(first, "%%{}".format(name), problem)
            return empty, empty
        if name in magics.CELL_BODIES:
            inner, plain = self._cell(body, first + 1)
            call = _call("run_cell_magic", name, line, "\n" * first + inner)
            return call, "{}\n{}".format(_plain_head(name, line), plain)
        if name in magics.WRITES:
            self.writes.append(_unquoted(line.replace("-a", "").strip()))
        elif name in magics.SHELLS:
            for number, text in enumerate(body.split("\n"), first + 1):
                self._doubt_internet(number, text)
        return _call("run_cell_magic", name, line, body), empty

    def _lines(self, source: str, first: int) -> Tuple[str, str]:
        runs, plain = [], []
        for statement in statements(source):
            if statement.kind == "python":
                statement = self._automagic(statement)
            if statement.kind == "python":
                program = reading = _EXIT.sub(r"\1()", statement.text)
            else:
                line = first + statement.first - 1
                program, reading = self._ipython(statement, line)
                padding = "\n" * (statement.lines - 1)
                program, reading = program + padding, reading + padding
            runs.append(program)
            plain.append(reading)
        return "\n".join(runs), "\n".join(plain)

    def _ipython(self, statement: Statement, line: int) -> Tuple[str, str]:
        """One line of IPython's: what runs, and the plain Python."""
        start = statement.indent
        if statement.target is not None:
            start += "{} = ".format(statement.target)
        nothing = start + ("pass" if statement.target is None else "None")
        if statement.kind == "?":
            self._leave_out(line, statement.text.strip(), "help is for a screen")
            return nothing, nothing
        if statement.kind == "%":
            return self._line_magic(statement, line, start, nothing)
        reason = magics.left_out_command(statement.command)
        if reason is not None and statement.target is None:
            self._leave_out(line, statement.text.strip(), reason)
            return nothing, nothing
        self._doubt_internet(line, statement.command)
        wants_output = statement.target is not None or statement.kind == "!!"
        if wants_output:
            return start + _call("getoutput", statement.command), nothing
        return start + _call("system", statement.command), nothing

    def _line_magic(
        self, statement: Statement, line: int, start: str, nothing: str
    ) -> Tuple[str, str]:
        name, rest = _split(statement.command)
        reason = magics.left_out(name, rest)
        if reason is not None and statement.target is None:
            self._leave_out(line, statement.text.strip(), reason)
            return nothing, nothing
        problem = magics.line_problem(name, rest)
        if reason is not None:
            problem = "has no value in a batch job; take the line out"
        if name.startswith("%"):
            problem = "begins a cell; it must be the first thing in it"
        if problem:
            self._refuse(line, "%" + name, problem)
            return nothing, nothing
        if name == "run":
            self._runs_file(line, rest)
        program = start + _call("run_line_magic", name, rest)
        if name not in magics.STATEMENTS:
            return program, nothing
        python = rest.strip()
        if name != "time":
            python = without_options(rest)
        if statement.target is not None:
            python = "({})".format(python)
        return program, start + (python or "pass")

    def _runs_file(self, line: int, rest: str) -> None:
        named = _RUN.match(rest.strip())
        if named and not re.search(r"[{}$]", named.group("file")):
            self.files.append((line, _unquoted(named.group("file"))))

    def _automagic(self, statement: Statement) -> Statement:
        """A statement as it is, or as the magic that it is without its ``%``."""
        words = _AUTOMAGIC.fullmatch(statement.text.strip())
        if not words or words.group(1) not in magics.AUTOMAGIC:
            return statement
        name, rest = words.group(1), words.group(2) or ""
        if not rest and name not in _BARE:
            return statement
        if rest and not rest.startswith("-") and _parses(statement.text):
            return statement
        if re.search(_BOUND.format(name), self.whole, re.MULTILINE):
            return statement
        return statement._replace(kind="%", command=words.group())

    def _doubt_internet(self, line: int, command: str) -> None:
        if _INTERNET.match(command.strip()):
            text = "{}: compute nodes have no internet as a rule; fetch it before, on a login node"
            self._add(self.doubts, line, text.format(command.strip()))

    def _leave_out(self, line: int, what: str, reason: str) -> None:
        text = "{} is left out".format(what)
        if reason:
            text += ": {}".format(reason)
        self._add(self.left_out, line, text)

    def _refuse(self, line: int, what: str, problem: str) -> None:
        self._add(self.problems, line, "{} {}".format(what, problem))

    def _add(self, remarks: List[Remark], line: int, text: str) -> None:
        remarks.append(Remark(self.cell.number, line, text))


def _call(method: str, *arguments: str) -> str:
    return "{}.{}({})".format(_SHELL, method, ", ".join(map(repr, arguments)))


def _split(command: str) -> Tuple[str, str]:
    """A magic's name, and what follows it."""
    name, *rest = command.strip().split(None, 1)[:2] or [""]
    return name, "".join(rest).strip()


def _plain_head(name: str, line: str) -> str:
    """The plain Python of a cell magic's own line."""
    if name == "timeit":
        return without_options(line)
    if name == "capture":
        for word in line.split():
            if word.isidentifier():
                return "{} = None".format(word)
    return ""


def without_options(line: str) -> str:
    """The code after the options of ``%timeit`` and ``%prun``."""
    while True:
        option = _OPTION.match(line)
        if not option:
            return line.strip()
        line = line[option.end() :]


def _unquoted(text: str) -> str:
    is_quoted = text[:1] in "'\"" and text[-1:] == text[:1]
    return text[1:-1] if is_quoted else text


def _blank(text: str) -> str:
    return "\n" * text.count("\n")


def _dedented(source: str) -> str:
    """A cell without the indent of its first line, as IPython takes it."""
    lines = source.split("\n")
    indent: Optional[str] = None
    for number, line in enumerate(lines):
        if indent is None and line.strip():
            indent = line[: len(line) - len(line.lstrip())]
        if indent and line.startswith(indent):
            lines[number] = line[len(indent) :]
    return "\n".join(lines)


def _parses(text: str) -> bool:
    try:
        ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
