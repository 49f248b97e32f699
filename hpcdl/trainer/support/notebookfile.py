"""Reads the code cells of a notebook: nbformat 3 and 4, as Jupyter, Colab and Kaggle write them.

Source of the format: https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple

_PYTHON = ("python", "python2", "python3", "ipython")


class NotebookError(Exception):
    """A file that is not a notebook with Python code."""


class Cell(NamedTuple):
    """A code cell: its number among the code cells, from 1, its text, and its tags."""

    number: int
    source: str
    tags: List[str]


def read_cells(path: str) -> List[Cell]:
    """The code cells of a notebook, in order; line ends are newlines.

    Raises:
        OSError: the file cannot be read.
        NotebookError: it is not a notebook, its language is not Python, or it has no code.
    """
    with open(path, encoding="utf-8-sig") as stream:
        try:
            notebook = json.load(stream)
            cells = _code_cells(notebook)
            language = _language(notebook.get("metadata"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error)
            if isinstance(error, KeyError):
                reason = "it has no {}".format(error)
            message = (
                "{} is not a Jupyter notebook: {}; save it again in Jupyter, or name a .py file"
            )
            raise NotebookError(message.format(path, reason)) from error
    if language.lower() not in _PYTHON:
        message = "{} is a notebook in {}; hpcdl runs Python notebooks only"
        raise NotebookError(message.format(path, language))
    if not any(cell.source.strip() for cell in cells):
        message = (
            "{} is not a Jupyter notebook with code: all its code cells are empty; save it again"
        )
        raise NotebookError(message.format(path))
    return cells


def _code_cells(notebook: Dict[str, Any]) -> List[Cell]:
    entries = notebook.get("cells")
    if entries is None:  # nbformat 3
        entries = []
        if "worksheets" not in notebook:
            raise KeyError("cells")
        for sheet in notebook["worksheets"]:
            entries.extend(sheet["cells"])
    cells: List[Cell] = []
    for entry in entries:
        if entry["cell_type"] != "code":
            continue
        text = _text(entry).replace("\r\n", "\n").replace("\r", "\n")
        tags = (entry.get("metadata") or {}).get("tags") or []
        cells.append(Cell(len(cells) + 1, text, [str(tag) for tag in tags]))
    return cells


def _text(entry: Dict[str, Any]) -> str:
    """The text of a cell, which is a text or a list of lines; nbformat 3 calls it input."""
    source = entry["input"] if "input" in entry else entry["source"]
    return source if isinstance(source, str) else "".join(source)


def _language(metadata: Any) -> str:
    """The notebook's language; Colab and others leave it out, and mean Python."""
    metadata = metadata or {}
    kernel = metadata.get("kernelspec") or {}
    about = metadata.get("language_info") or {}
    return str(kernel.get("language") or about.get("name") or "python")
