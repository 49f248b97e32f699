"""Reads a script's metrics.jsonl: the progress that it writes, a JSON object on each line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 26  # how much of the file's end is read; the user is told of a longer one
GLANCE_BYTES = 1 << 18  # the same, if only the last lines matter
_LONGEST_LINE = 65536
_MOST_PROBLEMS = 5
_PLACES = ("epoch", "step")

Row = dict[str, float]


@dataclass
class ScriptMetrics:
    """What a script's metrics.jsonl holds.

    Args:
        rows: one for each epoch and step, in order: ``epoch`` and ``step``, if given, and the
            metrics as numbers. A later line about the same epoch and step replaces earlier values.
        last: the last value of each metric; None if it was not a finite number.
        newest: the row that was written last.
        problems: what was left out, and why.
    """

    rows: list[Row] = field(default_factory=list)
    last: dict[str, float | None] = field(default_factory=dict)
    newest: Row = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_metrics(path: Path, most_bytes: int = MOST_BYTES) -> ScriptMetrics:
    """Read a script's metrics. A bad line is left out, and named in ``problems``.

    Args:
        path: metrics.jsonl; it may be missing.
        most_bytes: how much of its end is read.
    """
    reader = _Reader()
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - most_bytes))
            first = 1
            if size > most_bytes:
                stream.readline()  # the rest of a line
                first = 0  # its number is not known
                reader.problem(f"only the last {most_bytes:,} of its {size:,} bytes are read")
            number = first
            while line := stream.readline(_LONGEST_LINE):
                reader.read(line, number)
                if first and line.endswith(b"\n"):
                    number += 1
    except FileNotFoundError:
        pass
    except OSError as error:
        reader.problem(f"it cannot be read: {error.strerror}")
    return reader.metrics()


class _Reader:
    def __init__(self) -> None:
        self._rows: dict[tuple[float, float], Row] = {}
        self._last: dict[str, float | None] = {}
        self._newest: Row = {}
        self._problems: list[str] = []
        self._left_out = 0

    def problem(self, message: str) -> None:
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(message)
        else:
            self._left_out += 1

    def read(self, line: bytes, number: int) -> None:
        where = f"line {number}" if number else "a line"
        if not line.strip():
            return
        if not line.endswith(b"\n") and not _is_json(line):
            self.problem(f"{where} is cut off, or is not JSON")  # it may still be being written
            return
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            self.problem(f"{where} is not JSON: {_shown(line)}")
            return
        if not isinstance(values, dict):
            self.problem(f"{where} is not a JSON object: {_shown(line)}")
            return
        self._add(values, where)

    def _add(self, values: dict[str, Any], where: str) -> None:
        place: Row = {}
        for name in _PLACES:
            if values.get(name) is None:
                continue
            number = _number(values[name])
            if number is None:
                self.problem(f"{where}: {name} is {values[name]!r:.40}, and not a number")
                return
            place[name] = number
        row: Row = dict(place)
        for name, value in values.items():
            if name in _PLACES:
                continue
            number = _number(value)
            self._note(name, value, number, where)
            if number is not None:
                row[name] = number
        key = (place.get("epoch", -math.inf), place.get("step", -math.inf))
        self._rows.setdefault(key, {}).update(row)
        self._newest = self._rows[key]

    def _note(self, name: str, value: Any, number: float | None, where: str) -> None:
        """Keep a value as the metric's last one; note it as a problem if it is not a number."""
        if number is not None or value is None:
            self._last[name] = number
        elif isinstance(value, float | int) and not isinstance(value, bool):
            self._last[name] = None
            self.problem(f"{where}: {name} is {value!r:.20}")
        else:
            self.problem(f"{where}: {name} is {value!r:.40}, and not a number")

    def metrics(self) -> ScriptMetrics:
        problems = list(self._problems)
        if self._left_out:
            problems.append(f"and {self._left_out:,} more")
        rows = [self._rows[key] for key in sorted(self._rows)]
        return ScriptMetrics(rows, self._last, self._newest, problems)


def _number(value: Any) -> float | None:
    """A finite number, or None. True and False are not numbers here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond all floats
        return None


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _shown(line: bytes) -> str:
    return repr(line[:40].decode("utf-8", "replace").strip())
