"""Ports of the node's loopback: one that is free, and who listens at it."""

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
LISTENS = "0A"  # the state, as the kernel's tables have it
# Who listens at these addresses may get what is sent to the loopback
REACHED = {"tcp": (LOOPBACK, "0.0.0.0"), "tcp6": ("::", f"::ffff:{LOOPBACK}")}  # noqa: S104


def free_port():
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def is_free(port):
    """Whether nobody listens on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_listener_ours(port):
    """Whether this user's programs alone get what is sent to a port of the loopback."""
    owners = set()
    for name, version in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        places = [in_table(version, place) for place in REACHED[name]]
        with suppress(OSError):  # a kernel without IPv6 has no such table
            text = Path("/proc/self/net", name).read_text(encoding="ascii")
            for words in map(str.split, text.splitlines()[1:]):
                place, _, number = words[1].partition(":")
                if words[3] == LISTENS and int(number, 16) == port and place in places:
                    owners.add(int(words[7]))
    return owners == {os.geteuid()}


def in_table(version, address):
    """An address as the kernel's tables have it: words of 32 bits as they lie in memory."""
    packed = socket.inet_pton(version, address)
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
