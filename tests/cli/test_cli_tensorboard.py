"""`hpcdl tensorboard` with the real TensorBoard: which runs it shows, where it listens, how it ends."""

from __future__ import annotations

import getpass
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from hpcdl.cli import tensorboard
from hpcdl.trainer.files.rundir import RunDir


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    def make(name: str, wanted: bool = True) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "run.json").write_text(json.dumps({"train": {"tensorboard": wanted}}))
        return folder

    return make


def ask(url: str) -> Any:
    with urlopen(url, timeout=20) as answer:  # noqa: S310 - TensorBoard's, on this machine
        return json.load(answer)


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")  # what TensorFlow warns of is not ours
def test_tensorboard_shows_runs_until_ctrl_c(make_run, program, tmp_path):
    """Each run has its name in TensorBoard, which ends cleanly with Ctrl-C."""
    from hpcdl.trainer.files.tensorboard import epoch_logs

    runs = [make_run("mnist-cnn/20260101-1200-aaaa"), make_run("mnist-cnn/20260101-1200-bbbb")]
    for number, run in enumerate(runs):
        run_dir = RunDir(str(run / "run.json"))
        run_dir.on_epoch = epoch_logs(run_dir, str(run / "tensorboard"), "{}")
        for epoch in (1, 2):
            run_dir.append_metrics(
                {"epoch": epoch, "time": 100.0, "loss": number + epoch / 10, "val_loss": 5.0}
            )
    try:
        taken = socket.create_server(("localhost", 6006))
    except OSError:
        taken = None  # by another: the port is not free either way
    (tmp_path / "tmp").mkdir()
    server = subprocess.Popen(
        [*program, "tensorboard", *runs],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        port = url.rpartition(":")[2].rstrip("/")
        assert port.isdigit(), server.communicate()
        assert port != "6006"
        names = [
            f"{run.parent.name}/{run.name}/{part}"
            for run in runs
            for part in ("train", "validation")
        ]
        deadline = time.monotonic() + 60
        while sorted(ask(f"{url}data/runs")) != names and time.monotonic() < deadline:
            time.sleep(0.2)
        assert sorted(ask(f"{url}data/runs")) == names
        points = ask(f"{url}data/plugin/scalars/scalars?tag=epoch_loss&run={quote(names[2])}")
        assert points == [[100.0, 1, pytest.approx(1.1)], [100.0, 2, pytest.approx(1.2)]]
        os.killpg(server.pid, signal.SIGINT)
        _, said = server.communicate(timeout=30)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        if taken is not None:
            taken.close()
    assert server.returncode == 0
    here = f"{getpass.getuser()}@{socket.gethostname()}"
    assert (
        said
        == f"on your own machine: ssh -N -L {port}:localhost:{port} {here}\nstarting; Ctrl-C ends it\n"
    )
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("localhost", int(port)))
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def on_path(monkeypatch, tmp_path):
    """A Python without TensorBoard, and a PATH with another one, which says what it was given and fails."""
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process's own handlers stay
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tensorboard").write_text('#!/bin/sh\necho "$*" >&2; ls -1 "$2"/* >&2; exit 7\n')
    (folder / "tensorboard").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_tensorboard_on_path_reports_failure(make_run, on_path, cli):
    """A tensorboard program on PATH is used, and its exit status is shown."""
    made = make_run("a/20260101-1200-aaaa")
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]

    answer = cli("tensorboard", made, made, "--port", port)

    assert (answer.code, answer.out) == (1, "")
    given, *links, end = answer.err.splitlines()[4:]
    assert given.startswith("--logdir /")
    assert given.endswith(f" --host localhost --port {port}")
    assert links == [made.name]
    assert end == "TensorBoard ended with exit status 7"
    assert (
        f"{made.parent.name}/{made.name} has no logs yet; they come with its first epoch\n"
        in answer.err
    )


def test_tensorboard_port_in_use(make_run, on_path, cli):
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        answer = cli("tensorboard", make_run("a/20260101-1200-aaaa"), "--port", port)

    assert answer.code == 2
    assert f"cannot listen at localhost:{port}: Address already in use" in answer.err


def test_tensorboard_not_installed(make_run, on_path, cli):
    (on_path / "tensorboard").unlink()

    answer = cli("tensorboard", make_run("a/20260101-1200-aaaa"))

    assert answer.code == 2
    assert "TensorBoard is not installed here: " in answer.err
    assert "-m pip install tensorboard" in answer.err


def test_tensorboard_run_without_logs(make_run, on_path, cli):
    answer = cli("tensorboard", make_run("a/20260101-1200-aaaa", wanted=False))

    assert answer.code == 2
    assert (
        "20260101-1200-aaaa writes no logs for TensorBoard: set train.tensorboard to true"
        in answer.err
    )
    assert "hpcdl: there is nothing for TensorBoard to show\n" in answer.err


@pytest.mark.cases("F20")
def test_scripts_have_no_tensorboard_key(make_run, on_path, cli):
    """A script's job has no train.tensorboard; its page draws what it measured."""
    run = make_run("a/20260101-1200-aaaa", wanted=False)
    (run / "run.json").unlink()

    answer = cli("tensorboard", run)

    assert "hpcdl report draws the metrics" in answer.err
    assert "train.tensorboard" not in answer.err
