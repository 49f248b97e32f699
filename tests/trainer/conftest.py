"""A small data set, run folders and the trainer as a command: what the trainer's tests share."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.export_kinds import FILES
from hpcdl.contract.spec import (
    CnnSpec,
    DataSpec,
    DeviceSpec,
    MlpSpec,
    OptimizerSpec,
    RunSpec,
    SavingSpec,
    TestSpec,
    TrainSpec,
)
from hpcdl.trainer.dataset.load import Part
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.fit.best import Best
from tests.trainer.forks import Fork, Forks

REPOSITORY = Path(__file__).parents[2]
IDX = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass
class RunFolder:
    """A run folder, and what its last attempt left."""

    path: Path
    status: int = -1
    stdout: str = ""
    stderr: str = ""

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text().splitlines()]

    def checkpoints(self) -> list[str]:
        return sorted(file.name for file in (self.path / "checkpoints").iterdir())

    def newest_arrays(self) -> dict[str, Any]:
        with np.load(self.path / "checkpoints" / self.checkpoints()[-1]) as archive:
            return {name: archive[name] for name in archive.files if name.startswith("v")}


def fork_of(folder: RunFolder, environment: dict[str, str]) -> Fork:
    """The trainer of a run folder, to be forked."""
    argv = [str(folder.path / "run.json")]
    return Fork(argv, folder.path, [str(folder.path)], environment)


def ended(folder: RunFolder, fork: Fork, status: int) -> RunFolder:
    """The run folder with what the attempt left."""
    stdout, stderr = (fork.log(name).read_text() for name in ("stdout", "stderr"))
    return RunFolder(folder.path, status, stdout, stderr)


def program_runner(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """A function that runs the source of a program with some arguments, and gives its stdout."""

    def run(program: str, *argv: object) -> str:
        logs = tmp_path_factory.mktemp("program") / "log"
        fork = Fork([str(word) for word in argv], logs, program=program)
        (status,) = forks.run(fork)
        assert status == 0, fork.log("stderr").read_text()[-3000:]
        return fork.log("stdout").read_text()

    return run


ROWS = 61  # three batches of 20 and one of a single row: with two replicas, one of them has none
NEVER = SavingSpec(every_s=1e9)
IMAGES = Path("/gpfs/scratch/nct00/images")  # the test bed's


COMMANDS = [
    "host",
    *(pytest.param(name, marks=pytest.mark.testbed) for name in ("tf2.11-py39", "tf2.21-py311")),
]
# For what differs by the Keras alone, and takes long: this Python's is Keras 3 already
each_keras = pytest.mark.parametrize(
    "trainer_command", COMMANDS[:2], indirect=True, scope="session"
)


@pytest.fixture(scope="session", params=COMMANDS)
def trainer_command(request: pytest.FixtureRequest) -> list[str]:
    """The start of the trainer's argv: this Python; on the test bed, that of each image."""
    if request.param == "host":
        return [sys.executable, "-m", "hpcdl.trainer"]
    enter = ["apptainer", "exec", "--userns", "--no-home", "--bind", str(REPOSITORY)]
    return [*enter, str(IMAGES / f"{request.param}.sif"), "python", "-m", "hpcdl.trainer"]


@pytest.fixture(scope="session")
def arrays():
    """301 training and 101 test images of 10x10 in 3 classes, each bright elsewhere."""

    def part(rows: int, seed: int):
        random = np.random.default_rng(seed)
        labels = (np.arange(rows) % 3).astype(np.uint8)
        images = random.integers(0, 120, (rows, 10, 10))
        for label in range(3):
            images[labels == label, 3 * label : 3 * label + 3] += 100
        return images.astype(np.uint8), labels

    (x_train, y_train), (x_test, y_test) = part(301, 1), part(101, 2)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@pytest.fixture(scope="session")
def write_idx():
    """Writes arrays as a folder of MNIST's IDX files."""

    def write(folder: Path, arrays, packed: bool) -> Path:
        folder.mkdir()
        for name, array in arrays.items():
            header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
                f">{array.ndim}I", *array.shape
            )
            content = header + array.tobytes()
            if packed:
                (folder / f"{IDX[name]}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / IDX[name]).write_bytes(content)
        return folder

    return write


@pytest.fixture(scope="session")
def spec() -> RunSpec:
    """A run of the smallest kind; tests replace what they are about."""
    return RunSpec(
        name="test",
        data=DataSpec(path="data.npz"),
        model=MlpSpec(dense=[8]),
        train=TrainSpec(epochs=3, batch_size=20, optimizer=OptimizerSpec(learning_rate=0.003)),
        devices=DeviceSpec(),
        hpcdl_version="0",
        test=TestSpec(explain="none"),  # a second for each of hundreds of runs
    )


@pytest.fixture(scope="session")
def make_run(tmp_path_factory, spec, arrays):
    """Makes a run folder with data.npz and run.json; `sections` replace the spec's."""

    def make(**sections: Any) -> RunFolder:
        folder = tmp_path_factory.mktemp("run")
        np.savez(folder / "data.npz", **arrays)
        (folder / "run.json").write_text(replace(spec, **sections).to_json())
        return RunFolder(folder)

    return make


@pytest.fixture(scope="session")
def forked_trainers(trainer_command):
    """Trainers that need not import TensorFlow."""
    forks = Forks(trainer_command[:-2], "trainer")
    yield forks
    forks.end()


@pytest.fixture(scope="session")
def run_program(trainer_command, tmp_path_factory):
    """Runs the source of a program in a Python with TensorFlow; its stdout."""
    forks = Forks(trainer_command[:-2], "tensorflow")
    yield program_runner(forks, tmp_path_factory)
    forks.end()


@pytest.fixture(scope="session")
def run_hpcdl_program(forked_trainers, tmp_path_factory):
    """Runs the source of a program in a Python with TensorFlow and hpcdl; its stdout."""
    return program_runner(forked_trainers, tmp_path_factory)


@pytest.fixture(scope="session")
def run_trainer(trainer_command, forked_trainers):
    """Runs the trainer once in a run folder, as the host does; it can import modules there.

    It is forked from a process with TensorFlow, unless it gets variables that TensorFlow reads at its import.
    """

    def run(folder: RunFolder, **environment: str) -> RunFolder:
        needs_start = any(name.startswith("TF_") for name in environment)
        started = start if needs_start else fork
        return started(folder, environment)

    def start(folder: RunFolder, environment: dict[str, str]) -> RunFolder:
        path = os.pathsep.join([str(REPOSITORY), str(folder.path)])
        finished = subprocess.run(
            [*trainer_command, str(folder.path / "run.json")],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=240,
        )
        talk = [
            line for line in finished.stderr.splitlines(True) if not line.startswith("INFO: ")
        ]  # Apptainer's
        return RunFolder(folder.path, finished.returncode, finished.stdout, "".join(talk))

    def fork(folder: RunFolder, environment: dict[str, str]) -> RunFolder:
        asked = fork_of(folder, environment)
        (status,) = forked_trainers.run(asked)
        return ended(folder, asked, status)

    return run


@pytest.fixture(scope="session")
def exported(make_run, run_trainer):
    """A run that exports its model as every kind."""
    train = TrainSpec(epochs=2, batch_size=20)
    run = run_trainer(make_run(model=CnnSpec(filters=[4]), train=train, export=list(FILES)))
    assert run.status == 0, run.stderr
    return run


@pytest.fixture(scope="session")
def strategies(tf):
    return {1: tf.distribute.get_strategy(), 2: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])}


class Training:
    """A model ready to train in a run folder; a call trains to the end, or `stop_after` calls."""

    def __init__(
        self, tf, strategy, arrays, folder, model_spec, train, rows=ROWS, saving=NEVER, augment=()
    ):
        from hpcdl.trainer import compat
        from hpcdl.trainer.dataset import balance
        from hpcdl.trainer.dataset import source as batches
        from hpcdl.trainer.files import checkpoint, saver
        from hpcdl.trainer.fit import adversarial, loop, steps
        from hpcdl.trainer.model import compiling, models, precision

        folder.mkdir(exist_ok=True)
        tf.keras.backend.clear_session()  # names of layers start again, as in a new process
        precision.set_precision(train.precision)
        compat.seed_everything(train.seed)
        part = Part(
            arrays["x_train"][:rows, ..., None], arrays["y_train"][:rows].astype("i4"), 1 / 255
        )
        self.one_hot = 3 if train.labels == "one_hot" else 0
        source = batches.Source(part, self.one_hot)
        with strategy.scope():
            self.model = models.build(model_spec, (10, 10, 1), 3)
            compiling.compile_model(self.model, model_spec, train, strategy.num_replicas_in_sync, 3)
        compat.build_metrics(self.model, strategy, *source.take(tf.range(2)))
        variables = compat.variables(self.model)
        mine = np.arange(rows, dtype=np.int32)
        even = balance.Balance(train.balance, mine, part.labels, 3, train.seed)
        data = steps.TrainingData(source, mine, even, augment)
        if train.adversarial:
            logits = model_spec.output == "logits"
            data.adversary = adversarial.Adversary(
                self.model, train.adversarial, logits, train.seed
            )
        self.stepper = steps.Stepper(self.model, strategy, data, train, nullcontext)
        self.checkpoints = checkpoint.Checkpoints(
            str(folder / "checkpoints"), variables, strategy, ["fingerprint"], 2
        )
        self.saver = saver.Saver(self.checkpoints, saving)
        self.run_dir = RunDir(str(folder / "run.json"))
        self.best = None
        if train.early_stopping:
            self.best = Best(train.early_stopping, True, self.stepper.first_whole_epoch)
        self.validate = self.scored(arrays) if train.early_stopping else dict
        self.loop, self.pace = loop.Training, steps.Pace

    def __call__(self, call_s=1.0, stop_after=10**9):
        asked = iter(range(10**9))
        setattr(self.run_dir, "stop_requested", lambda: next(asked) >= stop_after)  # noqa: B010 - a method to mypy
        pace = self.pace(call_s)
        loop = self.loop(self.stepper, self.run_dir, self.saver, self.validate, self.best, pace)
        self.state = loop.run()
        return self

    def scored(self, arrays):
        """A function that scores the model on test images, a quarter of them with a wrong label."""
        from hpcdl.trainer.dataset import source as batches
        from hpcdl.trainer.fit import evaluation

        labels = (arrays["y_test"] + (np.arange(101) % 4 == 0)) % 3
        part = Part(arrays["x_test"][..., None], labels.astype("i4"), 1 / 255)
        source = batches.Source(part, self.one_hot)
        evaluator = evaluation.Evaluator(self.model, self.stepper.strategy, source, 60)
        return lambda: evaluator(np.arange(101, dtype=np.int32), lambda: None)

    def weights(self):
        return [np.asarray(weight) for weight in self.model.get_weights()]

    def losses(self):
        return [
            (line["epoch"], line["loss"], line["accuracy"]) for line in self.run_dir.read_metrics()
        ]


@pytest.fixture
def make_training(tf, strategies, arrays, tmp_path):
    return lambda model, train, replicas=1, name="run", **rest: Training(
        tf, strategies[replicas], arrays, tmp_path / name, model, train, **rest
    )
