"""Turns a notebook into the script that its code cells are."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from hpcdl.errors import UserError


def script_of(path: Path) -> str:
    """The code cells of a notebook as one Python program.

    Lines that only IPython understands (``%matplotlib inline``, ``!pip install``)
    are left as comments: a compute node has neither a screen nor the internet.

    Raises:
        UserError: this is no notebook, or its language is not Python.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        language = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a Jupyter notebook (format 4): {error}") from error
    if language != "python":
        raise UserError(f"{path} is a notebook in {language}; expected Python")
    parts = [f"# the code cells of {path.name}"]
    for number, source in enumerate(sources, 1):
        parts.append(f"# cell {number}\n{_plain_python(source)}")
    return "\n\n".join(parts) + "\n"


def _plain_python(source: str) -> str:
    """A cell without IPython's own lines; a cell that is Python already stays as it is."""
    try:
        ast.parse(source)
        return source
    except SyntaxError:
        pass
    if source.lstrip().startswith("%%"):
        return "\n".join(f"# not run: {line}" for line in source.splitlines())
    lines = []
    for line in source.splitlines():
        text = line.lstrip()
        if text.startswith(("%", "!", "?")) or text.rstrip().endswith("?"):
            line = f"{line[: len(line) - len(text)]}pass  # not run: {text}"
        lines.append(line)
    return "\n".join(lines)
