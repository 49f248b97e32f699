"""Lays out a table as text, for a terminal and for a log: one function for all tables."""

from __future__ import annotations

from typing import List, Sequence

_GAP = "  "  # between two columns


def aligned(rows: Sequence[Sequence[str]]) -> List[str]:
    """Rows of cells as lines, each column as wide as its widest cell.

    Args:
        rows: the cells of each row; a row may have fewer cells than others.
    """
    widths: List[int] = []
    for row in rows:
        for column, cell in enumerate(row):
            if column == len(widths):
                widths.append(0)
            widths[column] = max(widths[column], len(cell))
    lines = []
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append(_GAP.join(padded).rstrip())
    return lines
