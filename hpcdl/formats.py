"""How numbers, times, sizes and lists of names read, on pages and in a terminal.

Pages keep a number and its unit on one line: a no-break space stands between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

MISSING = "–"
_MOST_DIGITS = 4  # after the point of a share that is nearly, but not quite, 100 %


def duration(seconds: float) -> str:
    """Seconds as 0:31, 12:05 or 1:02:13, for a table in a terminal."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def seconds(value: float | None) -> str:
    """Seconds as 0.28 s, 14.2 s, 2 min 05 s or 1 h 02 min, for a page."""
    if value is None:
        return MISSING
    if value < 1:
        return f"{value:.2f}\u00a0s"
    if round(value, 1) < 60:
        return f"{value:.1f}\u00a0s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}\u00a0h\u00a0{minutes:02}\u00a0min"
    return f"{minutes}\u00a0min\u00a0{rest:02}\u00a0s"


def waiting_time(minutes: int) -> str:
    """Minutes as 12 min, 2 h 5 min or 1 d 3 h: an estimate, without false precision."""
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min"


def moment(timestamp: float | None) -> str:
    """Seconds since 1970 as 2026-11-28 04:14:05 UTC+01:00, in this machine's time zone."""
    if timestamp is None:
        return MISSING
    local = datetime.fromtimestamp(timestamp).astimezone()
    offset = local.strftime("%z")
    zone = "UTC"
    if offset != "+0000":
        zone = f"UTC{offset[:3]}:{offset[3:]}"
    return f"{local:%Y-%m-%d %H:%M:%S} {zone}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share as 98.89 %. It reads 100 % only if it is exactly 1, and 0 % only if it is exactly 0.

    A share that would round to 100 % gets more digits: 99.998 %. One that would round to 0 % reads
    < 0.01 %.

    Args:
        share: 1 is 100 %.
        digits: after the point.
    """
    if share is None:
        return MISSING
    text = f"{100 * share:.{digits}f}"
    if share < 1 and float(text) >= 100:
        text = _below_hundred(share, digits + 1)
    elif 0 < share < 1 and float(text) == 0:
        text = f"< {10**-digits:.{digits}f}"
    return f"{text}\u00a0%"


def _below_hundred(share: float, first_digits: int) -> str:
    """A share near 1 with the digits that it takes to read less than 100."""
    for digits in range(first_digits, _MOST_DIGITS + 1):
        text = f"{100 * share:.{digits}f}"
        if float(text) < 100:
            return text
    return f"> 99.{'9' * _MOST_DIGITS}"


def points(share: float, digits: int = 1) -> str:
    """The difference of two shares as 1.0 percentage point, 2.5 percentage points."""
    text = f"{100 * share:.{digits}f}"
    unit = "percentage points"
    if float(text) == 1:
        unit = "percentage point"
    return f"{text}\u00a0{unit}"


def number(value: float | None, digits: int = 4) -> str:
    """A number with that many digits after the point."""
    if value is None:
        return MISSING
    return f"{value:.{digits}f}"


def figure(value: float) -> str:
    """A loss or another figure of any scale, with as many digits as a person compares."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return "0"
    if isinstance(value, int) and abs(value) < 1e9:
        return f"{value:,}"
    if 0.01 <= abs(value) < 10:
        return f"{value:.4f}"
    if 10 <= abs(value) < 1000:
        return f"{value:.2f}"
    return f"{value:.3g}"


def metric(value: float | None) -> str:
    """A script's metric in a terminal: 0.1234, 12, 1.5e-05; nan for None."""
    if value is None:
        return "nan"
    if isinstance(value, int):
        return str(value)
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:.4f}"
    return f"{value:.4g}"


def count(value: int | None) -> str:
    """A whole number as 225,034."""
    if value is None:
        return MISSING
    return f"{value:,}"


def several(value: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 1 epoch, 25 epochs.

    Args:
        value: how many.
        noun: of one.
        plural: of several, if it is not the noun with an s.
    """
    if value != 1:
        noun = plural or f"{noun}s"
    return f"{value:,} {noun}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence: 3, 5 and 8. Of many, the first ones: 0, 1, 2 and 7 more."""
    if len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} more"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def size(size_bytes: float | None) -> str:
    """Bytes as 0.8 MB or 3.4 GB, for a page."""
    if size_bytes is None:
        return MISSING
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f}\u00a0GB"
    return f"{size_bytes / 1e6:.1f}\u00a0MB"


def disk_use(size_bytes: float) -> str:
    """Bytes as 340 kB, 12 MB or 3.4 GB, for a table in a terminal."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    if size_bytes >= 1e6:
        return f"{size_bytes / 1e6:.0f} MB"
    return f"{size_bytes / 1e3:.0f} kB"


def cut(text: str, most: int) -> str:
    """A text of at most that many characters; a longer one ends with ``…``."""
    if len(text) <= most:
        return text
    return f"{text[: most - 1]}…"


def with_deviation(
    show: Callable[[float], str],
    value: float,
    result: dict[str, Any],
    part: str,
    name: str = "accuracy",
) -> str:
    """A metric of result.json as 98.89 %, of a cross-validation as 98.89 % ± 0.21 %.

    Args:
        show: how a value of the metric reads.
        value: the metric's value.
        result: the content of result.json.
        part: ``test`` or ``validation``.
        name: the metric's name in result.json.
    """
    text = show(value)
    if "cross_validation" not in result:
        return text
    deviation = result["cross_validation"]["deviation"][part].get(name)
    if deviation is None:
        return text
    return f"{text} ± {show(deviation)}"
