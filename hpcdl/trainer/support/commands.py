"""Runs a notebook's shell commands (``!ls``, ``%%bash``) as IPython does."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from typing import Any, Dict, List, Mapping, Optional

from .pictures import say

# Not in single quotes: an even number of them follows
_NAME = re.compile(r"\$(\$?[A-Za-z_]\w*(?:\.\w+)*)(?=(?:[^']*'[^']*')*[^']*$)")


class Lines(List[str]):
    """The lines that a command printed, with IPython's three short names for them."""

    @property
    def l(self) -> List[str]:  # noqa: E743 - IPython's name
        """The lines."""
        return self

    @property
    def n(self) -> str:
        """The lines as one text."""
        return "\n".join(self)

    @property
    def s(self) -> str:
        """The lines with spaces between them."""
        return " ".join(self)


def expand(command: str, names: Mapping[str, Any]) -> str:
    """A command with ``{expression}`` and ``$name`` replaced, as IPython does.

    What cannot be evaluated leaves the command as it is: it may mean something to the shell.

    Args:
        command: the command.
        names: the variables that it may use.
    """
    parts: List[str] = []
    formatter = string.Formatter()
    try:
        for literal, field, layout, conversion in formatter.parse(command):
            parts.append(_NAME.sub(lambda found: _value(found, names), literal))
            if field is not None:
                value = eval(field, dict(names))  # noqa: S307 - the user's own expression
                value = formatter.convert_field(value, conversion)
                parts.append(format(value, layout or ""))
    except Exception:  # an expression can fail in any way
        return command
    return "".join(parts)


def _value(found: re.Match[str], names: Mapping[str, Any]) -> str:
    name = found.group(1)
    if name.startswith("$"):
        return name
    first, *others = name.split(".")
    if first not in names:
        return found.group()
    value = names[first]
    for other in others:
        value = getattr(value, other)
    return str(value)


def shell() -> List[str]:
    """The argv in front of a command's text."""
    return [shutil.which("bash") or "sh", "-c"]


def run(command: str, where: str) -> int:
    """Run a command; its output goes where the notebook's goes.

    Args:
        command: a command of the shell's.
        where: its place in the notebook, to be named if it fails.

    Returns:
        its exit status.
    """
    status = _stream([*shell(), command])
    if status:
        say("{}: !{} ended with exit status {}".format(where, command, status))
    return status


def output(command: str) -> Lines:
    """The lines that a command prints, errors among them."""
    done = subprocess.run(
        [*shell(), command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return Lines(done.stdout.decode(errors="replace").splitlines())


def script(name: str, line: str, body: str, names: Dict[str, Any]) -> None:
    """Run a cell in another program: ``%%bash``, ``%%python``, ``%%script perl``.

    Raises:
        subprocess.CalledProcessError: it failed, and ``--no-raise-error`` was not given.
    """
    words = shlex.split(line)
    raises = "--no-raise-error" not in words
    saved_as = {option: _taken(words, option) for option in ("--out", "--err")}
    arguments = [word for word in words if word not in ("--no-raise-error", "--raise-error")]
    program = {"script": [], "python": [sys.executable], "python3": [sys.executable]}
    argv = [*program.get(name, [name]), *arguments]
    if not any(saved_as.values()):
        status = _stream(argv, body)
    else:
        done = subprocess.run(argv, input=body.encode(), capture_output=True, check=False)
        status = done.returncode
        for option, content in (("--out", done.stdout), ("--err", done.stderr)):
            _hand_over(content.decode(errors="replace"), saved_as[option], names)
    if status and raises:
        raise subprocess.CalledProcessError(status, argv)


def _taken(words: List[str], option: str) -> Optional[str]:
    """Take an option with its value out of the words."""
    if option not in words[:-1]:
        return None
    place = words.index(option)
    value = words[place + 1]
    del words[place : place + 2]
    return value


def _hand_over(text: str, name: Optional[str], names: Dict[str, Any]) -> None:
    if name:
        names[name] = text
    else:
        print(text, end="")


def _stream(argv: List[str], body: Optional[str] = None) -> int:
    """Run a program; its output is printed at once, or captured if ``%%capture`` is on."""
    sys.stdout.flush()
    sys.stderr.flush()
    captured = sys.stdout is not sys.__stdout__
    streams: Dict[str, Any] = {"stdin": subprocess.DEVNULL}
    content = None
    if body is not None:
        streams["stdin"], content = subprocess.PIPE, body.encode()
    if captured:
        streams.update(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    child = subprocess.Popen(argv, **streams)
    text, _ = child.communicate(content)
    if captured:
        print(text.decode(errors="replace"), end="")
    return int(child.returncode)


def change_folder(line: str, before: Optional[str]) -> str:
    """``%cd``: go to a folder, and say which it is.

    Args:
        line: what follows ``%cd``.
        before: the folder before this one, for ``%cd -``.

    Returns:
        the folder that was left.

    Raises:
        OSError: it cannot be gone to.
    """
    left = os.getcwd()
    quiet = line.startswith("-q")
    if quiet:
        line = line[len("-q") :]
    target = line.strip().strip("'\"") or "~"
    if target == "-":
        target = before or left
    os.chdir(os.path.expanduser(target))
    if not quiet:
        print(os.getcwd())
    return left
