"""Where a running notebook answers, and the ssh line that leads there."""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import dataclass

from hpcdl.environment import user_name
from hpcdl.files import read_json
from hpcdl.run import states
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import Status

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Page:
    """A notebook that answers.

    Args:
        host: the machine's own name.
        port: on that machine's loopback.
        token: who has it may use the notebook.
        ends: when it ends (unix time); None if nobody knows.
        attempt: the run's attempt in which it answers.
    """

    host: str
    port: int
    token: str
    ends: float | None
    attempt: int = 1

    @property
    def url(self) -> str:
        """The address at the other end of the ssh line, or on the machine itself."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The address at the end of a tunnel that has another port there."""
        return f"http://{_LOOPBACK}:{port}/lab?token={self.token}"

    @property
    def is_here(self) -> bool:
        """Whether this machine's browser reaches it without a tunnel."""
        return self.host == socket.gethostname()

    def forward(self, port: int) -> str:
        """What ssh's option -L takes, for a port at its own end."""
        return f"{port}:{_LOOPBACK}:{self.port}"


def read_page(paths: RunPaths, status: Status) -> Page | None:
    """The notebook of a run; None while it does not answer.

    What a killed one has left behind is not taken for it.

    Args:
        paths: the run.
        status: its status, as the files show it.

    Raises:
        OSError: its private files are somebody else's.
    """
    if status.state not in (states.RUNNING, states.STOPPING):
        return None
    address = read_json(paths.jupyter_address)
    if address is None or int(address.get("attempt", 1)) != status.attempt:
        return None
    try:
        token = paths.jupyter_token.read_text(encoding="ascii")
    except FileNotFoundError:  # it has just ended
        return None
    place = str(address["host"]), int(address["port"])
    return Page(*place, token, address.get("ends"), int(address.get("attempt", 1)))


def ssh_line(page: Page, node: str) -> str:
    """What a user types on their own computer: a tunnel through this login node to the node.

    Args:
        page: the notebook.
        node: the node's name in SLURM.
    """
    user = user_name()
    forward = page.forward(page.port)
    return shlex.join(
        ["ssh", "-N", "-L", forward, "-J", f"{user}@{login_host()}", f"{user}@{node}"]
    )


def tunnel_from_here(page: Page, node: str, port: int) -> list[str]:
    """The argv of a tunnel from a port of this login node to the node."""
    return ["ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-L", page.forward(port), node]


def login_host() -> str:
    """This login node as the user's computer may call it.

    Its full name; where it has none, the address that this ssh session has come to.
    """
    name = socket.getfqdn()
    connection = os.environ.get("SSH_CONNECTION", "").split()
    if "." not in name and len(connection) == 4:
        return connection[2]
    return name
