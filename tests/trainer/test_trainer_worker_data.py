"""Sets of every kind on two workers: each reads its share, and the result is that of one process."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hpcdl.cli
from hpcdl.contract.spec import BackboneSpec, DataSpec, DeviceSpec, TrainSpec
from tests.trainer.pair import fork_workers
from tests.trainer.test_trainer_images import save_rows
from tests.trainer.test_trainer_records import write_records

pytestmark = pytest.mark.tensorflow
Image = pytest.importorskip("PIL.Image")
# Workers read the same rows under each Keras: test_trainer_workers compares the Kerases
on_host = pytest.mark.parametrize("trainer_command", ["host"], indirect=True, scope="session")

TRAIN = TrainSpec(epochs=2, batch_size=20)
TWO = DeviceSpec(gpus=2, emulate=True)
STREAMED = DataSpec(path="set", image_size=[32, 32], cache="none", validation_split=0.2)
PACKED = DataSpec(path="packed", color="grey", cache="none")
RECORDS = DataSpec(path="records", color="grey", image_size=[10, 10], validation_split=0.2)
KINDS: dict[str, dict[str, Any]] = {
    "streamed-features": {
        "data": STREAMED,
        "model": BackboneSpec("VGG16", weights="none", dense=[8]),
        "train": TRAIN,
    },
    "packed-folds": {"data": PACKED, "train": replace(TRAIN, cross_validation=2)},
    "records": {"data": RECORDS, "train": TRAIN},
}
FUNCTION = """
import os
import numpy as np
import tensorflow as tf


def data():
    arrays = np.load(os.path.join(os.path.dirname(__file__), "data.npz"))
    bright = tf.minimum(tf.constant(arrays["x_train"]), 200).numpy()
    return (bright, arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
"""


@pytest.fixture(scope="module")
def sets(tf, tmp_path_factory, arrays):
    """One data set as a folder of images, packed, and as TFRecords."""
    top = tmp_path_factory.mktemp("sets")
    (top / "records").mkdir()
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        save_rows(top / "set" / part, images, labels)
        rows = []
        for image, label in zip(images, labels, strict=True):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "png")
            rows.append({"image": file.getvalue(), "label": int(label)})
        write_records(tf, top / "records" / f"{part}.tfrecord", rows)
    assert hpcdl.cli.main(["data", "pack", str(top / "set"), "--to", str(top / "packed")]) == 0
    return top


@on_host
@pytest.mark.parametrize("kind", KINDS)
def test_workers_share_each_kind(kind, sets, make_run, run_trainer, forked_trainers):
    sections = dict(KINDS[kind])
    sections["data"] = replace(sections["data"], path=str(sets / sections["data"].path))

    one = run_trainer(make_run(devices=TWO, **sections))
    folder = make_run(devices=replace(TWO, gpus=1), **sections).path
    workers = fork_workers(forked_trainers, folder, 2)

    assert one.status == 0, one.stderr
    assert [worker.status for worker in workers] == [0, 0], workers[0].stderr + workers[1].stderr
    results = [run.json("result.json") for run in (one, workers[0])]
    assert results[1]["test"] == pytest.approx(results[0]["test"], rel=1e-3)
    assert results[1]["data"] == results[0]["data"]
    answers = []
    for run in (one, workers[0]):
        path = next(run.path.rglob("predictions.npz"))
        answers.append(np.load(path.with_name("predictions.npz")))
    np.testing.assert_array_equal(answers[1]["labels"], answers[0]["labels"])
    np.testing.assert_allclose(answers[1]["probabilities"], answers[0]["probabilities"], atol=2e-3)


@on_host
def test_function_may_use_tensorflow(make_run, run_trainer):
    """The devices are chosen before its first operation starts them."""
    run = make_run(data=DataSpec(function="bright:data"), train=TRAIN, devices=TWO)
    (run.path / "bright.py").write_text(FUNCTION)

    run = run_trainer(run)

    assert run.status == 0, run.stderr
    assert run.json("result.json")["devices"]["replicas"] == 2
