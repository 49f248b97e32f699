"""A port of this node that one worker has: found free, and held until its program has ended."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

from hpcdl.errors import RunError


def hold_port(allowed: Sequence[int] | None = None) -> socket.socket:
    """A socket that holds a free port.

    The port is taken as by any server, so that no other program gets it. After that the socket
    shares it (SO_REUSEPORT, socket(7)), and does not listen: TensorFlow, which shares too where
    TF_GRPC_REUSE_PORT is set, gets all connections.

    Args:
        allowed: the first and the last port that may be used; None for any.

    Raises:
        RunError: no such port is free.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for port in _candidates(allowed):
        try:
            held.bind(("", port))
        except OSError:
            continue
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return held
    held.close()
    where = "" if allowed is None else f" from {allowed[0]} to {allowed[1]} (worker_ports)"
    raise RunError(f"no port{where} is free on {socket.gethostname()}")


def _candidates(allowed: Sequence[int] | None) -> list[int]:
    """The ports to try, from a random one on: two jobs of a node then rarely meet."""
    if allowed is None:
        return [0]  # the kernel chooses
    ports = list(range(allowed[0], allowed[1] + 1))
    start = random.randrange(len(ports))  # noqa: S311 - it guards no secret
    return [*ports[start:], *ports[:start]]


def address_towards(host: str) -> str:
    """This node's address on the network that leads to another host. Nothing is sent.

    Args:
        host: the other's address.

    Raises:
        RunError: no network leads there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError as error:
            message = f"no network leads from {socket.gethostname()} to {host}: {error.strerror}"
            raise RunError(message) from error
        return str(probe.getsockname()[0])
