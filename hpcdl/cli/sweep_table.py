"""How a sweep reads in a terminal: in one line, its trials in groups, and its best trials."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hpcdl.contract.tables import aligned
from hpcdl.formats import cut, metric

if TYPE_CHECKING:
    from hpcdl.sweeps.causes import Group
    from hpcdl.sweeps.overview import SweepOverview

_LONGEST_NUMBERS = 50  # characters
_LONGEST_MESSAGE = 80
_BEST = 5  # trials


def sweep_note(overview: SweepOverview) -> str:
    """Its trials by state, the best value, the GPU-hours, and about until when."""
    counts = []
    for state, count in overview.counts.items():
        if count:
            counts.append(f"{count:,} {state}")
    parts = [f"{overview.budget:,} trials: {', '.join(counts) or 'none yet'}"]
    for trial in overview.best(1):
        parts.append(
            f"best {overview.settings.metric} {metric(trial.value)} (trial {trial.number})"
        )
    if overview.settings.gpu_hours is not None:
        parts.append(f"{overview.gpu_hours:.1f} of {overview.settings.gpu_hours:g} GPU-hours")
    elif overview.gpu_hours >= 0.05:
        parts.append(f"{overview.gpu_hours:.1f} GPU-hours")
    if overview.until is not None:
        parts.append(f"until about {_clock(overview.until)}")
    if overview.note:
        parts.append(overview.note)
    return "; ".join(parts)


def _clock(moment: float) -> str:
    """A time of today as 14:05, of another day with its date."""
    local = time.localtime(moment)
    if local[:3] == time.localtime()[:3]:
        return time.strftime("%H:%M", local)
    return time.strftime("%Y-%m-%d %H:%M", local)


def detail_lines(overview: SweepOverview, groups: list[Group]) -> list[str]:
    """A sweep's trials by state and cause, and the best ones with their parameters."""
    lines = _group_lines(groups)
    best = _best_lines(overview)
    if best:
        lines += ["", *best]
    return lines


def _group_lines(groups: list[Group]) -> list[str]:
    from hpcdl.scheduler.arrays import expression_of

    cells = [["STATE", "CAUSE", "TRIALS", "NUMBERS", "WHY"]]
    for group in groups:
        numbers = cut(expression_of(group.numbers), _LONGEST_NUMBERS)
        why = cut(group.message.partition("\n")[0], _LONGEST_MESSAGE)
        count = f"{len(group.numbers):,}"
        cells.append([group.state, group.cause.replace("_", " "), count, numbers, why])
    return aligned(cells) if groups else []


def _best_lines(overview: SweepOverview) -> list[str]:
    cells = [["BEST TRIAL", overview.settings.metric, "EPOCH", "PARAMETERS"]]
    for trial in overview.best(_BEST):
        epoch = "-" if trial.epoch is None else str(trial.epoch)
        cells.append([str(trial.number), metric(trial.value), epoch, _parameters(trial.params)])
    return aligned(cells) if len(cells) > 1 else []


def _parameters(params: dict[str, Any]) -> str:
    texts = []
    for key, value in params.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        texts.append(f"{key}={text}")
    return " ".join(texts)
