"""An adopted script as the text of a job file, with what it does not carry as comments."""

from __future__ import annotations

import textwrap
from typing import Any

from hpcdl.adopt.model import Adopted
from hpcdl.text import one_line
from hpcdl.yamlfile.writer import plain

_WIDTH = 100
_ORDER = (
    *("name", "resources", "container", "script", "args", "workdir", "stop_signal"),
    *("env", "pythonpath", "slurm", "cluster"),
)
_BY_LINE = ("env", "slurm", "cluster")  # sections with a line for each key


def job_text(adopted: Adopted) -> str:
    """The job file of an adopted script."""
    document = adopted.document.plain()
    lines = [f"# The job of {one_line(adopted.script.path.name)}, written by hpcdl adopt."]
    for key in _ORDER:
        if key in document:
            lines += _key_lines(key, document[key])
    if adopted.left:
        lines += ["", "# Not carried over, by its line of the script:"]
        for item in adopted.left:
            lines += _comment(str(item), "#   ")
    if adopted.notes:
        lines += ["", "# Good to know:"]
        for note in adopted.notes:
            lines += _comment(note, "#   ")
    return "\n".join(lines) + "\n"


def _key_lines(key: str, value: Any) -> list[str]:
    """A key with its value."""
    if key in _BY_LINE and isinstance(value, dict):
        lines = [f"{key}:"]
        for name, inner in value.items():
            lines += _fitting(f"  {plain(name)}", inner)
        return lines
    return _fitting(key, value)


def _fitting(key: str, value: Any) -> list[str]:
    """A value on one line; a long list with a line for each item."""
    line = f"{key}: {plain(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list):
        return [line]
    indent = " " * (len(key) - len(key.lstrip()))
    return [f"{key}:", *(f"{indent}  - {plain(item)}" for item in value)]


def _comment(text: str, mark: str) -> list[str]:
    return textwrap.wrap(
        one_line(text),
        _WIDTH,
        initial_indent=mark,
        subsequent_indent=f"{mark}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
