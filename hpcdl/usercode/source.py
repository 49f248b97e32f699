"""Reads and parses a user's Python source as Python itself does."""

from __future__ import annotations

import ast
import codecs
import io
import tokenize
import warnings
from functools import lru_cache
from pathlib import Path

NOTEBOOK = ".ipynb"  # how such a file's name ends; `hpcdl.usercode.notebook` reads it
# What Python's parser raises: the last two if a program is nested very deeply
_REFUSALS = (SyntaxError, ValueError, RecursionError, MemoryError)


def read_source(path: Path) -> str:
    """The text of a Python file, with ``\\n`` as newline.

    Its byte order mark or coding line says how it is decoded. What cannot be decoded is replaced;
    `why_undecodable` says what that is.
    Source: https://docs.python.org/3/reference/lexical_analysis.html#encoding-declarations

    Raises:
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        return _decoded(content)
    except (SyntaxError, UnicodeError, LookupError):
        return content.decode("utf-8-sig", errors="replace")


def why_undecodable(path: Path) -> str:
    """Why Python cannot decode a source file, or nothing.

    Raises:
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it is UTF-16"
    try:
        try:
            _decoded(content)
        except SyntaxError:
            content.decode()  # UTF-8 if no line names another encoding: where does it end?
            raise
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"line {line} has bytes that are not {error.encoding}"
    except (SyntaxError, UnicodeError, LookupError) as error:
        return str(error)
    return "it has null bytes" if b"\0" in content else ""


@lru_cache(maxsize=100)
def parse_source(source: str) -> ast.Module | None:
    """The tree of a program; None if Python cannot parse it. Callers share it, and only read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself prints them
        try:
            return ast.parse(source)
        except _REFUSALS:
            return None


def _decoded(content: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    content.decode(encoding)  # a UnicodeDecodeError of the whole file knows the place
    return io.TextIOWrapper(io.BytesIO(content), encoding).read()
