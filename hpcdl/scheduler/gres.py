"""Reads SLURM's texts of generic resources (GRES): which GPUs a node has, or a job got."""

from __future__ import annotations

import re

_COUNT = re.compile(r"(\d+)([KMGTP]?)", re.IGNORECASE)
_FACTORS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
_NO_WORDS = frozenset(["", "(null)", "no_consume"])


def gpus_of(gres: str) -> dict[str, int]:
    """Count the GPUs by type in a Gres text; the type is "" if SLURM names none.

    An entry is ``gpu[:TYPE][:no_consume][:COUNT]``, and SLURM may add sockets or indices in
    parentheses: ``gpu:4``, ``gpu:2080ti:8(S:0-1)``, ``gpu:(null):2(IDX:0,3)``. A type may begin
    with a digit. A last part of digits alone is a count, as for SLURM: ``gpu:3090`` is 3090 GPUs.

    Source: https://slurm.schedmd.com/slurm.conf.html, Gres.
    """
    gpus: dict[str, int] = {}
    untyped = gres.replace(":(null)", ":")
    for entry in re.sub(r"\([^)]*\)", "", untyped).split(","):
        name, *words = [word.strip() for word in re.sub(r"^gres[/:]", "", entry.strip()).split(":")]
        if name.lower() != "gpu":
            continue
        kind, count = _kind_and_count([word for word in words if word not in _NO_WORDS])
        if count:
            gpus[kind] = gpus.get(kind, 0) + count
    return gpus


def _kind_and_count(words: list[str]) -> tuple[str, int]:
    """The type and the count of an entry, from what stands behind ``gpu:``."""
    count = _COUNT.fullmatch(words[-1]) if words else None
    if count is None:
        return ":".join(words), 1
    return ":".join(words[:-1]), int(count[1]) * _FACTORS[count[2].upper()]
