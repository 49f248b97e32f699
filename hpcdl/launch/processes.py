"""This node's processes as /proc shows them: which a process started, and ending them."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1  # prctl(2)


def processes_below(root: int) -> Iterator[int]:
    """A process, and all that it started, directly or not; parents come first.

    Args:
        root: the first process's pid.
    """
    waiting = [root]
    while waiting:
        pid = waiting.pop(0)
        yield pid
        waiting += children_of(pid)


def children_of(pid: int) -> list[int]:
    """The processes that a process started itself; none if it has ended."""
    children: list[int] = []
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            children += map(int, (task / "children").read_bytes().split())
    return children


def status_of_process(pid: int) -> dict[str, str] | None:
    """The lines of a process's status file by name, or None if it has ended (proc(5))."""
    try:
        content = (_PROC / str(pid) / "status").read_bytes()
    except OSError:
        return None
    text = content.decode("utf-8", "replace")  # a program's name may be any bytes
    status = {}
    for line in text.splitlines():
        name, _, value = line.partition(":\t")
        status[name] = value
    return status


def handles(status: dict[str, str], number: int) -> bool:
    """Whether a process has a handler for a signal.

    Args:
        status: from `status_of_process`; ``SigCgt`` is a mask in hex, signal 1 in the lowest bit.
        number: the signal.
    """
    mask = int(status["SigCgt"], 16)
    return bool(mask & (1 << (number - 1)))


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started: a container's program outlives its starter."""
    children = children_of(pid)  # before it ends: then they are nobody's
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return
    for child in children:
        kill_tree(child)


def kill_leftover(program: list[str], stop_file: str, attempt: int) -> None:
    """Kill what an earlier attempt left on this node: a script's container outlives its launch.

    Args:
        program: the program's argv, by which its processes are known.
        stop_file: the run's, which the program has in a variable. Another trial of the sweep may
            have the same argv.
        attempt: the number of this attempt. Of several nodes, two may be one machine's: a test
            bed's are.
    """
    argv = b"".join(os.fsencode(word) + b"\0" for word in program)
    of_run = os.fsencode(f"HPCDL_STOP_FILE={stop_file}")
    of_attempt = os.fsencode(f"HPCDL_ATTEMPT={attempt}")
    for process in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_bytes() != argv:
                continue
            variables = (process / "environ").read_bytes().split(b"\0")
            if of_run in variables and of_attempt not in variables:
                os.kill(int(process.name), signal.SIGKILL)


def die_with_parent() -> None:
    """In the child: end when launch ends, however that happens. One run has one trainer only.

    The kernel forgets this for Apptainer, which changes its credentials. So the trainer also has
    its lifeline: a pipe to its stdin, which is closed when launch ends.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it, macOS does not
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
