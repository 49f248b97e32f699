"""The parameters of the next trial, as a pure function: the same question has the same answer."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl.contract.version import __version__
from hpcdl.errors import UserError
from hpcdl.job.sweep_section import METHODS
from hpcdl.sweeps.space import Dimension, FloatRange, IntRange, Listed, Space

STARTUP = 10  # trials with a score before bayes models them


@dataclass(frozen=True)
class KnownTrial:
    """What a suggestion knows of another trial.

    Args:
        number: the trial's.
        parameters: it runs with.
        score: higher is better; None while it runs.
    """

    number: int
    parameters: dict[str, Any]
    score: float | None = None


def suggest(
    space: Space, method: str, seed: int, number: int, known: Sequence[KnownTrial] = ()
) -> dict[str, Any]:
    """The parameters of a trial.

    Args:
        space: what is searched.
        method: one of `METHODS`.
        seed: the sweep's.
        number: the trial's, from 0.
        known: of other trials, in any order; `bayes` alone looks at them.

    Raises:
        UserError: the grid cannot be counted; there is no such method; Optuna is missing.
        IndexError: the grid has fewer points than that.
    """
    if method not in METHODS:
        raise UserError(f"method {method!r} is not known; choose one of {', '.join(METHODS)}")
    if method == "grid":
        return grid_point(space, number)
    scored = sum(_has_score(trial) for trial in known)
    if method != "bayes" or scored < STARTUP:
        return random_point(space, seed, number)
    from hpcdl.sweeps.bayes import bayes_point  # only who models pays for it

    usable = [trial for trial in known if trial.score is None or _has_score(trial)]
    usable.sort(key=lambda trial: trial.number)  # another order would be another suggestion
    return bayes_point(space, seed_of(seed, number), usable)


def sampler_of(method: str) -> str:
    """What makes a method's suggestions, with its version, for trial.json."""
    if method != "bayes":
        return f"hpcdl {__version__}"
    from hpcdl.sweeps.bayes import load_optuna

    return f"optuna {load_optuna().__version__}"


def score_of(value: float | None, direction: str) -> float | None:
    """A metric's value as a score, of which the higher one is better.

    Args:
        value: the metric's; None if there is none.
        direction: ``maximize`` or ``minimize``.
    """
    if value is None or direction == "maximize":
        return value
    return -value


def grid_size(space: Space) -> int:
    """The number of points of a grid.

    Raises:
        UserError: a dimension is a range that cannot be counted.
    """
    for name in space.names:
        dimension = space.dimensions[name]
        if isinstance(dimension, FloatRange) or (isinstance(dimension, IntRange) and dimension.log):
            raise UserError(
                f"over.{name}: {dimension.notation()} is a range, and a grid takes listed values;"
                " list them, such as 0.001|0.01|0.1, or choose --method random"
            )
    return space.size or 0


def grid_point(space: Space, number: int) -> dict[str, Any]:
    """The point of a grid by its number; the last key in sorted order changes first.

    Raises:
        UserError: a dimension is a range that cannot be counted.
        IndexError: the grid has fewer points than that.
    """
    size = grid_size(space)
    if not 0 <= number < size:
        raise IndexError(f"point {number} of a grid of {size}")
    point = {}
    for name in reversed(space.names):
        values = _countable(space.dimensions[name])
        number, place = divmod(number, len(values))
        point[name] = values[place]
    return dict(sorted(point.items()))


def random_point(space: Space, seed: int, number: int) -> dict[str, Any]:
    """A point at random that depends on the seed and the trial's number alone."""
    point = {}
    for name in space.names:
        # One generator a key: another key in the space leaves this one's values as they are
        generator = random.Random(seed_of(seed, number, name))  # noqa: S311 - not for secrets
        point[name] = _draw(space.dimensions[name], generator.random())
    return point


def seed_of(*parts: int | str) -> int:
    """A seed below 2^31 out of numbers and names; the same ones everywhere, in every version."""
    text = json.dumps(parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def _has_score(trial: KnownTrial) -> bool:
    return trial.score is not None and math.isfinite(trial.score)


def _countable(dimension: Dimension) -> Sequence[Any]:
    if isinstance(dimension, Listed):
        return dimension.values
    assert isinstance(dimension, IntRange)  # noqa: S101 - grid_size refuses other ranges
    return range(dimension.low, dimension.high + 1)


def _draw(dimension: Dimension, share: float) -> Any:
    """The value that lies at a share (0 <= share < 1) of a dimension."""
    if isinstance(dimension, Listed):
        return dimension.values[int(share * len(dimension.values))]
    if isinstance(dimension, FloatRange):
        value = _between(dimension.low, dimension.high, dimension.log, share)
        return min(max(value, dimension.low), dimension.high)
    if not dimension.log:
        return dimension.low + int(share * (dimension.high - dimension.low + 1))
    # Half a number further on both sides: the ends are as likely as their neighbours
    value = _between(dimension.low - 0.5, dimension.high + 0.5, True, share)
    return min(max(round(value), dimension.low), dimension.high)


def _between(low: float, high: float, log: bool, share: float) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), False, share))
    return low + share * (high - low)
