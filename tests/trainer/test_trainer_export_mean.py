"""Several runs exported as one model: their mean, also where each needs its own code."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hpcdl.contract.spec import FunctionSpec, TrainSpec
from hpcdl.report.together import together
from hpcdl.trainer.files.hashes import sha256_of
from tests.trainer.conftest import REPOSITORY

# Two runs have other files of the same names; a layer imports one when it is called
MODEL = """
import tensorflow as tf

layers = tf.keras.layers


class Stretched(layers.Layer):
    def call(self, inputs):
        import strength
        return inputs * strength.FACTOR


def net(shape, classes):
    last = layers.Dense(classes, "softmax")
    return tf.keras.Sequential([tf.keras.Input(shape), Stretched(), layers.Flatten(), last])
"""
on_host = pytest.mark.parametrize("trainer_command", ["host"], indirect=True, scope="session")
KINDS = ["saved_model", "tflite", "int8", "page", "h5"]


@pytest.fixture(scope="module")
def members(make_run, run_trainer):
    runs = []
    for seed, factor in enumerate((1.0, -3.0)):
        train = TrainSpec(epochs=2, batch_size=20, seed=seed)
        run = make_run(model=FunctionSpec("mine:net"), train=train)
        (run.path / "mine.py").write_text(MODEL)
        (run.path / "strength.py").write_text(f"FACTOR = {factor}\n")
        run = run_trainer(run)
        assert run.status == 0, run.stderr
        runs.append(run)
    return runs


@pytest.fixture(scope="module")
def exported(members):
    """The folder of the mean, in that of the second run."""
    second = members[1].path
    (second / "export").mkdir()
    (second / "export" / "export.json").write_text("its own")
    argv = [sys.executable, "-m", "hpcdl.trainer.export", str(second / "run.json"), *KINDS]
    argv += ["--mean", "mean-of-2"]
    for member in members:
        argv += ["--member", str(member.path / "run.json"), str(member.path)]
    path = os.pathsep.join([str(REPOSITORY), str(second)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (second / "export" / "export.json").read_text() == "its own"
    return second / "export" / "mean-of-2"


@on_host
@pytest.mark.tensorflow
def test_mean_of_runs_is_one_model(members, exported):
    each = []
    for member in members:
        with np.load(member.path / "predictions.npz") as file:
            labels, probabilities = file["labels"], file["probabilities"]
        each.append(probabilities)
    compared = together(labels, each)
    rows = {row["kind"]: row for row in json.loads((exported / "export.json").read_text())["kinds"]}
    about = json.loads((exported / "model.json").read_text())

    assert compared.disagreement > 0.05  # else a mean is nothing to look for
    for kind in ("saved_model", "tflite"):
        assert rows[kind]["difference"] < 1e-6
        assert rows[kind]["agreement"] == 1
        assert rows[kind]["accuracy"] == compared.mean.accuracy
    assert about["test"]["accuracy"] == compared.mean.accuracy
    assert rows["int8"]["agreement"] > 0.9
    assert rows["page"]["difference"] < 0.001
    assert "holds one model" in rows["h5"]["why"]
    assert (about["name"], about["runs"]) == ("test-mean", [run.path.name for run in members])


@on_host
@pytest.mark.tensorflow
def test_rows_name_members(members, exported):
    rows = json.loads((exported / "export.json").read_text())["kinds"]

    for row in rows:
        if "why" in row:
            continue
        assert [member["run"] for member in row["members"]] == [run.path.name for run in members]
        for member, run in zip(row["members"], members, strict=True):
            assert member["sha256"] == sha256_of(str(run.path / member["file"]))
