"""A small training on this machine for faults to happen to, and what must be true of it when it has ended."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpcdl.job import format_time
from hpcdl.run import Run
from hpcdl.run.state import Status

RETRY_S = 4  # how long a victim tries again to write, instead of five minutes
UNLIMITED_S = 3600
PATIENCE_S = 300.0  # nothing that is waited for takes longer, start-up on a busy machine included
MODEL = '''
"""A model whose steps last a while and count themselves in a file for each attempt, one byte a step."""
import os
import time

import tensorflow as tf


class Counted(tf.keras.layers.Layer):
    def __init__(self, counts, step_s, **kwargs):
        super().__init__(**kwargs)
        self.counts, self.step_s, self.file = counts, step_s, None

    def count(self):
        if self.file is None:
            os.makedirs(self.counts, exist_ok=True)
            self.file = open(os.path.join(self.counts, os.environ["HPCDL_ATTEMPT"]), "ab", 0)
        self.file.write(b".")
        time.sleep(self.step_s)

    def call(self, inputs, training=None):
        if training:
            tf.numpy_function(self.count, [], [])
        return tf.identity(inputs)

    def get_config(self):
        return {**super().get_config(), "counts": self.counts, "step_s": self.step_s}


def model(input_shape, classes, counts, step_s):
    layers = tf.keras.layers
    return tf.keras.Sequential([
        tf.keras.Input(input_shape), Counted(counts, step_s), layers.Conv2D(4, 3), layers.BatchNormalization(),
        layers.Activation("relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.3), layers.Dense(classes),
    ])
'''
JOB = """
name: victim
resources: {{gpus: 0, time: "{limit}"}}
data: {{path: data.npz, validation_split: 0.1}}
model: {{function: "victim_model:model", args: {{counts: "{counts}", step_s: {step_s}}}, output: logits}}
train: {{epochs: {epochs}, batch_size: 10, optimizer: adam, early_stopping: {{patience: 99}}}}
"""


class LossError(Exception):
    """Something of a run was lost, or is not as it should be."""


@dataclass(frozen=True)
class Shape:
    """How long a victim trains and how often it saves.

    Args:
        epochs: of the training.
        steps: of an epoch; the last one has a shorter batch.
        step_s: seconds for which each step sleeps.
        save_every: steps between two checkpoints.
    """

    epochs: int = 10
    steps: int = 100
    step_s: float = 0.01
    save_every: int = 20


@dataclass
class Victim:
    """One run, made by `hpcdl submit --backend local` in a folder of its own.

    Args:
        folder: for its job, its data and what its steps count; on a disk that stays well.
        shape: of its training.
        runs: where its run folder goes, which may be a disk that faults happen to.
        options: more of `hpcdl submit`.
        limit_s: resources.time, in seconds.
    """

    folder: Path
    shape: Shape
    runs: Path
    options: Sequence[str] = ()
    limit_s: int = UNLIMITED_S
    sessions: list[int] = field(default_factory=list)
    resumes: int = 0
    torn: set[tuple[str, int]] = field(default_factory=set)
    _run: Run | None = None
    _newest: int = 0

    @property
    def run(self) -> Run:
        assert self._run is not None, "it was not submitted"
        return self._run

    @property
    def path(self) -> Path:
        """Its run folder."""
        return self.run.paths.root

    @property
    def limited(self) -> bool:
        """Whether its time limit is shorter than its training."""
        return self.limit_s < UNLIMITED_S

    def submit(self) -> None:
        """Start it, as a user does."""
        write_job(
            self.folder,
            self.shape,
            self.limit_s,
            "counts" if self.options else str(self.folder / "counts"),
        )
        saving = [f"cluster.save_every_steps={self.shape.save_every}", "cluster.stop_margin_s=1"]
        sets = [word for one in (*saving, "cluster.max_requeues=999") for word in ("--set", one)]
        said = self.hpcdl(
            "submit",
            "job.yaml",
            "--backend",
            "local",
            "--runs-dir",
            self.runs,
            *sets,
            *self.options,
        )
        self._run = Run(said.rstrip("\n"))
        self._note_session()

    def resume(self) -> None:
        """Go on with it by hand, as a user does who finds that it has ended."""
        self.hpcdl("resume", self.path)
        self._note_session()

    def hpcdl(self, *argv: object) -> str:
        """One command of hpcdl; its stdout."""
        passed = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        env = {**passed, "HOME": str(self.folder), "HPCDL_SAVE_RETRY_S": str(RETRY_S)}
        done = subprocess.run(
            [sys.executable, "-m", "hpcdl", *map(str, argv)],
            cwd=self.folder, env=env, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise LossError(f"hpcdl {argv[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _note_session(self) -> None:
        self.sessions.append(int(self.json("submitted.json")["pid"]))

    # What can be seen of it

    def json(self, name: str) -> dict[str, Any]:
        """An object in its folder; empty where there is none."""
        try:
            value: dict[str, Any] = json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return {}
        return value

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The whole lines of a log of JSON."""
        path = self.path / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def status(self) -> Status:
        return self.run.status()

    @property
    def attempt(self) -> int:
        """The number of its newest attempt; 0 before the first."""
        return sum(row["event"] == "start" for row in self.lines("attempts.jsonl"))

    def phase(self) -> str:
        """Where its newest attempt is, as the trainer says."""
        beat, attempt = self.json("heartbeat.json"), self.attempt
        if beat.get("attempt") != attempt or self.trainer() is None:
            return "starting"
        return (
            "tracing"
            if beat["phase"] == "training" and not self.steps_of(attempt)
            else str(beat["phase"])
        )

    def steps_of(self, attempt: int) -> int:
        """How many steps an attempt has done, by what they counted themselves."""
        for folder in (self.folder, self.path):
            with suppress(FileNotFoundError):
                return (folder / "counts" / str(attempt)).stat().st_size
        return 0

    def launcher(self) -> int | None:
        """The process that runs `launch`: the leader of the run's session."""
        leader = self.sessions[-1]
        return leader if leader in in_session(leader) else None

    def trainer(self) -> int | None:
        """The training process."""
        return self._process("hpcdl.trainer")

    def _process(self, module: str) -> int | None:
        for pid in in_session(self.sessions[-1]):
            argv = command_line(pid)
            if module in argv and Path(argv[0]).name.startswith("python"):
                return pid
        return None

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted((self.path / "checkpoints").glob("[0-9]*.npz"))

    def check_checkpoints(self) -> None:
        """Check that those which were saved are whole, unless a fault tore them, and that the newest has not gone."""
        for path in self.checkpoints():
            try:
                torn = (path.name, path.stat().st_ino) in self.torn
                if not torn and not is_whole(path):
                    raise LossError(f"{path.name} is not whole")
            except FileNotFoundError:  # a newer one has taken its place
                continue
        newest = max((int(path.stem) for path in self.checkpoints()), default=0)
        if newest < self._newest:
            raise LossError(
                f"the checkpoint of step {self._newest} is gone, the newest is of step {newest}"
            )
        self._newest = newest

    def end(self) -> None:
        """Kill what is left of it."""
        for session in self.sessions:
            for pid in in_session(session):
                os.kill(pid, signal.SIGKILL)


def write_job(folder: Path, shape: Shape, limit_s: int, counts: str) -> None:
    """The job's files: two classes of images that a small model learns in some epochs, but not at once."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = round((shape.steps * 10 - 3) / 0.9)
    chance = np.random.default_rng(1)
    x = chance.integers(0, 256, (rows + 200, 12, 12), np.uint8)
    y = (x[:, :6].mean((1, 2)) > x[:, 6:].mean((1, 2))).astype(np.uint8)
    np.savez(
        folder / "data.npz", x_train=x[:rows], y_train=y[:rows], x_test=x[rows:], y_test=y[rows:]
    )
    (folder / "victim_model.py").write_text(MODEL)
    job = JOB.format(
        limit=format_time(limit_s), counts=counts, epochs=shape.epochs, step_s=shape.step_s
    )
    (folder / "job.yaml").write_text(job)


def until(condition: Callable[[], Any], what: str, pause_s: float = 0.02) -> Any:
    """Wait until a condition holds, and give what it gave."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise LossError(f"waited {PATIENCE_S:g} s in vain: {what}")
        time.sleep(pause_s)
    return value


def in_session(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return [""]


def is_whole(path: Path) -> bool:
    """Whether a checkpoint has the content that its hash was taken of."""
    try:
        with np.load(path) as archive:
            digest = hashlib.sha256(archive["about"].tobytes())
            for name in sorted(name for name in archive.files if name.startswith("v")):
                digest.update(archive[name].tobytes())
            return bool(archive["sha256"].tobytes() == digest.digest())
    except FileNotFoundError:
        raise
    except Exception:  # a torn file fails in many ways
        return False
