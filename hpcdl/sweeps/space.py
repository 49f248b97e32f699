"""The space that a sweep searches: its notation, read into typed dimensions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hpcdl.errors import Problem, ProblemsError
from hpcdl.sweeps.arguments import ARGUMENT
from hpcdl.sweeps.listed_values import alternatives, split, yaml_value
from hpcdl.text import show

EXAMPLES = "0.001..0.1, log:1e-4..1e-1, int:1..8, int:log:16..512, a|b|c, or a YAML list"
LARGEST = 2**53  # up to here a float holds every whole number
MAX_LISTED = 10_000
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"((?:[a-z]+:)*)\s*({_NUMBER})\s*\.\.\s*({_NUMBER})")
_WHOLE = re.compile(r"[-+]?[0-9]{1,17}")
_KINDS = {
    "": (False, False),
    "log:": (False, True),
    "int:": (True, False),
    "int:log:": (True, True),
}
_KEY = re.compile(r"(?:data|model|train)(?:\.[A-Za-z_][A-Za-z0-9_]*)+|args\.[^\s.=-][^\s.=]*")


@dataclass(frozen=True)
class FloatRange:
    """All numbers from `low` to `high`; `log`: each power of ten gets an equal share."""

    low: float
    high: float
    log: bool = False

    @property
    def size(self) -> int | None:
        """The number of its values; None, as it cannot be counted."""
        return None

    def tried_values(self) -> list[Any]:
        """The values that the job's checks must accept: both ends."""
        return [self.low, self.high]

    def contains(self, value: Any) -> bool:
        """Whether a value belongs to this dimension."""
        return type(value) is float and self.low <= value <= self.high

    def notation(self) -> str | list[Any]:
        """This dimension as a user writes it."""
        return f"{'log:' if self.log else ''}{self.low!r}..{self.high!r}"


@dataclass(frozen=True)
class IntRange:
    """The whole numbers from `low` to `high`; `log`: each doubling gets an equal share."""

    low: int
    high: int
    log: bool = False

    @property
    def size(self) -> int | None:
        """The number of its values."""
        return self.high - self.low + 1

    def tried_values(self) -> list[Any]:
        """The values that the job's checks must accept: both ends."""
        return [self.low, self.high]

    def contains(self, value: Any) -> bool:
        """Whether a value belongs to this dimension."""
        return type(value) is int and self.low <= value <= self.high

    def notation(self) -> str | list[Any]:
        """This dimension as a user writes it."""
        return f"int:{'log:' if self.log else ''}{self.low}..{self.high}"


@dataclass(frozen=True)
class Listed:
    """A few values of any kind, in the user's order."""

    values: tuple[Any, ...]

    @property
    def size(self) -> int | None:
        """The number of its values."""
        return len(self.values)

    def tried_values(self) -> list[Any]:
        """The values that the job's checks must accept: all of them."""
        return list(self.values)

    def contains(self, value: Any) -> bool:
        """Whether a value belongs to this dimension; 1, 1.0 and true are three values."""
        return self.index(value) is not None

    def index(self, value: Any) -> int | None:
        """The place of a value in the list; None if it is not listed."""
        text = _json_text(value)
        for place, listed in enumerate(self.values):
            if _json_text(listed) == text:
                return place
        return None

    def notation(self) -> str | list[Any]:
        """This dimension as a user writes it."""
        return list(self.values)


Dimension: TypeAlias = FloatRange | IntRange | Listed


@dataclass(frozen=True)
class Space:
    """What a sweep searches: a dimension for each key of the job."""

    dimensions: Mapping[str, Dimension]

    @property
    def names(self) -> list[str]:
        """The keys in a fixed order, so that a file on disk may sort them."""
        return sorted(self.dimensions)

    @property
    def size(self) -> int | None:
        """The number of all combinations; None if a dimension cannot be counted."""
        product = 1
        for dimension in self.dimensions.values():
            if dimension.size is None:
                return None
            product *= dimension.size
        return product

    def contains(self, parameters: Mapping[str, Any]) -> bool:
        """Whether parameters have exactly these keys, and values that belong to them."""
        if set(parameters) != set(self.dimensions):
            return False
        return all(self.dimensions[name].contains(value) for name, value in parameters.items())

    def notation(self) -> dict[str, str | list[Any]]:
        """The space as a user writes it; `parse_space` reads it again."""
        return {name: self.dimensions[name].notation() for name in self.names}


def parse_space(over: Mapping[Any, Any], where: str = "") -> Space:
    """Read the ``over:`` section.

    Args:
        over: the notation of each key's dimension: a text or a list.
        where: the file and line for messages.

    Raises:
        ProblemsError: all problems at once.
    """
    problems: list[Problem] = []
    dimensions: dict[str, Dimension] = {}
    if not over:
        message = f"the space is empty; name at least one key with its values: {EXAMPLES}"
        problems.append(Problem(where, "over", message))
    for key, notation in over.items():
        shown_key = f"over.{key}"
        try:
            _check_key(key)
            dimensions[key] = parse_dimension(notation, key.startswith(ARGUMENT))
        except ValueError as error:
            problems.append(Problem(where, shown_key, str(error)))
    for outer, inner in _nested_keys(list(dimensions)):
        message = f"{outer} is searched, too, and would replace it; remove one of the two"
        problems.append(Problem(where, f"over.{inner}", message))
    if problems:
        raise ProblemsError("sweep", problems)
    return Space(dimensions)


def parse_dimension(notation: Any, is_argument: bool = False) -> Dimension:
    """Read the notation of one dimension.

    Args:
        notation: a text such as ``log:1e-4..1e-1`` or ``16|32``, or a list of values.
        is_argument: whether it is of a script's argument: ``True|False`` are texts then, as the
            script is to get what was written.

    Raises:
        ValueError: what is wrong with it, and what to write instead.
    """
    if isinstance(notation, list):
        return _listed(notation)
    if not isinstance(notation, str):
        raise ValueError(f"{show(notation)} is not a range or a list; write {EXAMPLES}")
    text = notation.strip()
    parts = split(text)
    if len(parts) > 1:
        return _listed(alternatives(text, parts, is_argument))
    if text.startswith("["):
        return _listed(yaml_value(text))
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{show(notation)} is not a range or a list; write {EXAMPLES}")
    prefix, low, high = match.groups()
    if prefix not in _KINDS:
        raise ValueError(f"{show(prefix)} is not a kind of range; known are log:, int:, int:log:")
    whole, log = _KINDS[prefix]
    if whole:
        return _int_range(low, high, log)
    return _float_range(low, high, log)


def _check_key(key: Any) -> None:
    """Refuse a key that a sweep cannot search.

    Raises:
        ValueError: what is wrong with it.
    """
    if isinstance(key, str) and (key == "resources" or key.startswith("resources.")):
        raise ValueError(
            "all trials of a sweep have the same resources, as they share one job array;"
            " submit a sweep for each size"
        )
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(
            f"{show(key)} cannot be searched; name a key below data, model or train, such as"
            " train.optimizer.learning_rate, or args.NAME of a script"
        )


def _nested_keys(keys: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of keys of which the first holds the second: ``model``, ``model.dropout``."""
    pairs = []
    for outer in keys:
        for inner in keys:
            if inner.startswith(f"{outer}."):
                pairs.append((outer, inner))
    return pairs


def _float_range(low_text: str, high_text: str, log: bool) -> FloatRange:
    low, high = float(low_text), float(high_text)
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        text = show(f"{low_text}..{high_text}")
        raise ValueError(f"{text} is too large for a number; take closer ends")
    _check_ends(low, high, log)
    return FloatRange(low, high, log)


def _int_range(low_text: str, high_text: str, log: bool) -> IntRange:
    for text in (low_text, high_text):
        if not _WHOLE.fullmatch(text) or abs(int(text)) > LARGEST:
            raise ValueError(
                f"int: takes whole numbers up to {LARGEST}, not {show(text)}; write int:1..8,"
                " or leave out int:"
            )
    low, high = int(low_text), int(high_text)
    _check_ends(low, high, log)
    return IntRange(low, high, log)


def _check_ends(low: float, high: float, log: bool) -> None:
    if low == high:
        raise ValueError(
            f"{low}..{high} is a single value; write it into the job file, or give two ends"
        )
    if low > high:
        raise ValueError(f"{low}..{high} begins above its end; write {high}..{low}")
    if log and low <= 0:
        raise ValueError(f"log: needs ends above 0, not {low}; take a small number such as 1e-6")


def _listed(values: Any) -> Listed:
    if not isinstance(values, list) or not values:
        raise ValueError("the list is empty; give at least one value")
    if len(values) > MAX_LISTED:
        raise ValueError(
            f"{len(values)} values are listed, at most {MAX_LISTED} are possible; write a range"
        )
    texts: set[str] = set()
    for value in values:
        try:
            text = _json_text(value)
        except (TypeError, ValueError, RecursionError):
            raise ValueError(
                f"{show(value)} cannot be a value; list numbers, texts, true, false, null,"
                " or lists of them"
            ) from None
        if text in texts:
            raise ValueError(f"{show(value)} is listed twice; remove one")
        texts.add(text)
    return Listed(tuple(values))


def _json_text(value: Any) -> str:
    """A value as text that tells 1, 1.0 and true apart.

    Raises:
        TypeError: JSON has no such value.
        ValueError: it is not finite.
    """
    return json.dumps(value, sort_keys=True, allow_nan=False)
