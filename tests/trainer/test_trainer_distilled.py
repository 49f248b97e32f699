"""Distillation and a start from another run: exact after an interruption, refused where it misfits."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.errors import DataError
from hpcdl.contract.spec import (
    AdversarialSpec,
    DataSpec,
    DeviceSpec,
    DistillSpec,
    MlpSpec,
    OptimizerSpec,
    PruneSpec,
    SavingSpec,
    StartSpec,
    TrainSpec,
)
from tests.trainer.conftest import each_keras

MLP = MlpSpec(dense=[6])
SAVING = SavingSpec(every_s=1e9, every_steps=3)


@each_keras
def test_distilled_run_is_exact(make_run, run_trainer):
    """Cut before its teacher is through, it ends as the whole one; two replicas learn the same."""
    rate = OptimizerSpec("adam", 0.01)
    teacher = run_trainer(
        make_run(model=MLP, train=TrainSpec(epochs=2, batch_size=20, optimizer=rate))
    )
    assert teacher.status == 0, teacher.stderr
    about = teacher.json("result.json")
    file = teacher.path / about["model"]["file"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    train = TrainSpec(
        epochs=2,
        batch_size=20,
        distill=DistillSpec([str(file), str(file)], 0.7, 3.0, [digest, digest]),
        prune=PruneSpec(0.5),
        adversarial=AdversarialSpec(0.05),
        balance="class_weight",
        label_smoothing=0.1,
    )
    sections = {"model": MLP, "train": train, "saving": SAVING}
    sections["start"] = StartSpec(str(file), digest)
    sections["data"] = DataSpec(path="data.npz", validation_split=0.2)
    whole, cut = run_trainer(make_run(**sections)), make_run(**sections)
    assert whole.status == 0, whole.stderr
    (cut.path / "stop").touch()
    stopped = run_trainer(cut)
    assert stopped.status == 75, stopped.stderr
    assert "stopped on request with the teacher's answers of 38 of 301 images" in stopped.stdout
    (cut.path / "stop").unlink()
    ended = run_trainer(cut, HPCDL_ATTEMPT="2")
    assert ended.status == 0, ended.stderr
    assert "those of 38 of 301 images come from" in ended.stdout
    assert not (cut.path / "teacher.npz").exists()

    arrays = ended.newest_arrays()
    for name, array in whole.newest_arrays().items():
        np.testing.assert_array_equal(arrays[name], array)
    result = ended.json("result.json")
    assert result["test"] == whole.json("result.json")["test"]
    assert result["prune"]["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert result["test"]["accuracy"] >= about["test"]["accuracy"] - 0.05  # it started from there

    two = run_trainer(make_run(devices=DeviceSpec(gpus=2, emulate=True), **sections))
    assert two.status == 0, two.stderr
    shares = [list(run.json("result.json")["prune"]["kernels"].values()) for run in (whole, two)]
    assert shares[0] == shares[1]
    alone, together = (np.load(run.path / "predictions.npz") for run in (whole, two))
    np.testing.assert_allclose(together["probabilities"], alone["probabilities"], atol=1e-4)


@pytest.mark.parametrize("logits", [True, False])
def test_loss_is_that_of_the_formula(tf, logits):
    from hpcdl.trainer.model import distilled

    outputs = np.array([[2.0, 0.0, -1.0], [0.0, 3.0, 1.0]])
    student = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
    answers = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
    numbers = np.array([0, 1])
    given = tf.constant(outputs if logits else np.exp(student), tf.float32)
    labels = tf.constant(np.concatenate([numbers[:, None], answers], 1), tf.float32)

    def softened(values):
        values = np.exp(values / 2)
        return values / values.sum(1, keepdims=True)

    p, q = softened(answers), softened(student)
    soft = 4 * (p * np.log(p / q)).sum(1)
    hard = -student[[0, 1], numbers]
    loss = distilled.loss(DistillSpec("t", 0.9, 2.0), logits, 0.0)
    np.testing.assert_allclose(loss(labels, given), 0.1 * hard + 0.9 * soft, rtol=1e-5)
    np.testing.assert_allclose(loss(tf.constant(numbers), given), hard, rtol=1e-5)
    np.testing.assert_allclose(loss(tf.constant(numbers)[:, None], given), hard, rtol=1e-5)


def test_teachers_that_do_not_fit(tf, tmp_path):
    from types import SimpleNamespace

    from hpcdl.trainer.model import other_runs

    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "model.keras"
    file.write_text("no model")
    taken = {"shape": [6, 6, 1], "range": [0, 255]}
    facts: dict[str, Any] = {"model": {"input": taken, "output": "logits"}, "data": {"classes": 2}}
    facts["data"]["class_names"] = ["cat", "dog"]
    (tmp_path / "result.json").write_text(json.dumps(facts))
    dataset: Any = SimpleNamespace(image_shape=(6, 6, 1), classes=2, class_names=["dog", "cat"])
    with pytest.raises(DataError, match="class 0 of its model is cat; that of the data set is dog"):
        other_runs.find("k", str(file), "", dataset)
    dataset.class_names = []
    other = other_runs.find("k", str(file), "", dataset)
    assert other.logits and math.isclose(other.highest, 255)
    with pytest.raises(DataError, match=r"k: Keras .* cannot load .*model.keras, which Keras"):
        other_runs.load(other, {})
    with pytest.raises(DataError, match="is not the file that was there"):
        other_runs.find("k", str(file), "0" * 64, dataset)
    dataset.image_shape, dataset.classes = (8, 8, 3), 3
    with pytest.raises(DataError) as caught:
        other_runs.find("k", str(file), "", dataset)
    assert "6x6x1; those of this run are 8x8x3" in caught.value.message
    assert "2 classes apart; the data set has 3" in caught.value.message
    with pytest.raises(DataError, match=r"gone\.keras is missing: the run whose"):
        other_runs.find("k", str(tmp_path / "model" / "gone.keras"), "", dataset)
