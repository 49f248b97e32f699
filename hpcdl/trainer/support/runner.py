"""Runs a notebook's cells in order in one process, as Jupyter does; tracebacks show the cells."""

from __future__ import annotations

import ast
import builtins
import linecache
import os
import shlex
import sys
import traceback
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

from . import pictures, showing
from .cells import Translated, place, translate
from .notebookfile import read_cells
from .pictures import say
from .shell import Shell

_HERE = os.path.dirname(os.path.abspath(__file__))
_MAIN = os.path.abspath(getattr(sys.modules["__main__"], "__file__", ""))


def main() -> None:
    """Run the notebook that the command line names, with the arguments after it.

    Raises:
        SystemExit: a cell has something that cannot be run; nothing was run then.
    """
    sys.excepthook = _print_traceback
    del sys.argv[0]
    path = os.path.abspath(sys.argv[0])
    names = vars(sys.modules["__main__"])
    # Jupyter has no __file__ either: notebooks ask whether it is there to see where they run.
    for name in ("main", "__file__"):
        names.pop(name, None)
    # As in Jupyter, modules in the working directory are found; also those next to the notebook.
    sys.path[:0] = ["", os.path.dirname(path)]
    shell = Shell(path, names, _run_file)
    names.update(In=[""], Out={}, exit=sys.exit, quit=sys.exit)
    showing.provide_ipython(shell)
    _run_cells(shell, path)


def _run_cells(shell: Shell, path: str) -> None:
    notebook = os.path.basename(path)
    cells = translate(read_cells(path))
    _refuse(notebook, cells)
    for cell in cells:
        for remark in cell.left_out:
            say("{}: {}".format(place(notebook, remark.cell, remark.line), remark.text))
    before = shell.notebook, shell.cell, shell.file, shell.path
    shell.notebook, shell.path = notebook, os.path.abspath(path)
    for cell in cells:
        shell.cell, shell.file = cell.cell.number, _file(notebook, cell)
        _run_cell(shell, cell)
    shell.notebook, shell.cell, shell.file, shell.path = before


def _refuse(notebook: str, cells: List[Translated]) -> None:
    """End before the first cell if a later one cannot run."""
    problems = []
    for cell in cells:
        for remark in cell.problems:
            where = place(notebook, remark.cell, remark.line)
            problems.append("hpcdl: {}: {}".format(where, remark.text))
    if problems:
        sys.exit("\n".join(problems))
    for cell in cells:
        file = _file(notebook, cell)
        lines = cell.cell.source.splitlines(True)
        linecache.cache[file] = (len(cell.cell.source), None, lines, file)
        ast.parse(cell.plain, file)


def _file(notebook: str, cell: Translated) -> str:
    """What tracebacks call a cell."""
    return "{}, cell {}".format(notebook, cell.cell.number)


def _run_cell(shell: Shell, cell: Translated) -> None:
    names = shell.user_ns
    names["In"].append(cell.cell.source)
    prefix, pictures.prefix = pictures.prefix, "cell-{}".format(cell.cell.number)
    try:
        value = shell.execute(cell.runs, names, names)
        if value is not None:
            showing.display(value)
            names.update(_=value, __=names.get("_"), ___=names.get("__"))
            names["_{}".format(cell.cell.number)] = names["Out"][cell.cell.number] = value
    except Exception as error:
        if "raises-exception" not in cell.cell.tags:
            raise
        _print_traceback(type(error), error, error.__traceback__)
        say("the cell has the tag raises-exception; the notebook goes on")
    finally:
        showing.save_open_figures()
        pictures.prefix = prefix


def _run_file(shell: Shell, line: str) -> None:
    """``%run``: another script with its own variables, which the notebook has afterwards."""
    import runpy

    words = shlex.split(line)
    options = []
    while words[0].startswith("-") and words[0] != "-m":
        options.append(words.pop(0))
    is_module = words[0] == "-m"
    argv = words[1:] if is_module else words
    if not is_module:
        argv[0] = _found(shell, argv[0])
    if argv[0].endswith(".ipynb"):
        _run_cells(shell, argv[0])
        return
    name = "__main__"
    if "-n" in options:
        name, _ = os.path.splitext(os.path.basename(argv[0]))
    names = shell.user_ns if "-i" in options else {}
    before = sys.argv
    sys.argv = list(argv)
    try:
        if is_module:
            defined = runpy.run_module(argv[0], run_name=name, alter_sys=True)
        else:
            defined = _run_script(argv[0], name, names)
    except SystemExit as error:
        if error.code and "-e" not in options:
            raise
        return
    finally:
        sys.argv = before
    for key, value in defined.items():
        if not key.startswith("__"):
            shell.user_ns[key] = value


def _run_script(path: str, name: str, variables: Dict[str, Any]) -> Dict[str, Any]:
    """Run a script with some variables; returns all that it has at the end."""
    with open(path, "rb") as stream:
        code = compile(stream.read(), path, "exec", dont_inherit=True)
    names = {**variables, "__name__": name, "__file__": path, "__builtins__": builtins}
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    try:
        exec(code, names)  # noqa: S102 - the user's own script
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return names


def _found(shell: Shell, name: str) -> str:
    """A file by its path from the notebook's folder, with or without its ``.py``.

    One from outside that folder was frozen next to the notebook.
    """
    folder = os.path.dirname(shell.path)
    for path in (name, os.path.join(folder, name), os.path.join(folder, os.path.basename(name))):
        for ending in ("", ".py"):
            if os.path.isfile(path + ending):
                return path + ending
    return name


def _print_traceback(
    kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]
) -> None:
    """Print a traceback without hpcdl's own frames."""
    sys.stdout.flush()
    traceback.print_exception(kind, error, _without_own(trace))


def _without_own(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    frames = []
    while trace is not None:
        file = os.path.abspath(trace.tb_frame.f_code.co_filename)
        if os.path.dirname(file) != _HERE and file != _MAIN:
            frames.append(trace)
        trace = trace.tb_next
    shorter = None
    for frame in reversed(frames):
        shorter = TracebackType(shorter, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return shorter
