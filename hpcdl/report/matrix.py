"""The drawing of a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from hpcdl.report.svg import drawing, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHADES = 8
_STRONG = 6  # above this shade a number needs the light colour
_MOST_NUMBERS = 20  # classes up to which each cell has its number
_MOST_NAMES = 40  # classes up to which each row has its name
_LONGEST_NAME = 16


@dataclass(frozen=True)
class _Layout:
    """Pixels: the side of a cell, and where the matrix begins."""

    count: int
    cell: int
    left: int
    top: int

    @property
    def side(self) -> int:
        """The side of the whole matrix."""
        return self.count * self.cell

    def middle(self, place: int) -> float:
        """The middle of a row or a column, from the matrix's own edge."""
        return (place + 0.5) * self.cell


def confusion_matrix(title: str, confusion: NDArray[Any], names: Sequence[str]) -> Markup:
    """A row for each class, a column for each answer.

    Blue is right, orange is wrong; a darker cell is a larger share of its row. Shares of mistakes
    are scaled to the largest one, because most are too small to see. With up to 20 classes each
    cell has its number, with up to 40 each row has its name; with more, every tenth row has its
    number.
    """
    names = _short_names(names, len(confusion))
    layout = _layout(names)
    shades = _shades(confusion)
    left, top, side = layout.left, layout.top, layout.side
    frame = f'<rect class="frame" x="{left}" y="{top}" width="{side}" height="{side}"/>'
    cells = f'<g transform="translate({left} {top}) scale({layout.cell})">{_cells(shades)}</g>'
    numbers = _numbers(confusion, shades, layout)
    parts = [joined(frame, cells, *numbers, _axes(layout)), *_labels(names, layout)]
    return drawing(left + side + 2, top + side + 2, title, parts)


def _short_names(names: Sequence[str], count: int) -> list[str]:
    """The names that are shown; numbers for many classes."""
    if count > _MOST_NAMES:
        return list(map(str, range(count)))
    short = []
    for name in names:
        is_long = len(name) > _LONGEST_NAME
        short.append(f"{name[: _LONGEST_NAME - 1]}…" if is_long else name)
    return short


def _layout(names: Sequence[str]) -> _Layout:
    count = len(names)
    if count <= 12:
        cell = 40
    elif count <= _MOST_NUMBERS:
        cell = 28
    else:
        cell = max(5, 560 // count)
    # A letter takes some 8 pixels. Names of columns are turned if they are wider than a cell.
    left = 30 + 8 * max(map(len, names))
    top = left if left > 60 else 40
    return _Layout(count, cell, left, top)


def _shades(confusion: NDArray[Any]) -> dict[tuple[int, int], int]:
    """The shade of each cell that is not empty, 1 to `_SHADES`."""
    import numpy as np

    shares = confusion / confusion.sum(axis=1, keepdims=True).clip(1)
    mistakes = shares.copy()
    np.fill_diagonal(mistakes, 0)
    largest = float(mistakes.max(initial=0)) or 1.0
    shades = {}
    for row, column in zip(*confusion.nonzero(), strict=True):
        share = shares[row, column]
        if row != column:
            share = share / largest
        shades[int(row), int(column)] = math.ceil(share * _SHADES)
    return shades


def _cells(shades: dict[tuple[int, int], int]) -> str:
    """The cells as paths, one for each shade."""
    paths: dict[str, list[str]] = {}
    for (row, column), shade in shades.items():
        kind = "right" if row == column else "wrong"
        paths.setdefault(f"{kind} s{shade}", []).append(f"M{column} {row}h1v1h-1z")
    return "".join(f'<path class="{name}" d="{"".join(paths[name])}"/>' for name in sorted(paths))


def _numbers(
    confusion: NDArray[Any],
    shades: dict[tuple[int, int], int],
    layout: _Layout,
) -> list[str]:
    """The number in each cell, if there are few classes."""
    numbers: list[str] = []
    if layout.count > _MOST_NUMBERS:
        return numbers
    for (row, column), shade in shades.items():
        strong = " strong" if shade > _STRONG else ""
        x = layout.left + layout.middle(column)
        y = layout.top + layout.middle(row)
        number = _short(int(confusion[row, column]))
        numbers.append(f'<text class="in{strong}" x="{x:.1f}" y="{y + 4:.1f}">{number}</text>')
    return numbers


def _labels(names: Sequence[str], layout: _Layout) -> list[Markup]:
    """The names of rows and columns; of many every tenth."""
    every = 1 if layout.count <= _MOST_NAMES else 10
    labels = []
    for place in range(0, layout.count, every):
        middle = layout.middle(place)
        row = Markup('<text class="end" x="{}" y="{:.1f}">{}</text>')
        labels.append(row.format(layout.left - 6, layout.top + middle + 4, names[place]))
        labels.append(_column_label(names[place], layout.left + middle, layout.top))
    return labels


def _column_label(name: str, x: float, top: int) -> Markup:
    """The name of a column, turned by 90 degrees if the names are long."""
    if top <= 60:
        opening = f'<text class="middle" x="{x:.1f}" y="{top - 6}">'
    else:
        turned = f'transform="rotate(-90 {x + 4:.1f} {top - 6})"'
        opening = f'<text x="{x + 4:.1f}" y="{top - 6}" {turned}>'
    return joined(opening) + escape(name) + Markup("</text>")


def _axes(layout: _Layout) -> str:
    """What rows and columns are."""
    middle_x, middle_y = layout.left + layout.side / 2, layout.top + layout.side / 2
    turned = f'transform="rotate(-90 13 {middle_y})"'
    return (
        f'<text class="axis middle" x="{middle_x}" y="12">taken for</text>'
        f'<text class="axis middle" x="13" y="{middle_y}" {turned}>class</text>'
    )


def _short(count: int) -> str:
    return str(count) if count < 10000 else f"{count / 1000:.0f}k"
