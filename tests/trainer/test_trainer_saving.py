"""A run that is killed, or whose disk is full, ends with the same weights and metrics.

Nothing here imports TensorFlow, so that the same tests run against the Python of a container.
"""

import json
import os
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from hpcdl.contract.checks import check_spec
from hpcdl.contract.errors import Unsaved
from hpcdl.contract.spec import (
    FunctionSpec,
    OptimizerSpec,
    RunSpec,
    SavingSpec,
    SpecError,
    TrainSpec,
)
from hpcdl.trainer.files import retry, rundir
from hpcdl.trainer.files.rundir import RunDir
from tests.trainer.conftest import each_keras, ended, fork_of
from tests.trainer.forks import Forks

MODELS = '''
"""A user's model whose steps last 20 ms or more, and which can kill the trainer or fill its disk."""
import os
import signal
import threading
import time

import tensorflow as tf

FOLDER = os.path.dirname(os.path.abspath(__file__))
CALLS = []


def fill_disk():
    with open(os.path.join(FOLDER, "filler"), "wb", 0) as file:
        for size in (65536, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def note_call():
    CALLS.append(1)
    if len(CALLS) == 1 and "KILL_AFTER_S" in os.environ:
        after = float(os.environ["KILL_AFTER_S"])
        threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if len(CALLS) == int(os.environ.get("FILL_AT_CALL", "0")):
        fill_disk()
    time.sleep(0.02)


class Watched(tf.keras.layers.Layer):
    def call(self, inputs, training=None):
        if training:
            tf.numpy_function(note_call, [], [])
        return tf.identity(inputs)


def model(input_shape, classes):
    layers = tf.keras.layers
    return tf.keras.Sequential([
        tf.keras.Input(input_shape), Watched(), layers.Flatten(), layers.Dense(8),
        layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(classes),
    ])
'''
SECTIONS = {
    "model": FunctionSpec("saving_models:model", {}, "logits"),
    "train": TrainSpec(
        epochs=3, batch_size=13, optimizer=OptimizerSpec(learning_rate=0.003)
    ),  # 3 x 24 steps
    "saving": SavingSpec(every_steps=2, keep=2),
}
WALL_CLOCK = {"seconds": 0, "images_per_s": 0, "time": 0}


@pytest.fixture
def make_saving_run(make_run):
    def make(**sections):
        folder = make_run(**{**SECTIONS, **sections})
        (folder.path / "saving_models.py").write_text(MODELS)
        return folder

    return make


@pytest.fixture(scope="module")
def whole(make_run, run_trainer):
    """The run that nothing interrupts, and that saves at its end alone."""
    folder = make_run(**{**SECTIONS, "saving": SavingSpec()})
    (folder.path / "saving_models.py").write_text(MODELS)
    return run_trainer(folder)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "hpcdl-test", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def trainers_on_disk(trainer_command, forked_trainers, small_disk):
    """Trainers that see the small disk: a container that started before does not."""
    if trainer_command[0] != "apptainer":
        yield forked_trainers
        return
    forks = Forks(trainer_command[:-2], "trainer")
    yield forks
    forks.end()


@pytest.fixture
def run_on_full_disk(trainers_on_disk):
    """Runs the trainer, and frees the disk when a write is first to be tried again."""

    def run(folder, **environment):
        fork = fork_of(folder, environment)
        fork.log("stdout").write_text("")  # not what another attempt said
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(trainers_on_disk.run, fork)
            while not running.done():
                # Not by the heartbeat's word, which is not tried again
                if "trying again in" in fork.log("stdout").read_text():
                    (folder.path / "filler").unlink(missing_ok=True)
                time.sleep(0.02)
        (status,) = running.result()
        return ended(folder, fork, status)

    return run


def assert_same_end(run, whole):
    assert run.status == 0, run.stdout + run.stderr
    expected, found = whole.newest_arrays(), run.newest_arrays()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert [{**line, **WALL_CLOCK} for line in run.metrics()] == [
        {**line, **WALL_CLOCK} for line in whole.metrics()
    ]
    assert run.json("result.json")["test"] == whole.json("result.json")["test"]
    assert not list(run.path.rglob("*.tmp"))


def moved(folder, disk):
    """A run folder on another disk."""
    for file in folder.path.iterdir():
        (disk / file.name).write_bytes(file.read_bytes())
    return replace(folder, path=disk)


@each_keras
@pytest.mark.tensorflow
def test_killed_run_ends_with_same_weights(whole, make_saving_run, run_trainer):
    moments, folder = random.Random(3), make_saving_run()
    for attempt in range(1, 6):
        after = moments.uniform(
            0.02, 0.35
        )  # 0.9 s together: less than the training's 72 steps of 0.02 s
        killed = run_trainer(folder, HPCDL_ATTEMPT=str(attempt), KILL_AFTER_S=str(after))
        assert killed.status in (-9, 137), killed.stderr
    (folder.path / "checkpoints").mkdir(exist_ok=True)
    (folder.path / "checkpoints" / "00000099.npz.tmp").write_bytes(b"half a file")
    (folder.path / "metrics.jsonl.1.tmp").write_bytes(b"half a file")
    assert_same_end(run_trainer(folder, HPCDL_ATTEMPT="6"), whole)
    assert folder.checkpoints() == ["00000070.npz", "00000072.npz"]
    assert (whole.checkpoints(), whole.json("result.json")["timing"]["saves"]) == (
        ["00000072.npz"],
        1,
    )
    assert folder.json("result.json")["timing"]["saves"] == 36
    assert folder.json("heartbeat.json")["saved_step"] == 72
    assert folder.json("heartbeat.json")["slowest_save_s"] > 0


@each_keras
@pytest.mark.tensorflow
def test_freed_disk_only_delays_run(whole, make_saving_run, run_on_full_disk, small_disk):
    folder = moved(make_saving_run(), small_disk)
    run = run_on_full_disk(folder, FILL_AT_CALL="30")
    assert "No space left on device; trying again in" in run.stdout
    assert_same_end(run, whole)


@each_keras
@pytest.mark.tensorflow
def test_full_disk_stops_run(
    whole, make_saving_run, trainers_on_disk, run_on_full_disk, small_disk
):
    """The run stops with its last checkpoint and can be resumed."""
    folder = moved(make_saving_run(), small_disk)
    fork = fork_of(folder, {"FILL_AT_CALL": "30", "HPCDL_SAVE_RETRY_S": "3"})
    (status,) = trainers_on_disk.run(fork)
    run = ended(folder, fork, status)
    assert run.status == 75, run.stdout + run.stderr
    assert "cannot be written, for 3 s now: [Errno 28] No space left on device" in run.stdout
    assert not (run.path / "failure.json").exists()
    last = int(
        run.checkpoints()[-1][:8]
    )  # step 30 filled the disk, while an earlier state was being written
    assert 20 <= last <= 30
    resumed = run_on_full_disk(folder, HPCDL_ATTEMPT="2")  # it begins on the full disk
    assert f"(step {last})" in resumed.stdout
    assert "is not used" not in resumed.stdout
    assert_same_end(resumed, whole)


def test_failed_metrics_line_is_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    run_dir, fsync, errors = (
        RunDir(str(tmp_path / "run.json")),
        os.fsync,
        [OSError(28, "full"), OSError(28, "full")],
    )

    def ill(handle):
        if errors:
            raise errors.pop()
        fsync(handle)

    run_dir.append_metrics({"epoch": 1})
    monkeypatch.setattr("os.fsync", ill)
    run_dir.append_metrics({"epoch": 2})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
    monkeypatch.setenv("HPCDL_SAVE_RETRY_S", "0")
    errors.append(OSError(28, "full"))
    with pytest.raises(Unsaved):
        run_dir.append_metrics({"epoch": 3})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1}\n{"epoch": 2}\n'


def test_lost_heartbeats_are_reported_once(tmp_path, monkeypatch, capsys):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rundir, "replace", full)
    run_dir = RunDir(str(tmp_path / "run.json"))
    for phase in ("loading", "training", "done"):
        run_dir.heartbeat(phase=phase)
    assert capsys.readouterr().out.count("heartbeat.json cannot be written") == 1


def test_retry_pauses_grow(monkeypatch):
    now, pauses = [0.0], []

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", sleep)
    with pytest.raises(Unsaved, match="for 300 s now"):
        retry.keep_trying("it", full)
    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert sum(pauses) == 300


def test_run_json_of_older_hpcdl(spec):
    raw = json.loads(spec.to_json())
    del (
        raw["saving"],
        raw["train"]["early_stopping"],
        raw["train"]["schedule"],
        raw["train"]["label_smoothing"],
    )
    del raw["train"]["optimizer"]["clip_norm"], raw["train"]["optimizer"]["weight_decay"]
    del raw["model"]["l1"], raw["model"]["l2"], raw["model"]["initializer"]
    assert RunSpec.from_json(json.dumps(raw)) == replace(spec, saving=SavingSpec(300.0, None, 3))
    saving = SavingSpec(10.0, 500, 1)
    assert RunSpec.from_json(replace(spec, saving=saving).to_json()).saving == saving


@pytest.mark.parametrize(
    ("saving", "message"),
    [
        (SavingSpec(every_s=0), "saving.every_s is 0; expected >= 1"),
        (SavingSpec(every_steps=0), "saving.every_steps is 0; expected >= 1"),
        (SavingSpec(keep=0), "saving.keep is 0; expected >= 1"),
    ],
)
def test_wrong_saving_is_named(spec, saving, message):
    with pytest.raises(SpecError, match=message):
        check_spec(replace(spec, saving=saving))
