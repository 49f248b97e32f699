"""Ctrl-C and SIGTERM end a command at any moment: no traceback, exit status 130 or 143."""

from __future__ import annotations

import os
import signal
from types import FrameType

_LATER_S = 0.02
# Code that no exception may interrupt: parts of the names of Python's own files
_UNINTERRUPTED = ("<frozen importlib._bootstrap", "/multiprocessing/")


def leave_at_once() -> None:
    """Before a command begins and after it has ended, a signal ends the process at once."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _handle(_leave)


def let_it_clean_up() -> None:
    """While a command runs, a signal becomes an exception: its ``finally`` blocks run."""
    _handle(_interrupt)


def _handle(handler: signal._HANDLER) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and a shell's & ignore it
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise what ends the command. While a module is imported or a process started, wait.

    During an import, Python's own callbacks swallow an exception ("Exception ignored in ..."), and
    extension modules turn it into an ImportError. A worker that is half started prints an error.
    """
    if _is_uninterrupted(frame):
        signal.signal(signal.SIGALRM, lambda _, later: _interrupt(number, later))
        signal.setitimer(signal.ITIMER_REAL, _LATER_S)
    elif number == signal.SIGINT:
        raise KeyboardInterrupt
    else:
        raise SystemExit(128 + number)


def _is_uninterrupted(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if any(part in code.co_filename for part in _UNINTERRUPTED):
            return True
        if code.co_name == "submit" and "/concurrent/futures/" in code.co_filename:
            return True  # it starts workers, and the thread that ends them
        frame = frame.f_back
    return False
