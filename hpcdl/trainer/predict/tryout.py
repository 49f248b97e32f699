"""Tries something in a forked process first: a crash of a library then ends that one alone."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import signal
import time
import warnings
from typing import Any, Callable

MOST_S = 60.0  # to load a library and a model from a slow disk, and to predict one image
_MOST_BYTES = 500  # of a reason; a pipe holds that much


def try_out(work: Callable[[], Any], most_s: float = MOST_S) -> str:
    """Do something in a forked process.

    Args:
        work: what to do.
        most_s: it has that many seconds.

    Returns:
        why it cannot be done in this process; empty if it can.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns because of threads: those that beat for the run need no lock of `work`
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _work_in_child(work, writing, most_s)
    os.close(writing)
    try:
        return _why_not(child, reading, most_s)
    finally:
        os.close(reading)


def _work_in_child(work: Callable[[], Any], writing: int, most_s: float) -> None:
    """Do it, write why it failed, and end: nothing of the parent's is cleaned up here."""
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.setitimer(signal.ITIMER_REAL, 2 * most_s)  # if the parent is killed meanwhile
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)
        work()
        status = 0
    except BaseException as error:
        text = "{}: {}".format(type(error).__name__, " ".join(str(error).split()))
        os.write(writing, text.encode("utf-8", "replace")[:_MOST_BYTES])
    finally:
        os._exit(status)


def _why_not(child: int, reading: int, most_s: float) -> str:
    """Wait for the child to end; its pipe ends with it."""
    ends_s = time.monotonic() + most_s
    reason = b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, ends_s - time.monotonic()))
        if not ready:  # nobody waits for it: a file system that hangs may hold it for long
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            return "it did not end within {:.0f} s".format(most_s)
        part = os.read(reading, _MOST_BYTES)
        if not part:
            break
        reason += part
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "it was ended by {}".format(signal.Signals(os.WTERMSIG(status)).name)
    if status != 0:
        return reason.decode("utf-8", "replace") or "it ended with {}".format(
            os.WEXITSTATUS(status)
        )
    return ""
