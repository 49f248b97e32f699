"""predictions.npz: probabilities of the test rows, in order; pictures of the worst mistakes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hpcdl.contract.spec import DataSpec, DeviceSpec, MlpSpec, OptimizerSpec, TrainSpec
from hpcdl.trainer.dataset import load
from hpcdl.trainer.dataset.load import Part
from hpcdl.trainer.files.rundir import RunDir

pytestmark = pytest.mark.tensorflow

TRAIN = TrainSpec(epochs=2, batch_size=20, optimizer=OptimizerSpec(learning_rate=0.003))


@pytest.fixture
def source(tf, arrays):
    from hpcdl.trainer.dataset.source import Source

    return Source(Part(arrays["x_test"][..., None], arrays["y_test"].astype("i4"), 1 / 255))


@pytest.fixture
def build(tf, strategies):
    """A model of three classes under a strategy, with weights large enough to be confident."""

    def make(replicas, output):
        from hpcdl.trainer.model import models

        tf.keras.utils.set_random_seed(1)
        with strategies[replicas].scope():
            model = models.build(MlpSpec(dense=[8], output=output), (10, 10, 1), 3)
        model.set_weights([3 * weight for weight in model.get_weights()])
        return model

    return make


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("output", ["softmax", "logits"])
@pytest.mark.parametrize("batch_rows", [7, 101, 500])
def test_rows_in_order(tf, strategies, build, source, arrays, replicas, output, batch_rows):
    from hpcdl.trainer.fit.predictions import Predictor

    model = build(replicas, output)
    beats = []
    predictor = Predictor(model, strategies[replicas], source, output == "logits", batch_rows)

    found = predictor(np.arange(101, dtype=np.int32), 3, lambda: beats.append(1))

    direct = model(arrays["x_test"][..., None].astype("f4") / 255, training=False)
    direct = tf.nn.softmax(direct) if output == "logits" else direct
    assert (found.dtype, len(beats)) == (np.float32, -(-101 // batch_rows))
    np.testing.assert_allclose(found, direct, atol=1e-6)


def test_pictures_show_worst_mistakes(tf, strategies, build, source, arrays, tmp_path):
    from hpcdl.trainer.fit.predictions import Predictor, write_predictions

    predictor = Predictor(build(1, "softmax"), strategies[1], source, False, 50)

    labels = arrays["y_test"].astype("i4")
    assert (
        write_predictions(predictor, source, labels, 3, RunDir(str(tmp_path / "run.json")))
        == "predictions.npz"
    )

    with np.load(tmp_path / "predictions.npz") as file:
        written = dict(file)
    sure, answers = written["probabilities"].max(axis=1), written["probabilities"].argmax(axis=1)
    wrong = sorted(np.flatnonzero(answers != labels), key=lambda row: -sure[row])
    assert len(wrong) > 24
    assert (written["labels"] == labels).all()
    assert written["picture_rows"].tolist() == wrong[:24]
    assert (written["pictures"] == arrays["x_test"][wrong[:24], ..., None]).all()
    assert {name: array.dtype.name for name, array in written.items()} == {
        "labels": "int32", "probabilities": "float32", "looks": "float32",
        "picture_rows": "int32", "pictures": "uint8",
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heartbeat.json", "predictions.npz"]


@pytest.mark.parametrize("mistakes", [3, 0])
def test_large_pictures_are_shrunk(tf, tmp_path, mistakes):
    from hpcdl.trainer.dataset.source import Source
    from hpcdl.trainer.fit.predictions import Predictor, write_predictions

    labels = np.array([1] * mistakes + [0] * 4, np.int32)
    source = Source(Part(np.full((len(labels), 192, 288, 3), 7, np.uint8), labels, 1 / 255))
    model = lambda images, training: tf.one_hot(tf.zeros(tf.shape(images)[0], tf.int32), 2)  # noqa: E731

    write_predictions(
        Predictor(model, tf.distribute.get_strategy(), source, False, 5),
        source,
        labels,
        2,
        RunDir(str(tmp_path / "r")),
    )

    with np.load(tmp_path / "predictions.npz") as file:
        assert file["pictures"].shape == (mistakes, 64, 96, 3)
        assert (file["pictures"] == 7).all()


def test_predictions_agree_with_accuracy(make_run, run_trainer):
    """Accuracy and loss of predictions.npz are those of result.json."""
    devices = DeviceSpec(gpus=2, emulate=True)
    run = run_trainer(
        make_run(model=MlpSpec(dense=[8], output="logits"), devices=devices, train=TRAIN)
    )

    assert run.status == 0, run.stderr
    with np.load(run.path / "predictions.npz") as file:
        labels, probabilities = file["labels"], file["probabilities"]
    result = run.json("result.json")
    assert probabilities.shape == (101, 3)
    assert (probabilities.argmax(axis=1) == labels).mean() == pytest.approx(
        result["test"]["accuracy"]
    )
    crossentropy = -np.log(probabilities[np.arange(101), labels]).mean()
    assert crossentropy == pytest.approx(result["test"]["loss"], rel=1e-4)
    assert result["timing"]["predict_s"] > 0
    assert result["model"]["depth"] == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda images: images[:, :3, 0, 0] * 5,
        lambda images: images[:, :3, 0, 0] * float("nan"),
        lambda images: images[:, :1, 0, 0] * 0 + 1,
        lambda images: {"scores": images[:, :3, 0, 0]},
        lambda images: images,
    ],
    ids=["no shares", "nan", "one output", "several outputs", "images"],
)
def test_outputs_without_probabilities_are_reported(tf, source, arrays, tmp_path, capsys, answer):
    """Then there is no predictions.npz, and the log says why."""
    from hpcdl.trainer.fit.predictions import Predictor, write_predictions

    predictor = Predictor(
        lambda images, training: answer(images), tf.distribute.get_strategy(), source, False, 50
    )

    assert (
        write_predictions(
            predictor, source, arrays["y_test"], 3, RunDir(str(tmp_path / "run.json"))
        )
        is None
    )

    assert (
        "no predictions.npz: the model's output is not one probability per class"
        in capsys.readouterr().out
    )
    assert not (tmp_path / "predictions.npz").exists()


def test_depth_counts_like_literature(tf):
    from hpcdl.trainer import compat

    vgg16 = tf.keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    model = tf.keras.Sequential(
        [vgg16, tf.keras.layers.Flatten(), tf.keras.layers.BatchNormalization()]
    )
    model.add(tf.keras.layers.Dense(2))

    assert compat.depth(model) == 14  # VGG16's thirteen convolutions, and the classes


def _folder(top, arrays):
    """The test set as files, in folders of each class; one name is not UTF-8."""
    pillow = pytest.importorskip("PIL.Image")
    for part in ("train", "test"):
        for row, label in enumerate(arrays[f"y_{part}"]):
            path = top / f"set/{part}/class {label}/{row:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pillow.fromarray(arrays[f"x_{part}"][row]).save(path)
    os.rename(path, os.fsencode(path.parent) + b"/g\xe4nse.png")
    return top / "set"


def _packed(top, arrays, *options):
    from hpcdl.cli import main

    assert (
        main(
            [
                "data",
                "pack",
                str(_folder(top, arrays)),
                "--to",
                str(top / "out"),
                "--workers",
                "1",
                *options,
            ]
        )
        == 0
    )
    return top / "out"


def _records(top, arrays):
    import tensorflow as tf

    for part in ("train", "test"):
        with tf.io.TFRecordWriter(str(top / f"{part}.tfrecord")) as writer:
            for row, label in enumerate(arrays[f"y_{part}"]):
                content = tf.io.encode_png(arrays[f"x_{part}"][row][..., None]).numpy()
                features = {
                    "image/encoded": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[content])
                    ),
                    "image/filename": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[b"%d.png" % row])
                    ),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
                }
                writer.write(
                    tf.train.Example(
                        features=tf.train.Features(feature=features)
                    ).SerializeToString()
                )
    return top


SETS = {
    "folder": _folder,
    "packed-array": lambda top, arrays: _packed(top, arrays, "--color", "grey"),
    "packed-records": lambda top, arrays: _packed(
        top, arrays, "--color", "grey", "--format", "tfrecord"
    ),
    "records": _records,
}


@pytest.mark.cases("F17", "C41")
@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("make", SETS.values(), ids=SETS)
def test_files_match_their_rows(tf, tmp_path, arrays, make, cache):
    """predictions.npz names the file of each test row, of held images and of streamed ones."""
    from hpcdl.trainer.dataset.source import Source
    from hpcdl.trainer.fit.predictions import Predictor, write_predictions

    loaded = load.load(
        str(make(tmp_path, arrays)), DataSpec(image_size=[10, 10], color="grey", cache=cache)
    )
    source = Source(loaded.test)
    model = lambda images, training: tf.one_hot(tf.zeros(tf.shape(images)[0], tf.int32), 3)  # noqa: E731
    predictor = Predictor(model, tf.distribute.get_strategy(), source, False, 7)
    write_predictions(
        predictor, source, loaded.test.labels, 3, RunDir(str(tmp_path / "r")), loaded.test.files()
    )

    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as file:
        files, labels = file["files"], file["labels"]
    assert files.dtype.kind == "U" and len(set(files)) == 101
    images = np.concatenate(
        [source.take(item)[0] for item in source.each(np.arange(101, dtype=np.int32), 30)]
    )
    for row, name in enumerate(files):
        stem = os.path.basename(name).removesuffix(".png")
        number = 100 if stem == "g\udce4nse" else int(stem)
        assert labels[row] == arrays["y_test"][number]
        np.testing.assert_array_equal(np.rint(images[row] * 255)[..., 0], arrays["x_test"][number])


@pytest.mark.cases("F17")
def test_files_of_split_test_part(tf, tmp_path, arrays):
    top = _folder(tmp_path, arrays) / "train"
    loaded = load.load(str(top), DataSpec(test_split=0.1))
    files = loaded.test.files()
    assert len(files) == 30
    assert [f"class {label}" for label in loaded.test.labels] == [
        name.split("/")[0] for name in files
    ]
    assert all((top / name).is_file() for name in files)
    assert not set(files) & set(loaded.train.files())


@pytest.mark.cases("F17")
def test_arrays_have_no_files(tf, tmp_path, arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    assert load.load(str(tmp_path / "set.npz"), DataSpec()).test.files() == []
