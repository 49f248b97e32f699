"""``hpcdl status --watch`` on a real pseudo-terminal: resized, left by Ctrl-C; and without a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcdl.files import append_json_line, write_json
from tests.terminal import Terminal


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
