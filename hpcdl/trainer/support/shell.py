"""Stands for IPython's shell in a notebook that runs as a batch job: ``get_ipython()``."""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import io
import os
import sys
import tokenize
from collections import ChainMap
from types import FrameType
from typing import Any, Callable, Dict, Optional

from . import commands, timing
from .cells import place, without_options
from .magics import ALIASES, left_out, pip_command
from .pictures import say

_AWAIT = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0)
_FUTURES = 0
for _name in __import__("__future__").all_feature_names:
    _FUTURES |= getattr(__import__("__future__"), _name).compiler_flag


class Shell:
    """What ``get_ipython()`` gives: runs code, magics and commands with the notebook's variables.

    Args:
        path: the notebook.
        names: the notebook's variables.
        run_file: runs another script or notebook (``%run``), given what follows it.
    """

    def __init__(
        self, path: str, names: Dict[str, Any], run_file: Callable[[Shell, str], Any]
    ) -> None:
        self.path, self.user_ns, self._run_file = path, names, run_file
        self.notebook = os.path.basename(path)
        self.cell, self.file = 0, self.notebook
        self._flags = 0
        self._loop: Any = None
        self._folder: Optional[str] = None

    def execute(self, source: str, names: Dict[str, Any], local: Dict[str, Any]) -> Any:
        """Run code; the value of an expression that it ends with is the result, as in a cell."""
        flags = self._flags | _AWAIT
        tree: Any = compile(source, self.file, "exec", flags | ast.PyCF_ONLY_AST, True)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not _ends_with_semicolon(source):
            last = ast.Expression(tree.body.pop().value)
        code = compile(tree, self.file, "exec", flags, True)
        self._flags |= code.co_flags & _FUTURES
        self._finish(eval(code, names, local))  # noqa: S307 - the user's own code
        if last is None:
            return None
        code = compile(last, self.file, "eval", flags | self._flags, True)
        return self._finish(eval(code, names, local))  # noqa: S307

    def _finish(self, value: Any) -> Any:
        """The value; if the code has a top-level ``await``, what it gives in the end."""
        if not inspect.iscoroutine(value) or value.cr_code.co_filename != self.file:
            return value
        if value.cr_code.co_name != "<module>":
            return value  # a coroutine that the code made, and did not wait for
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(value)

    # What IPython's shell has, too
    def system(self, command: str) -> None:
        """``!command``."""
        frame = sys._getframe(1)
        where = place(self.notebook, self.cell, self._line(frame))
        self.user_ns["_exit_code"] = commands.run(commands.expand(command, _names(frame)), where)

    def getoutput(self, command: str) -> commands.Lines:
        """``lines = !command``."""
        return commands.output(commands.expand(command, _names(sys._getframe(1))))

    def magic(self, text: str) -> Any:
        """A line magic with its name in front."""
        name, _, line = text.lstrip("%").partition(" ")
        return self._line_magic(name, line.strip(), sys._getframe(1))

    def run_line_magic(self, name: str, line: str, _stack_depth: int = 1) -> Any:
        """``%name line``."""
        return self._line_magic(name, line, sys._getframe(_stack_depth))

    def run_cell_magic(self, name: str, line: str, cell: str) -> Any:
        """``%%name line`` over a cell; where that is Python, it is translated already."""
        frame = sys._getframe(1)
        if name == "timeit":
            options, setup = timing.split_options(line)
            return timing.timeit(options, cell, setup, frame.f_globals, self.file)
        if name in ("time", "prun"):
            return self._measured(name, cell, frame)
        if name == "capture":
            return self._capture(line, cell, frame)
        if name in ("writefile", "file"):
            return _write_file(commands.expand(line, _names(frame)), cell)
        line = commands.expand(line, _names(frame))
        if name in ("system", "sx", "!"):
            return commands.output(cell)
        return commands.script(name, line, cell, self.user_ns)

    def _line_magic(self, name: str, line: str, frame: FrameType) -> Any:
        if name in ("time", "timeit", "prun"):
            above = "\n" * (self._line(frame) - 1)
            if name == "timeit":
                options, statement = timing.split_options(line)
                scope = {**frame.f_globals, **frame.f_locals}
                return timing.timeit(options, above + statement, "", scope, self.file)
            source = line if name == "time" else without_options(line)
            return self._measured(name, above + source, frame)
        line = commands.expand(line, _names(frame))
        command = pip_command(name, line)
        if name in ALIASES:
            command = "{} {}".format(ALIASES[name], line)
        if command is not None:
            where = place(self.notebook, self.cell, self._line(frame))
            return commands.run(command, where) and None
        method = getattr(self, "_magic_" + name, None)
        if method is not None:
            return method(line)
        if left_out(name, line) is None:
            raise NameError("%{} is not known to hpcdl".format(name))
        say("%{} {} is left out".format(name, line))
        return None

    def _magic_cd(self, line: str) -> None:
        self._folder = commands.change_folder(line, self._folder)

    def _magic_pwd(self, line: str) -> str:
        return os.getcwd()

    def _magic_env(self, line: str) -> Any:
        name, has_value, value = line.partition("=")
        if not has_value:
            name, has_value, value = line.partition(" ")
        if not has_value:
            return os.environ[name] if name else dict(os.environ)
        os.environ[name.strip()] = value.strip()
        print("env: {}={}".format(name.strip(), value.strip()))
        return None

    _magic_set_env = _magic_env

    def _magic_run(self, line: str) -> Any:
        return self._run_file(self, line)

    def _magic_system(self, line: str) -> commands.Lines:
        return commands.output(line)

    _magic_sx = _magic_system

    def _magic_reset(self, line: str) -> None:
        stays = ("In", "Out", "exit", "quit")
        for name in list(self.user_ns):
            if name not in stays and not name.startswith("_"):
                del self.user_ns[name]

    def _measured(self, name: str, source: str, frame: FrameType) -> Any:
        measure = timing.timed if name == "time" else timing.profiled
        return measure(lambda: self.execute(source, frame.f_globals, frame.f_locals))

    def _capture(self, line: str, source: str, frame: FrameType) -> None:
        captured = Captured()
        words = line.split()
        with contextlib.ExitStack() as stack:
            if "--no-stdout" not in words:
                stack.enter_context(contextlib.redirect_stdout(captured.out))
            if "--no-stderr" not in words:
                stack.enter_context(contextlib.redirect_stderr(captured.err))
            try:
                self.execute(source, frame.f_globals, frame.f_locals)
            except BaseException:
                stack.close()
                captured.show()  # what was printed before an error helps to understand it
                raise
        for word in words:
            if word.isidentifier():
                self.user_ns[word] = captured

    def _line(self, frame: FrameType) -> int:
        return frame.f_lineno if frame.f_code.co_filename == self.file else 1


class Captured:
    """What ``%%capture name`` leaves in the name."""

    def __init__(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()

    @property
    def stdout(self) -> str:
        """What was printed."""
        return self.out.getvalue()

    @property
    def stderr(self) -> str:
        """What was printed on stderr."""
        return self.err.getvalue()

    def show(self) -> None:
        """Print all of it."""
        print(self.stdout, end="", flush=True)
        print(self.stderr, end="", file=sys.stderr, flush=True)

    __call__ = show

    def __str__(self) -> str:
        return self.stdout


def _names(frame: FrameType) -> Any:
    """The variables that code in a frame sees."""
    return ChainMap(frame.f_locals, frame.f_globals, vars(builtins))


def _write_file(line: str, content: str) -> None:
    """``%%writefile``: write the cell to a file, with -a to its end."""
    words = line.split()
    appends = "-a" in words
    name, verb, mode = line, "Writing", "w"
    if appends:
        name, verb, mode = line.replace("-a", "", 1).strip(), "Appending to", "a"
    path = os.path.expanduser(name.strip("'\""))
    print("{} {}".format(verb, path), flush=True)
    if not content.endswith("\n"):
        content += "\n"
    with open(path, mode, encoding="utf-8") as stream:
        stream.write(content)


def _ends_with_semicolon(source: str) -> bool:
    last = ""
    kinds = (tokenize.OP, tokenize.NAME, tokenize.STRING, tokenize.NUMBER)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            last = token.string
    return last == ";"
