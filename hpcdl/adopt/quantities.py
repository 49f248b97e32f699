"""Amounts as sbatch writes them: nodes, and the indices of an array."""

from __future__ import annotations

import re

_NODES = re.compile(r"(\d+)(?:-(\d+))?")
_FIRST_INDEX = re.compile(r"(\d+)(?:[-,:%].*)?")


def nodes_of(text: str) -> int | str | None:
    """A number of nodes, or a range as ``2-4``; None for anything else."""
    match = _NODES.fullmatch(text.strip())
    if match is None or int(match[1]) < 1:
        return None
    if match[2] is None or match[1] == match[2]:
        return int(match[1])
    return f"{match[1]}-{match[2]}"


def first_index(text: str) -> str | None:
    """The first index of ``--array``; None where it has none."""
    match = _FIRST_INDEX.fullmatch(text.strip())
    return str(int(match[1])) if match else None


def indices(text: str) -> str:
    """The indices of ``--array=1-9:2,20%4`` as words of a shell's loop."""
    words = []
    for part in text.partition("%")[0].split(","):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        numbers = filter(None, (first, step, last))
        words.append(f"$(seq {' '.join(numbers)})" if last else first)
    return " ".join(words)


def as_number(value: float) -> int | float:
    """A whole number as such; others as they are, so that SLURM gets the same megabytes."""
    return int(value) if value == int(value) else value
