"""What the benchmarks share: two things measured in turn, and a line that shows their ratio beside its goal."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence


def in_turn(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> tuple[list[float], list[float]]:
    """Measure first and second in turn, A B A B, so that whatever else the machine does falls on both."""
    figures = [(first(), second()) for _ in range(pairs)]
    return [a for a, _ in figures], [b for _, b in figures]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios pair by pair."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def show(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    goal: float | None = None,
    unit: str = "s",
) -> None:
    """Print the medians, the ratio, its spread over the pairs, and the goal where there is one."""
    each = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    medians = f"{statistics.median(ours):8.3f} / {statistics.median(theirs):8.3f} {unit}"
    spread = f"[{each[0]:.2f} .. {each[-1]:.2f}]"
    aim = "" if goal is None else f"goal <= {goal:g}x"
    print(
        f"{what:<44} {medians:<24} = {ratio(ours, theirs):5.2f}x {spread:<16} {aim}".rstrip(),
        flush=True,
    )


def show_machine() -> None:
    """Print what else this machine was doing: figures of a busy one are worth less."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{len(os.sched_getaffinity(0))} CPUs, load average {load}", flush=True)
