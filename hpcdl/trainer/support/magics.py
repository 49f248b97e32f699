"""What each of IPython's magics means in a batch job: it runs, is left out, or is refused.

Source: https://ipython.readthedocs.io/en/stable/interactive/magics.html
"""

from __future__ import annotations

import difflib
import re
from typing import Optional

_SCREEN = "a batch job has no screen"
_PACKAGES = "name it in a requirements file: packages: requirements.txt"
_FIGURES = "figures are saved in figures/ of the run"

# Magics that may be left out: no later cell needs what they do.
LEFT_OUT = {
    "matplotlib": _FIGURES,
    "load_ext": "its own magics are not there",
    "reload_ext": "its own magics are not there",
    "unload_ext": "",
    "autoreload": "",
    "aimport": "",
    "config": "",
    "colors": "",
    "xmode": "",
    "precision": "",
    "autosave": "",
    "notebook": "",
    "gui": _SCREEN,
    "pdb": _SCREEN,
    "debug": _SCREEN,
    "who": _SCREEN,
    "whos": _SCREEN,
    "who_ls": _SCREEN,
    "history": "",
    "hist": "",
    "lsmagic": "",
    "magic": "",
    "quickref": "",
    "pinfo": _SCREEN,
    "pinfo2": _SCREEN,
    "pdoc": _SCREEN,
    "psource": _SCREEN,
    "pfile": _SCREEN,
    "page": _SCREEN,
    "logstart": "",
    "logstop": "",
    "automagic": "",
    "doctest_mode": "",
    "tensorboard": "hpcdl tensorboard shows the run's logs",
    "tensorflow_version": "the container image decides",
}
_INSTALLERS = ("pip", "conda", "mamba", "micromamba", "uv")
ALIASES = {"ll": "ls -l", "lf": "ls -l", "lx": "ls -l"}
ALIASES.update({name: name for name in ("ls", "cat", "cp", "mv", "rm", "mkdir", "rmdir")})
STATEMENTS = ("time", "timeit", "prun")  # what follows them is Python
LINES = (*STATEMENTS, "cd", "pwd", "env", "set_env", "run", "system", "sx", "reset")
# Cells of other languages: those for the browser show something and are left out.
CELLS_LEFT_OUT = ("html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG")
CELL_BODIES = (*STATEMENTS, "capture")  # what is in the cell is Python
SHELLS = ("bash", "sh", "script", "system", "sx", "!", "python", "python3")
WRITES = ("writefile", "file")
CELLS = (*CELL_BODIES, *SHELLS, *WRITES)
# Words that IPython takes for a magic without its %, if they are not variables
AUTOMAGIC = (*LEFT_OUT, *_INSTALLERS, *ALIASES, *LINES)

_PYTHON = r"""["']?(?:(?:\S*/)?python[\d.]*|\{sys\.executable\}|\$sys\.executable)["']?"""
_TOOLS = r"(?:pip[\d.]*|conda|mamba|micromamba|uv\s+pip|apt|apt-get)"
_INSTALL = re.compile(
    r"(?:yes\s*\|\s*)?(?:sudo\s+)?(?:{}\s+-m\s+)?(?:\S*/)?{}"
    r"(?:\s+-\S+|\s+\S+=\S+)*\s+(?:install|uninstall|update|upgrade)\b".format(_PYTHON, _TOOLS)
)
_REMEDIES = {
    "pylab": "write import numpy as np and import matplotlib.pyplot as plt",
    "load": "put the file's text into the cell",
    "loadpy": "put the file's text into the cell",
    "store": "save what a later run needs to a file",
    "R": "write the cell in Python, or another script",
}
_RUN_OPTIONS = ("-i", "-n", "-e", "-m")


def installs(command: str) -> bool:
    """Whether shell commands install packages, and do nothing else."""
    commands = re.split(r";|&&|\|\||\n", re.sub(r"\\\n|(?:^|\n)[ \t]*#[^\n]*", " ", command))
    commands = [part.strip() for part in commands if part.strip()]
    return bool(commands) and all(_INSTALL.match(part) for part in commands)


def pip_command(name: str, line: str) -> Optional[str]:
    """The shell command of ``%pip`` and its kind; None for another magic."""
    if name not in _INSTALLERS:
        return None
    program = "python -m pip" if name == "pip" else name
    return "{} {}".format(program, line)


def left_out(name: str, line: str) -> Optional[str]:
    """Why a line magic is left out, or an empty text; None if it is not left out."""
    command = pip_command(name, line)
    if command is not None:
        return _PACKAGES if installs(command) else None
    if name == "tensorflow_version" and line.strip().startswith("1"):
        return None
    return LEFT_OUT.get(name)


def left_out_cell(name: str, body: str) -> Optional[str]:
    """Why a cell magic is left out with all below it; None if it is not left out."""
    if name in CELLS_LEFT_OUT:
        return _SCREEN
    if name in ("bash", "sh", "!", "system", "sx"):
        return left_out_command(body)
    return None


def left_out_command(command: str) -> Optional[str]:
    """Why a shell command is left out; None if it is run."""
    return _PACKAGES if installs(command.strip()) else None


def line_problem(name: str, line: str) -> Optional[str]:
    """What is wrong with a line magic that is not left out, and the remedy; None if it can run."""
    if name == "tensorflow_version":
        return "asks for TensorFlow 1; choose an image with it, and take the line out"
    if name == "run":
        return _run_problem(line)
    if name in LINES or name in ALIASES or pip_command(name, line):
        return None
    return _unknown("%", name, [*LINES, *ALIASES, *LEFT_OUT])


def cell_problem(name: str, line: str) -> Optional[str]:
    """What is wrong with a cell magic that is not left out, and the remedy; None if it can run."""
    if name in SHELLS and re.search(r"(?:^|\s)--?(?:bg|proc)\b", line):
        return "runs in the background; write subprocess.Popen, and wait for it"
    if name in WRITES and not line.replace("-a", "").strip():
        return "names no file"
    if name == "time" and line.strip():
        return "has a statement on its own line; put it below"
    if name in CELLS:
        return None
    if name in LINES or name in LEFT_OUT:
        return "is for one line, not for a cell: write %{}".format(name)
    return _unknown("%%", name, [*CELLS, *CELLS_LEFT_OUT])


def _run_problem(line: str) -> Optional[str]:
    words = line.split()
    while words and words[0].startswith("-"):
        if words[0] not in _RUN_OPTIONS:
            return "has the option {}; hpcdl knows {}".format(words[0], " ".join(_RUN_OPTIONS))
        if words.pop(0) == "-m":
            return None if words else "names no module"
    return None if words else "names no file"


def _unknown(marks: str, name: str, names: list[str]) -> str:
    remedy = _REMEDIES.get(name, "write in Python what it does, or take it out")
    near = difflib.get_close_matches(name, names, 1)
    guess = ""
    if near and name not in _REMEDIES:
        guess = "; did you mean {}{}?".format(marks, near[0])
    return "is not known to hpcdl{}; {}".format(guess, remedy)
