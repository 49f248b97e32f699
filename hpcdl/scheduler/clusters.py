"""Which of a site's SLURM clusters the commands are for, if one login node serves several.

Source: https://slurm.schedmd.com/multi_cluster.html.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_CLUSTER: ContextVar[str] = ContextVar("slurm_cluster", default="")  # "": this machine's own
_TAKE_CLUSTER = frozenset(["sbatch", "squeue", "sacct", "scancel", "scontrol"])


@contextmanager
def on_cluster(name: str | None) -> Iterator[None]:
    """Let all of SLURM's commands in this block be for one cluster (``-M NAME``).

    A job of that cluster asks it without: -M needs SLURM's database, which nodes may not reach.

    Args:
        name: the cluster, or None for this machine's own.
    """
    own = os.environ.get("SLURM_CLUSTER_NAME")
    token = _CLUSTER.set("" if name is None or name == own else name)
    try:
        yield
    finally:
        _CLUSTER.reset(token)


def asked() -> str:
    """The cluster that commands are for now; "" for this machine's own."""
    return _CLUSTER.get()


def cluster_of(plan: Mapping[str, Any]) -> str | None:
    """The cluster that a run was sent to, by its plan.json; None for the default one."""
    for option, value in plan.get("directives", ()):
        if option == "clusters":
            return str(value)
    return None


def with_cluster(argv: Sequence[str]) -> list[str]:
    """A command with ``-M NAME``, if it takes that and a cluster is named."""
    if asked() and argv[0] in _TAKE_CLUSTER:
        return [argv[0], "-M", asked(), *argv[1:]]
    return list(argv)


def without_headings(text: str) -> str:
    """What a command prints, without the ``CLUSTER: NAME`` and empty lines that -M adds."""
    if not asked():
        return text
    lines = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("CLUSTER: "):
            lines.append(f"{line}\n")
    return "".join(lines)
