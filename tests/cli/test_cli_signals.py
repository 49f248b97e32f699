"""Ctrl-C and SIGTERM at any moment, while modules are still loaded, too: no traceback, a status that says why."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

# The first byte says that hpcdl has begun to heed signals, before it loads anything; before that
# it is Python that starts, and Python that prints a traceback.
PROGRAM = """
import os
from hpcdl.cli import entrypoint, streams
before = streams.use_utf8
def use_utf8():
    os.write(1, b"x")
    before()
streams.use_utf8 = use_utf8
entrypoint()
"""
MARENOSTRUM = ("-c", "marenostrum5", "--set", "cluster.account=nct00")
COMMANDS = {
    "help": ("--help",),
    "status": ("status",),
    "check": ("check", "mnist_script", *MARENOSTRUM),
    "submit": ("submit", "mnist_script", *MARENOSTRUM),
    "render": ("render", "mnist_cnn", *MARENOSTRUM, "-o", "OUT/"),
    "data": ("data", "pack", "signs", "--to", "packed", "--workers", "2"),
    "wait": ("wait", "waiting"),
    "logs": ("logs", "waiting", "-f"),
}
PROGRESS = re.compile(
    r"^signs: [\d.]+ of [\d.]+ MB$", re.MULTILINE
)  # once a second: by the machine
DELAYS_S = (0.0, 0.03, 0.08, 0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder with images, and with a run that waits."""
    images = pytest.importorskip("PIL.Image")
    made = tmp_path_factory.mktemp("user")
    for name in ("a", "b"):
        (made / "signs" / name).mkdir(parents=True)
        for number in range(40):
            path = made / "signs" / name / f"{number}.png"
            images.new("RGB", (64, 64), (number, 9, 200)).save(path)
    run = made / "runs" / "a" / "waiting"
    (run / "logs").mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    (run / "submitted.json").write_text('{"backend": "local", "host": "elsewhere", "time": 0}')
    return made


def interrupted(argv, delay_s, number, folder):
    """Start a command, send it a signal after a while: its exit status and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *argv],
        cwd=folder, env={**os.environ, "HOME": str(folder)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    time.sleep(delay_s)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, err.decode()


@pytest.mark.cases("F21")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("argv", COMMANDS.values(), ids=COMMANDS)
def test_signal_at_any_moment(folder, argv, number):
    """130 or 143 while it works; its own status if it had ended by then."""
    for delay_s in DELAYS_S if number == signal.SIGINT else DELAYS_S[2:3]:
        status, err = interrupted(argv, delay_s, number, folder)

        own_end = (0, 1, 2, -number)  # the last: Python was just ending
        assert status == 128 + number or status in own_end, err
        if argv[0] in ("wait", "logs", "check"):
            assert status == 128 + number
        assert "Traceback" not in err
        assert "ignored" not in err
        if status == 128 + number:
            shown = PROGRESS.sub("", err)
            lines = [line for line in shown.splitlines() if line]
            assert len(lines) <= 2, f"what it did, and one line about the signal: {err}"


@pytest.mark.cases("F21")
def test_ignored_signal_stays_ignored(folder):
    """Started by nohup or by a script's `&`, a command does not hear Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hpcdl", "cluster", "list"],
        stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    for _ in range(5):
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)

    assert b"marenostrum5" in process.communicate(timeout=30)[0]
    assert process.returncode == 0
