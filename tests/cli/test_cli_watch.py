"""``hpcdl status --watch`` on a real pseudo-terminal: resized, left by Ctrl-C; and without a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from hpcdl.files import append_json_line, write_json

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE_S = 60.0


@pytest.fixture
def runs(tmp_path):
    """A folder with a run that is done and one that runs."""
    for number, ended in ((1, True), (2, False)):
        run = tmp_path / "runs" / "watched" / f"20260101-1200-000{number}"
        run.mkdir(parents=True)
        write_json(run / "manifest.json", {"created": 1.7e9 + number})
        write_json(run / "submitted.json", {"backend": "local", "host": "elsewhere", "time": 1.7e9})
        start = {"event": "start", "attempt": 1, "time": 1.7e9, "node": "n1"}
        append_json_line(run / "attempts.jsonl", start)
        if ended:
            end_run(run)
    return tmp_path


def end_run(run: Path) -> None:
    end = {"event": "end", "attempt": 1, "time": 1.7e9 + 60, "node": "n1", "reason": "done"}
    write_json(run / "result.json", {"state": "done", "attempts": []})
    append_json_line(run / "attempts.jsonl", end)


class Terminal:
    """A command on a pseudo-terminal of its own, and what it has written there."""

    def __init__(self, folder: Path, *words: str, rows: int = 24, columns: int = 120) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
            os.chdir(folder)
            environment = {**os.environ, "TERM": "xterm"}
            for name in ("COLUMNS", "LINES"):
                environment.pop(name, None)
            argv = [sys.executable, "-m", "hpcdl", *words]
            os.execve(sys.executable, argv, environment)  # noqa: S606
        self.text = ""
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        """The kernel tells the program by SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

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


def is_left_clean(text: str) -> bool:
    """Whether the cursor is shown, and the screen is the one from before."""
    shown, hidden = text.rfind("\x1b[?25h"), text.rfind("\x1b[?25l")
    back, own = text.rfind("\x1b[?1049l"), text.rfind("\x1b[?1049h")
    return shown > hidden and back > own


def test_resized_and_left_by_ctrl_c(runs):
    terminal = Terminal(runs, "status", "--watch")
    wide = terminal.read_until("Ctrl-C ends")
    assert "watched/20260101-1200-0002" in wide
    assert "running" in wide

    place = len(terminal.text)
    terminal.resize(10, 30)
    narrow = terminal.read_frame(place, columns=30, text="watched/20260101-1200-0002")
    assert "running" not in narrow, "it is to the right of what is shown"

    os.write(terminal.master, b"\x03")
    assert terminal.end() == 130
    assert is_left_clean(terminal.text)
    assert "Traceback" not in terminal.text
    after = terminal.text.rpartition("\x1b[?1049l")[2]
    assert "watched/20260101-1200-0002" in after, "the last table stays"
    assert "running" in after


def test_terminated_watch_is_left_clean(runs):
    terminal = Terminal(runs, "status", "--watch")
    terminal.read_until("Ctrl-C ends")

    os.kill(terminal.pid, signal.SIGTERM)

    assert terminal.end() == 143
    assert is_left_clean(terminal.text)
    assert "Traceback" not in terminal.text


def test_named_run_ends_the_watch(runs):
    terminal = Terminal(runs, "status", "--watch", "0002")
    terminal.read_until("Ctrl-C ends")

    end_run(runs / "runs" / "watched" / "20260101-1200-0002")

    assert terminal.end() == 0
    assert is_left_clean(terminal.text)
    assert "done" in terminal.text.rpartition("\x1b[?1049l")[2]


def test_without_terminal_changes_are_printed(runs):
    argv = [sys.executable, "-u", "-m", "hpcdl", "status", "--watch", "0001", "0002"]
    with subprocess.Popen(argv, cwd=runs, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        first = [watch.stdout.readline() for _ in range(3)]
        time.sleep(6)  # one more look, at which nothing has changed
        end_run(runs / "runs" / "watched" / "20260101-1200-0002")
        rest = watch.stdout.read()

    assert watch.returncode == 0
    assert "running" in first[2]
    assert "\x1b" not in rest
    assert rest.splitlines()[0] == ""
    assert [line.split()[1] for line in rest.splitlines()[1:]] == ["STATE", "done", "done"]


def test_watch_refuses_json(cli):
    answer = cli("status", "--watch", "--json")

    assert answer.code == 2
    assert "leave out --json" in answer.err
