"""The nodes that a job keeps away from: those that failed, and those that its user excludes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcdl.errors import SchedulerError


def with_own_excluded(plan: Mapping[str, Any], nodes: Sequence[str]) -> str:
    """The nodes to keep away from, with those of the user's own ``slurm: {exclude: ...}``.

    An option on sbatch's command line replaces the script's, so one option must name all nodes.

    Args:
        plan: plan.json.
        nodes: names of nodes.

    Raises:
        SchedulerError: the user's own list is a file that cannot be read.
    """
    own_nodes = dict(plan.get("directives", ())).get("exclude", "")
    if "/" in own_nodes:  # sbatch takes a file of names, too
        try:
            text = Path(own_nodes).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = f"slurm.exclude names the file {own_nodes}, which cannot be read: {error}"
            raise SchedulerError(message) from error
        own_nodes = ",".join(text.replace(",", " ").split())
    return ",".join(dict.fromkeys([*filter(None, [own_nodes]), *nodes]))
