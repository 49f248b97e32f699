"""How many nodes a job asks for: a number, or a range such as 2-4."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", re.ASCII)


class NodeCount(NamedTuple):
    """At least and at most that many nodes; the same number twice if it is not a range."""

    least: int
    most: int

    @property
    def is_range(self) -> bool:
        """Whether SLURM chooses the number."""
        return self.least < self.most


def parse_nodes(value: object) -> NodeCount:
    """The nodes that a job file asks for.

    Args:
        value: of ``resources.nodes``: a whole number, or a text.

    Raises:
        ValueError: it is neither a number nor a range; what was expected.
    """
    match = _FORM.fullmatch(str(value).strip())
    if match is not None:
        least = int(match[1])
        most = int(match[2] or least)
        if 1 <= least <= most:
            return NodeCount(least, most)
    raise ValueError(f"expected a whole number >= 1, or a range such as 2-4; got {value!r}")
