"""A command on a real pseudo-terminal, for tests of what a person sees and types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE_S = 60.0


class Terminal:
    """A command on a pseudo-terminal of its own, and what it has written there."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        rows: int = 24,
        columns: int = 120,
        start: Sequence[str] = (sys.executable, "-m", "hpcdl"),
    ) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGHUP):  # a shell's background job ignores them
                signal.signal(number, signal.SIG_DFL)
            os.chdir(folder)
            environment = {**os.environ, "TERM": "xterm"}
            for name in ("COLUMNS", "LINES"):
                environment.pop(name, None)
            os.execvpe(start[0], [*start, *words], environment)  # noqa: S606
        self.text = ""
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        """The kernel tells the program by SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """What somebody types."""
        os.write(self.master, text.encode())

    def read_until(self, text: str, start: int = 0) -> str:
        """All that was written from a place on, once the text is in it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.text[start:]:
            assert time.monotonic() < deadline, f"no {text!r} in {self.text[start:]!r}"
            if not self._read():
                raise AssertionError(f"it ended without {text!r}: {self.text[start:]!r}")
        return self.text[start:]

    def read_frame(self, start: int, columns: int, text: str) -> str:
        """The first frame after a place that has a text and is not wider than the terminal."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for frame in self.text[start:].split("\x1b[H"):
                plain = ESCAPES.sub("", frame)
                widest = max(len(line.rstrip("\r")) for line in plain.split("\n"))
                if text in plain and widest <= columns:
                    return plain
            assert time.monotonic() < deadline, f"no such frame in {self.text[start:]!r}"
            assert self._read(), f"it ended: {self.text[start:]!r}"

    def end(self) -> int:
        """Its exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"it goes on: {self.text[-500:]!r}"
        _, status = os.waitpid(self.pid, 0)
        os.close(self.master)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], 1.0)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # Linux says so at the end
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)
