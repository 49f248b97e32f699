"""One export of a run at a time: a second one waits until the first has ended."""

from __future__ import annotations

import contextlib
import fcntl
from typing import Iterator

from hpcdl.trainer.runtime.log import say


@contextlib.contextmanager
def alone(file: str) -> Iterator[None]:
    """While the block runs, no other export of the same run does: both write the same files.

    The lock ends with the process, also if that is killed. A file system without locks has none.

    Args:
        file: a file of the run, which stays as it is.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            lock = stack.enter_context(open(file, "rb+"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another export of this run is under way; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
