"""A trainer that the trainer's server has forked, as the thread that runs it sees it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from hpcdl.launch.processes import kill_tree

_START_S = 60.0  # for a fork


class NotServedError(Exception):
    """The server cannot start this trainer; it is to be started without it."""


class ServedTrainer:
    """A trainer that the server has forked, used like a `subprocess.Popen`.

    Args:
        run_json: its run, for messages.

    ``peak_memory_gb`` is the most memory it had, in GiB; None before its end, or if unknown.
    """

    def __init__(self, run_json: str) -> None:
        self.pid = 0
        self.peak_memory_gb: float | None = None
        self._run_json = run_json
        self._status: int | None = None
        self._error: str | None = None
        self._started = threading.Event()
        self._ended = threading.Event()

    def poll(self) -> int | None:
        """Its exit status, -N if signal N ended it; None while it runs."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; gives its exit status.

        Args:
            timeout: seconds to wait at most.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if not self._ended.wait(timeout) or self._status is None:
            raise subprocess.TimeoutExpired(self._run_json, timeout or 0.0)
        return self._status

    def wait_for_start(self) -> None:
        """Wait until it has a pid.

        Raises:
            NotServedError: it could not be started.
        """
        if not self._started.wait(_START_S):
            raise NotServedError(f"the server has not answered for {_START_S:g} s")
        if self._error is not None:
            raise NotServedError(self._error)

    def take(self, answer: Mapping[str, Any]) -> None:
        """Take an answer of the server's about it."""
        if "error" in answer:
            self._error = f"the server cannot fork: {answer['error']}"
        if "pid" in answer:
            self.pid = answer["pid"]
        if "status" in answer:
            self._status = answer["status"]
            self.peak_memory_gb = round(answer["peak_memory_kb"] / 1024**2, 2)
            self._ended.set()
        self._started.set()

    def lose(self) -> None:
        """Its server is gone, and it with it."""
        if self._ended.is_set():
            return
        if self.pid:
            kill_tree(self.pid)  # the kernel has done it, or is about to
        else:
            self._error = "the server ended"
        self._status = -signal.SIGKILL
        self._ended.set()
        self._started.set()
