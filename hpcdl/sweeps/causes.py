"""Why a sweep's trials failed: groups of trials with the same state and cause."""

from __future__ import annotations

from dataclasses import dataclass

from hpcdl.files import read_json
from hpcdl.run import states
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.overview import COUNTED, SweepOverview


@dataclass(frozen=True)
class Group:
    """Trials with the same state and cause.

    Args:
        state: one of the words of `states`.
        cause: of a failure, else empty.
        numbers: the trials', sorted.
        message: of the first failure, in a sentence.
    """

    state: str
    cause: str
    numbers: list[int]
    message: str = ""


def groups(paths: SweepPaths, overview: SweepOverview) -> list[Group]:
    """The trials that were begun, by state and cause; of those that failed, result.json is read.

    Args:
        paths: the sweep's.
        overview: of the sweep.
    """
    by_key: dict[tuple[str, str], Group] = {}
    for number, state in sorted(overview.trials.items()):
        cause = message = ""
        if state == states.FAILED:
            result = read_json(paths.result(number)) or {}
            cause = _text(result.get("cause")) or "unknown"
            message = _text(result.get("message"))
        group = by_key.setdefault((state, cause), Group(state, cause, [], message))
        group.numbers.append(number)
    return sorted(by_key.values(), key=_order)


def _order(group: Group) -> tuple[int, int]:
    """By state, and the largest group first."""
    return COUNTED.index(group.state), -len(group.numbers)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
