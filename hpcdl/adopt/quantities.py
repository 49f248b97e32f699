"""Amounts as sbatch writes them: GPUs, memory, nodes, and the indices of an array."""

from __future__ import annotations

import re
from dataclasses import dataclass

_GPUS = re.compile(r"(?:(?P<type>[A-Za-z][\w.-]*?):)?(?P<count>\d+)(?:\(S:[\d,-]+\))?")
_MEMORY = re.compile(r"(\d+)([KMGTkmgt]?)[Bb]?")
_NODES = re.compile(r"(\d+)(?:-(\d+))?")
_PER_GIB = {"K": 1024**2, "M": 1024, "G": 1, "T": 1 / 1024}
_FIRST_INDEX = re.compile(r"(\d+)(?:[-,:%].*)?")


@dataclass(frozen=True)
class Gpus:
    """So many GPUs of a type."""

    count: int
    type: str | None


@dataclass(frozen=True)
class Gres:
    """What ``--gres`` asks for: GPUs, and other resources."""

    gpus: Gpus | None
    others: list[str]


def gpus_of(text: str) -> Gpus | None:
    """``4`` or ``a100:4``; None for anything else."""
    match = _GPUS.fullmatch(text.strip())
    return Gpus(int(match["count"]), match["type"]) if match else None


def gres_of(text: str) -> Gres | None:
    """The parts of a ``--gres``; None where GPUs of several types are asked for."""
    gpus: Gpus | None = None
    others = []
    for part in filter(None, text.split(",")):
        name, _, rest = part.strip().removeprefix("gres:").partition(":")
        if name != "gpu":
            others.append(part.strip().removeprefix("gres:"))
            continue
        if gpus is not None:
            return None
        if not rest:
            gpus = Gpus(1, None)
        elif re.fullmatch(r"[A-Za-z][\w.-]*", rest):
            gpus = Gpus(1, rest)
        else:
            gpus = gpus_of(rest)
        if gpus is None:
            return None
    return Gres(gpus, others)


def memory_gib(text: str) -> float | None:
    """GiB of ``64G``, or ``4000`` in MiB; None for anything else."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        return None
    return int(match[1]) / _PER_GIB[match[2].upper() or "M"]


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
