"""How numbers read on a page and in a table of runs; no line breaks between one and its unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
    """A share as 98.89 %."""
    return "–" if share is None else f"{100 * share:.{digits}f}\u00a0%"


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many decimals."""
    return "–" if value is None else f"{value:.{digits}f}"


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


def with_deviation(show: Callable[[float], str], result: dict[str, Any], part: str, metric: str = "accuracy") -> str:
    """A metric of result.json as 98.89 %, of a cross-validation as 98.89 % ± 0.21 %."""
    text = show(result[part][metric])
    deviation = result["cross_validation"]["deviation"][part].get(metric) if "cross_validation" in result else None
    return text if deviation is None else f"{text} ± {show(deviation)}"
