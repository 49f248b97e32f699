"""TensorBoard's own reader finds in the logs what metrics.jsonl says, whatever happened on the way.

The first part imports no TensorFlow, so that it runs against the Python of a container.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from hpcdl.contract.spec import DataSpec, FunctionSpec, SavingSpec, TrainSpec
from hpcdl.trainer.files.rundir import RunDir
from tests.trainer.conftest import each_keras

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore"),
]  # what TensorBoard warns of is not ours

KILLED_ON_THE_WAY = '''
"""A model that kills its trainer at a training step, when a checkpoint is there."""
import glob
import os
import signal
import time

import tensorflow as tf

CALLS = []


def note():
    CALLS.append(1)
    if len(CALLS) == int(os.environ.get("KILL_AT_CALL", "0")):
        while not glob.glob(os.path.join(os.path.dirname(__file__), "checkpoints", "*.npz")):
            time.sleep(0.01)  # it is written by a thread
        os.kill(os.getpid(), signal.SIGKILL)


class Watched(tf.keras.layers.Layer):
    def call(self, inputs, training=None):
        if training:
            tf.numpy_function(note, [], [])
        return tf.identity(inputs)


def model(input_shape, classes):
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [tf.keras.Input(input_shape), Watched(), layers.Flatten(), layers.Dense(classes, activation="softmax")]
    )
'''


def logged(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The curves of one TensorBoard run, by tag (time, step, value), and its texts."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    assert len(list(folder.iterdir())) == 1, "one file, and no rest of another"
    events = accumulator.EventAccumulator(str(folder), purge_orphaned_data=False)
    events.Reload()
    curves, texts = {}, {}
    for tag in events.Tags()["tensors"]:
        plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
        points = [
            (one.wall_time, one.step, make_ndarray(one.tensor_proto).item())
            for one in events.Tensors(tag)
        ]
        if plugin == "scalars":
            curves[tag] = points
        else:
            assert (plugin, len(points)) == ("text", 1)
            texts[tag] = points[0][2].decode()
    return curves, texts


def expected(lines: list[dict[str, Any]], validation: bool) -> dict[str, Any]:
    names = [name for name in lines[0] if name not in ("epoch", "steps", "time")]
    chosen = [name for name in names if name.startswith("val_") == validation]
    return {
        "epoch_" + name.removeprefix("val_"): [
            (line["time"], line["epoch"], pytest.approx(line[name], rel=1e-6)) for line in lines
        ]
        for name in chosen
    }


@each_keras
def test_killed_run_logs_epochs_once(make_run, run_trainer):
    folder = make_run(
        model=FunctionSpec("killed:model"),
        data=DataSpec(path="data.npz", validation_split=0.2),
        train=TrainSpec(epochs=5, batch_size=24, tensorboard=True),
        saving=SavingSpec(every_steps=25),  # of 10 in an epoch: the third one is trained twice
    )
    (folder.path / "killed.py").write_text(KILLED_ON_THE_WAY)
    killed = run_trainer(folder, KILL_AT_CALL="35")
    assert len(killed.metrics()) == 3, killed.stderr
    steps = [point[1] for point in logged(folder.path / "tensorboard/train")[0]["epoch_loss"]]
    assert steps == [1, 2, 3], "an epoch is there as soon as it has ended"
    ended = run_trainer(folder, HPCDL_ATTEMPT="2")
    assert ended.status == 0, ended.stderr
    assert "resuming from" in ended.stdout
    assert len(ended.metrics()) == 5

    curves, texts = logged(folder.path / "tensorboard/train")
    assert curves == expected(ended.metrics(), validation=False)
    assert set(curves) >= {
        "epoch_loss",
        "epoch_accuracy",
        "epoch_learning_rate",
        "epoch_images_per_s",
    }
    shown = "".join(line.removeprefix("    ") for line in texts["run.json"].splitlines(True))
    assert json.loads(shown) == ended.json("run.json")
    curves, texts = logged(folder.path / "tensorboard/validation")
    assert curves == expected(ended.metrics(), validation=True)
    assert set(curves) == {"epoch_loss", "epoch_accuracy"}
    assert not texts


def line_of(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "steps": 3,
        "time": 1000.0 + epoch,
        "loss": 1 / epoch,
        "accuracy": float("nan"),
    }


def test_unwritable_tensorboard_logs_are_harmless(tf, tmp_path, capsys):
    """Epochs that could not be logged come later, when writing works again."""
    from hpcdl.trainer.files.tensorboard import epoch_logs

    run_dir = RunDir(str(tmp_path / "run.json"))
    logs = tmp_path / "tensorboard"
    run_dir.on_epoch = epoch_logs(run_dir, str(logs), "{}")
    logs.write_text("in the way")
    run_dir.append_metrics(line_of(1))
    assert "TensorBoard's logs cannot be written" in capsys.readouterr().out
    logs.unlink()
    run_dir.append_metrics(line_of(2))
    run_dir.append_metrics(line_of(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (file,) = (logs / "train").iterdir()
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (file.stat().st_size + 10, before[1])
    )  # part of the next event fits
    try:
        run_dir.on_epoch(line_of(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capsys.readouterr().out == "", "it was said once"
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(line_of(epoch)) + "\n" for epoch in (1, 2, 3, 4))
    )
    run_dir.append_metrics(line_of(5))

    curves, _ = logged(logs / "train")
    assert curves["epoch_loss"] == [(1000.0 + n, n, pytest.approx(1 / n)) for n in (1, 2, 3, 4, 5)]
    assert "epoch_accuracy" not in curves, "what is no number is no point"
