"""What does a trial cost beside its training, forked from a server with TensorFlow, and as a fresh process?

Each pair trains the same run twice, and the weights must be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import show, show_machine

from hpcdl.contract.spec import (
    CnnSpec,
    DataSpec,
    DeviceSpec,
    OptimizerSpec,
    RunSpec,
    TestSpec,
    TrainSpec,
)
from hpcdl.launch.fork_server import ForkServer

CHECKOUT = Path(__file__).resolve().parents[1]
GOAL_S = 1.0
PARTS = ("import_s", "data_s", "build_s", "train_s", "evaluate_s", "predict_s", "save_s")


@dataclass
class Figures:
    """Seconds of one trial: from its start to its end, to the training's start, and by part."""

    whole_s: float
    to_training_s: float
    timing: dict[str, Any]
    weights: str

    @property
    def beside_s(self) -> float:
        """All but the training, whose first epoch traces the graph, and the scoring after it."""
        training = ("train_s", "evaluate_s", "predict_s")
        return float(self.whole_s - sum(self.timing[name] for name in training))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image", type=Path, help="container image (default: this Python)")
    parser.add_argument("--pairs", type=int, default=3, help="trials of each kind (default: 3)")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of a trial (default: 8)")
    options = parser.parse_args()
    show_machine()
    with tempfile.TemporaryDirectory(prefix="fork-server-") as name:
        folder = Path(name)
        write_data(folder)
        command = trainer(options.image, folder)
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "MPLCONFIGDIR": str(folder)}
        server = ForkServer([*command, "--serve"], environment, str(folder), folder / "server.log")

        def fresh(run: Path) -> int:
            with (run / "1.log").open("ab") as log:
                argv = [*command, str(run / "run.json")]
                return subprocess.run(
                    argv, env=environment, cwd=run, stdout=log, stderr=log
                ).returncode

        def forked(run: Path) -> int:
            return server.start(str(run / "run.json"), run / "1.log", {}, str(run)).wait()

        try:
            first = measure(make_run(folder, "first", options.epochs), forked)
            print(
                f"first trial of a task: {first.whole_s:.2f} s, the import {server.import_s:.2f} s of it"
            )
            pairs = []
            for pair in range(options.pairs):
                ours = measure(make_run(folder, f"forked-{pair}", options.epochs), forked)
                theirs = measure(make_run(folder, f"fresh-{pair}", options.epochs), fresh)
                if not ours.weights == theirs.weights == first.weights:
                    sys.exit("the weights differ")
                pairs.append((ours, theirs))
        finally:
            server.close()
    for what in ("whole_s", "to_training_s", "beside_s"):
        ours_s = [getattr(ours, what) for ours, _ in pairs]
        theirs_s = [getattr(theirs, what) for _, theirs in pairs]
        show(f"forked / fresh, {what}", ours_s, theirs_s)
    for part in PARTS:
        medians = [statistics.median(each[k].timing[part] for each in pairs) for k in (0, 1)]
        print(f"  {part:<12} {medians[0]:.2f} / {medians[1]:.2f} s")
    beside_s = statistics.median(ours.beside_s for ours, _ in pairs)
    print(f"a forked trial costs {beside_s:.2f} s beside its training   goal <= {GOAL_S:g} s")
    print("the weights of all trials are equal, bit for bit")
    show_machine()


def trainer(image: Path | None, folder: Path) -> list[str]:
    """The start of the trainer's argv."""
    if image is None:
        return [sys.executable, "-m", "hpcdl.trainer"]
    binds = ["--bind", str(CHECKOUT), "--bind", str(folder)]
    enter = ["apptainer", "-q", "exec", "--userns", "--no-home", *binds, str(image)]
    return [*enter, "python", "-m", "hpcdl.trainer"]


def write_data(folder: Path) -> None:
    """6,000 training and 1,000 test images of 28x28 in 10 classes, each bright elsewhere."""
    arrays: dict[str, Any] = {}
    for part, rows in (("train", 6000), ("test", 1000)):
        random = np.random.default_rng(rows)
        labels = (np.arange(rows) % 10).astype(np.uint8)
        images = random.integers(0, 150, (rows, 28, 28)).astype(np.uint8)
        for label in range(10):
            images[labels == label, 2 * label : 2 * label + 3] += 60
        arrays.update({f"x_{part}": images, f"y_{part}": labels})
    np.savez(folder / "data.npz", **arrays)


def make_run(folder: Path, name: str, epochs: int) -> Path:
    run = folder / name
    run.mkdir()
    train = TrainSpec(epochs=epochs, batch_size=100, optimizer=OptimizerSpec(learning_rate=0.001))
    spec = RunSpec(
        name="trial",
        data=DataSpec(path=str(folder / "data.npz"), validation_split=0.1),
        model=CnnSpec(dropout=0.3),
        train=train,
        devices=DeviceSpec(),
        hpcdl_version="0",
        test=TestSpec(explain="none"),  # as trials of a sweep have it
    )
    (run / "run.json").write_text(spec.to_json())
    return run


def measure(run: Path, train: Callable[[Path], int]) -> Figures:
    """Train a run; its figures."""
    started, ended = time.time(), threading.Event()
    training_at: list[float] = []

    def look() -> None:
        """Note when the heartbeat says that the training has begun."""
        while not training_at and not ended.wait(0.005):
            try:
                beat = json.loads((run / "heartbeat.json").read_text())
            except (OSError, ValueError):
                continue
            if beat["phase"] == "training":
                training_at.append(beat["time"])

    watcher = threading.Thread(target=look)
    watcher.start()
    status = train(run)
    whole_s = time.time() - started
    ended.set()
    watcher.join()
    if status != 0:
        sys.exit((run / "1.log").read_text())
    timing = json.loads((run / "result.json").read_text())["timing"]
    return Figures(whole_s, training_at[0] - started, timing, weights_of(run))


def weights_of(run: Path) -> str:
    """A hash of the last checkpoint's arrays and of the epochs' losses."""
    digest = hashlib.sha256()
    newest = sorted((run / "checkpoints").glob("*.npz"))[-1]
    with np.load(newest) as archive:
        for name in sorted(archive.files):
            if name.startswith("v"):
                digest.update(archive[name].tobytes())
    for line in (run / "metrics.jsonl").read_text().splitlines():
        epoch = json.loads(line)
        digest.update(repr((epoch["loss"], epoch["val_loss"])).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
