"""The members of a run on several nodes try each other's ports, before TensorFlow does.

A firewall that swallows packets, or a name that leads elsewhere: TensorFlow would wait for minutes,
and would not say for whom.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from hpcdl.errors import RunError
from hpcdl.files import read_json, write_json
from hpcdl.launch.meeting import Card, NotMetError, look_anew

WAIT_S = 10.0  # for one connection, and then for the others' answers
_LOOK_S = 0.1
_LOOK_ANEW_S = 2.0
_SHOWN = 5


def open_to_all(address: str, port: int, count: int) -> socket.socket:
    """A socket that takes connections on a worker's port, which is held.

    The kernel takes them; nobody has to answer.

    Args:
        address: where the others reach this node.
        port: the port.
        count: how many members there are.

    Raises:
        RunError: another program has it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("", port))
        server.listen(count + 16)
    except OSError as error:
        server.close()
        message = f"port {port} of {socket.gethostname()} takes no connections"
        raise RunError(f"{message}: {error.strerror}") from error
    return server


def try_all(folder: Path, cards: Sequence[Card], rank: int, wait_s: float = WAIT_S) -> None:
    """Connect to each other member, and wait until all have.

    Args:
        folder: of the attempt.
        cards: of all members, by rank.
        rank: this member's.
        wait_s: seconds for one connection, and then for the others.

    Raises:
        NotMetError: a member does not reach another one.
        OSError: the answer cannot be written.
    """
    own = cards[rank]
    problems: dict[str, str] = {}
    for card in cards:
        if card.rank == rank or len(problems) >= 2:  # each may take the whole time
            continue
        try:
            with closing(socket.create_connection((card.address, card.port), wait_s)):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            problems[card.node] = (
                f"{own.node} does not reach worker {card.rank} on {card.node} at "
                f"{card.host_and_port}: {reason}"
            )
    write_json(_path(folder, rank), {"problems": problems})
    everybodys = _answers(folder, len(cards), 3 * wait_s)
    if everybodys:
        lines = list(everybodys.values())[:_SHOWN]
        hint = "a firewall between the nodes is the usual reason: worker_ports in the profile"
        raise NotMetError("\n".join([*lines, hint]), list(everybodys))


def _answers(folder: Path, count: int, wait_s: float) -> dict[str, str]:
    """What members say of the nodes that they do not reach; those that say nothing are left out.

    Such a member has ended, or says why elsewhere.
    """
    until, anew = time.monotonic() + wait_s, time.monotonic() + _LOOK_ANEW_S
    problems: dict[str, str] = {}
    waiting = set(range(count))
    while waiting and time.monotonic() < until:
        if time.monotonic() >= anew:
            look_anew(folder)
            anew += _LOOK_ANEW_S
        for rank in sorted(waiting):
            answer = read_json(_path(folder, rank))
            if answer is not None:
                waiting.discard(rank)
                problems.update(answer.get("problems", {}))
        if waiting:
            time.sleep(_LOOK_S)
    return problems


def _path(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.reached.json"
