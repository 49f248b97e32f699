"""How numbers read on a page and in a table of runs; no line breaks between one and its unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

_MOST_DIGITS = 4  # after the point of a share that is nearly, but not quite, 100 %


def seconds(value: float | None) -> str:
    """Seconds as 0.28 s, 14.2 s, 2 min 05 s or 1 h 02 min."""
    if value is None:
        return "–"
    if round(value, 1) < 60:
        return f"{value:.2f}\u00a0s" if value < 1 else f"{value:.1f}\u00a0s"
    minutes, rest = divmod(round(value), 60)
    if minutes >= 60:
        return f"{minutes // 60}\u00a0h\u00a0{minutes % 60:02}\u00a0min"
    return f"{minutes}\u00a0min\u00a0{rest:02}\u00a0s"


def percent(share: float | None, digits: int = 2) -> str:
    """A share as 98.89 %; 100 % only where it is all, 0 % only where it is nothing.

    A share that would round to 100 % gets more digits: 99.998 %. One that would round to 0 % reads
    < 0.01 %.
    """
    if share is None:
        return "–"
    if share < 1:
        for more in range(digits, _MOST_DIGITS + 1):
            text = f"{100 * share:.{more}f}"
            if float(text) < 100:
                break
        else:
            return f"> 99.{'9' * _MOST_DIGITS}\u00a0%"
        if share > 0 and float(text) == 0:
            return f"< {10**-digits:.{digits}f}\u00a0%"
        return f"{text}\u00a0%"
    return f"{100 * share:.{digits}f}\u00a0%"


def points(share: float, digits: int = 1) -> str:
    """The difference of two shares as 1.0 percentage points."""
    text = f"{100 * share:.{digits}f}"
    return f"{text}\u00a0percentage point{'' if float(text) == 1 else 's'}"


def moment(timestamp: float | None) -> str:
    """A moment as 2026-11-28 04:14:05 UTC+01:00, in this machine's time zone."""
    if timestamp is None:
        return "–"
    local = datetime.fromtimestamp(timestamp).astimezone()
    offset = local.strftime("%z")
    zone = "UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}"
    return f"{local:%Y-%m-%d %H:%M:%S} {zone}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence: 3, 5 and 8; of many the first ones and how many more there are."""
    if len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} more"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many decimals."""
    return "–" if value is None else f"{value:.{digits}f}"


def figure(value: float) -> str:
    """A loss or another figure of any scale, with as many digits as a person compares."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return "0"
    if isinstance(value, int) and abs(value) < 1e9:
        return f"{value:,}"
    if 0.01 <= abs(value) < 1000:
        return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
    return f"{value:.3g}"


def count(value: int | None) -> str:
    """A whole number as 225,034."""
    return "–" if value is None else f"{value:,}"


def several(value: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 1 epoch, 25 epochs."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def size(value: float | None) -> str:
    """Bytes as 0.8 MB."""
    if value is None:
        return "–"
    return f"{value / 1e9:.1f}\u00a0GB" if value >= 1e9 else f"{value / 1e6:.1f}\u00a0MB"


def with_deviation(
    show: Callable[[float], str],
    value: float,
    result: dict[str, Any],
    part: str,
    metric: str = "accuracy",
) -> str:
    """A metric of result.json as 98.89 %, of a cross-validation as 98.89 % ± 0.21 %."""
    text = show(value)
    if "cross_validation" not in result:
        return text
    deviation = result["cross_validation"]["deviation"][part].get(metric)
    return text if deviation is None else f"{text} ± {show(deviation)}"
