"""What a model was exported as, as the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from hpcdl import formats
from hpcdl.report.facts import Facts
from hpcdl.report.measures import Measure
from hpcdl.run.exported import Exported, read_exported

TITLES = ("kind", "size", "compressed", "accuracy", "agreement", "an image", "measured on")


def cells(exported: Exported) -> list[str]:
    """A row of the table, by `TITLES`."""
    return [
        exported.kind,
        _size(exported.bytes),
        _size(exported.gzip),
        formats.percent(exported.accuracy),
        formats.percent(exported.agreement),
        milliseconds(exported.ms),
        _images(exported.rows),
    ]


def rows(every: Sequence[Exported]) -> list[list[str]]:
    """The rows of the table, of the kinds that were made."""
    return [cells(exported) for exported in every if not exported.why]


def refused(every: Sequence[Exported]) -> list[str]:
    """A sentence for each kind that could not be made, or not anew."""
    sentences = []
    for exported in every:
        if exported.why:
            sentences.append(f"{exported.kind}: {exported.why}")
        elif exported.why_not_again:
            sentences.append(
                f"{exported.kind} anew (the older one stays): {exported.why_not_again}"
            )
    return sentences


def milliseconds(value: float | None) -> str:
    """Milliseconds with two figures that count."""
    if value is None:
        return formats.MISSING
    digits = 0 if value >= 10 else 1 if value >= 1 else 3
    return f"{value:.{digits}f}\u00a0ms"


def measures(runs: Sequence[Facts]) -> list[Measure]:
    """Measures by which runs are compared, for each kind that one of them was exported as."""
    names: dict[str, None] = {}  # in the order in which they appear
    for run in runs:
        names.update(dict.fromkeys(one.kind for one in _made(run)))
    found = []
    for kind in names:
        for key, title, show in _COMPARED:
            value = partial(_value, kind, key)
            found.append(Measure(f"export.{kind}.{key}", f"{kind} {title}", value, show))
    return found


def _made(run: Facts) -> list[Exported]:
    return [one for one in read_exported(run.run.paths) if not one.why]


def _value(kind: str, key: str, run: Facts) -> Any:
    for exported in _made(run):
        if exported.kind == kind:
            return getattr(exported, key)
    return None


def _size(bytes_: int | None) -> str:
    return formats.MISSING if bytes_ is None else formats.disk_use(bytes_).replace(" ", "\u00a0")


def _images(count: int | None) -> str:
    return formats.MISSING if count is None else formats.several(count, "image")


# What compare shows of a kind
_COMPARED = (
    ("bytes", "size", _size),
    ("accuracy", "accuracy", formats.percent),
    ("agreement", "agreement", formats.percent),
    ("ms", "an image", milliseconds),
)
