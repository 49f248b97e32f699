"""The members of a run on several nodes meet in the run folder, before TensorFlow starts."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcdl.errors import RunError
from hpcdl.files import read_json, write_json
from hpcdl.text import one_line

WAIT_S = 60.0  # for the last of the members; HPCDL_MEETING_S takes its place, for tests
_LOOK_S = 0.1
_LOOK_ANEW_S = 2.0
_SHOWN = 5  # workers that a message names


@dataclass(frozen=True)
class Card:
    """What one member says of itself.

    Args:
        rank: its worker's number, from 0.
        node: its node's name.
        address: where the other nodes reach it.
        port: of its worker.
        same: what must be the same on all nodes, by its name for people: the image, the GPUs.
        faults: why nothing can run on its node.
    """

    rank: int
    node: str
    address: str
    port: int
    same: dict[str, str]
    faults: list[str]

    @property
    def host_and_port(self) -> str:
        """As TF_CONFIG names it."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


class NotMetError(RunError):
    """The members cannot begin.

    Args:
        message: why, with each node at fault.
        nodes: these nodes.
    """

    def __init__(self, message: str, nodes: Sequence[str]) -> None:
        super().__init__(message)
        self.nodes = tuple(nodes)


def publish(folder: Path, card: Card) -> None:
    """Write a member's card into the folder of the attempt.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{card.rank}.json", asdict(card))


def meet(
    folder: Path,
    nodes: Sequence[str],
    wait_s: float = WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Card]:
    """Wait until all members have come; their cards, by rank.

    Args:
        folder: of the attempt: every member publishes its card there.
        nodes: the nodes of all workers, by rank.
        wait_s: seconds to wait.
        sleep: waits some seconds.

    Raises:
        NotMetError: one has not come, says that its node is not fit, or differs from the others.
    """
    now = time.monotonic()
    until, anew = now + wait_s, now + _LOOK_ANEW_S
    while True:
        if time.monotonic() >= anew:
            look_anew(folder)
            anew += _LOOK_ANEW_S
        cards = _cards(folder, len(nodes))
        _refuse_faults(cards)
        if len(cards) == len(nodes):
            break
        if time.monotonic() >= until:
            raise _not_here(cards, nodes, wait_s)
        sleep(_LOOK_S)
    _refuse_differences(cards)
    return cards


def look_anew(folder: Path) -> None:
    """Let a network file system ask its server what is in a folder now.

    NFS remembers for up to a minute that a file was missing: acdirmax in nfs(5). A change of its
    own in the folder shows it that the folder has changed.
    """
    with suppress(OSError):
        handle, path = tempfile.mkstemp(dir=folder, prefix=".look-")
        os.close(handle)
        os.unlink(path)


def _cards(folder: Path, count: int) -> list[Card]:
    """The cards of those who have come, by rank."""
    cards = []
    for rank in range(count):
        card = _card(read_json(folder / f"{rank}.json"), rank)
        if card is not None:
            cards.append(card)
    return cards


def _card(value: dict[str, Any] | None, rank: int) -> Card | None:
    """A card that was read; None if it is missing or damaged."""
    if value is None:
        return None
    try:
        card = Card(**value)
    except TypeError:
        return None
    is_whole = isinstance(card.same, dict) and isinstance(card.faults, list)
    return card if card.rank == rank and is_whole else None


def _refuse_faults(cards: Sequence[Card]) -> None:
    unfit = [card for card in cards if card.faults]
    if unfit:
        lines = [f"{card.node}: {'; '.join(map(one_line, card.faults))}" for card in unfit]
        raise NotMetError("\n".join(lines), [card.node for card in unfit])


def _not_here(cards: Sequence[Card], nodes: Sequence[str], wait_s: float) -> NotMetError:
    here = {card.rank for card in cards}
    missing = [rank for rank in range(len(nodes)) if rank not in here]
    words = [f"worker {rank} on {nodes[rank]}" for rank in missing[:_SHOWN]]
    if len(missing) > _SHOWN:
        words.append(f"{len(missing) - _SHOWN} more")
    message = (
        f"{len(here)} of {len(nodes)} workers have come in {wait_s:.0f} s; {', '.join(words)} "
        "did not start, or does not see the run folder: look for the node in the job's output"
    )
    return NotMetError(message, [nodes[rank] for rank in missing])


def _refuse_differences(cards: Sequence[Card]) -> None:
    """Raise a `NotMetError` unless all nodes have the same of what must be the same.

    Of three or more, those that differ from most are at fault; of two, worker 1's.

    Two versions of TensorFlow connect, add up right, and then wait for each other for ever.
    """
    first = max(cards, key=lambda card: sum(other.same == card.same for other in cards))
    lines = []
    nodes: list[str] = []
    for card in cards:
        for name in sorted({*first.same, *card.same}):
            expected, actual = first.same.get(name, "none"), card.same.get(name, "none")
            if actual == expected:
                continue
            if card.node not in nodes:
                nodes.append(card.node)
            lines.append(
                f"{card.node} has {one_line(name)} {one_line(str(actual))}, "
                f"and {first.node} {one_line(str(expected))}; expected the same on all nodes"
            )
    if lines:
        shown = lines[:_SHOWN]
        if len(lines) > _SHOWN:
            shown.append(f"and {len(lines) - _SHOWN} more differences")
        raise NotMetError("\n".join(shown), nodes)
