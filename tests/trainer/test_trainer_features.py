"""Features of a frozen backbone: the same results as without them, stored for other runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpcdl.contract import machine
from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import BackboneSpec, DataSpec, TrainSpec
from hpcdl.trainer.dataset.load import Dataset, Part
from hpcdl.trainer.files.rundir import RunDir

pytest.importorskip("tensorflow")

from hpcdl.trainer.dataset import source as batches
from hpcdl.trainer.model.feature_files import remove_features
from hpcdl.trainer.model.features import FeatureStore
from hpcdl.trainer.runtime.devices import Devices
from hpcdl.trainer.session import Session
from tests.trainer.conftest import each_keras

DATA = DataSpec(path="data.npz", image_size=[32, 32], validation_split=0.2)
MODEL = BackboneSpec("VGG16", weights="none", dense=[8], dropout=0.3)
TRAIN = TrainSpec(epochs=3, batch_size=20)
ROWS = {"train": 50, "test": 21}


def numbers(lines):
    """The metrics of each epoch, without times."""
    return [
        [line[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")] for line in lines
    ]


ANSWERS = """
import sys, numpy as np, tensorflow as tf
folder, name = sys.argv[1:]
model = tf.keras.models.load_model(folder + "/model/" + name)
x = tf.image.resize(np.load(folder + "/data.npz")["x_test"][..., None], (32, 32), antialias=True)
np.save(folder + "/answers.npy", model.predict(x, verbose=0))
"""


@pytest.fixture(scope="module")
def stopped(make_run, run_trainer):
    """A run that was asked to stop before it had all features, and what its first attempt left."""
    run = make_run(data=DATA, model=MODEL, train=TRAIN)
    (run.path / "stop").touch()
    found = run_trainer(run)
    (run.path / "stop").unlink()
    return found


@pytest.fixture(scope="module")
def both(stopped, make_run, run_trainer):
    """That run, which goes on and trains on features, and the same one that trains on images."""
    runs = [stopped, make_run(data=DATA, model=replace(MODEL, features="off"), train=TRAIN)]
    runs = [run_trainer(run) for run in runs]
    assert [run.status for run in runs] == [0, 0], [run.stderr for run in runs]
    return runs


@each_keras
def test_stopped_run_keeps_its_features(stopped, both):
    assert stopped.status == 75
    assert (
        "stopped on request with the features of 38 of 402 images; they are saved" in stopped.stdout
    )
    assert "features: those of 38 of 402 images come from " in both[0].stdout


@each_keras
def test_features_give_same_metrics(both):
    fast, plain = both

    assert "features: 364 images through VGG16 in " in fast.stdout
    assert "features: " not in plain.stdout
    np.testing.assert_allclose(
        numbers(fast.metrics()), numbers(plain.metrics()), rtol=2e-4, atol=1e-5
    )
    results = [run.json("result.json") for run in both]
    for name in ("loss", "accuracy"):
        assert results[0]["test"][name] == pytest.approx(results[1]["test"][name], rel=2e-4)
    assert [result["model"]["parameters"] for result in results] == 2 * [14_718_819]
    assert [result["model"]["trainable_parameters"] for result in results] == 2 * [4_131]
    assert results[0]["timing"]["features_s"] > 0
    log = (
        "14,718,819 parameters, 4,131 of them train; frozen: all 13 layers with weights of vgg16\n"
    )
    assert all(log in run.stdout for run in both)


@each_keras
def test_saved_model_answers_like_run(both, run_program):
    """The saved model takes images, not features."""
    fast = both[0]
    name = Path(fast.json("result.json")["model"]["file"]).name

    run_program(ANSWERS, fast.path, name)

    predictions = [np.load(run.path / "predictions.npz") for run in both]
    answers = np.load(fast.path / "answers.npy")
    np.testing.assert_allclose(answers, predictions[0]["probabilities"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(answers, predictions[1]["probabilities"], rtol=1e-3, atol=1e-5)
    assert predictions[0]["pictures"].shape[1:] == (32, 32, 1)
    assert (predictions[0]["looks"] == predictions[1]["looks"]).all()
    assert predictions[0]["looks"][:, 0].std() > 0  # brightness
    assert not (fast.path / "features.npz").exists()


@pytest.fixture(scope="module")
def frozen(tf):
    """A model that gives 5 features of each 4x4 image, with batch normalisation."""
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(1)
    images = tf.keras.Input((4, 4, 1))
    x = layers.BatchNormalization()(layers.Conv2D(5, 3)(images))
    made = tf.keras.Model(images, layers.GlobalAveragePooling2D()(x))
    made.set_weights(
        [np.random.default_rng(1).uniform(0.5, 1.5, weight.shape) for weight in made.get_weights()]
    )
    return made


class Work:
    """The features of one small data set in a run folder, and what the log said."""

    def __init__(self, spec, strategies, frozen, folder, capsys):
        self.run = replace(
            spec, model=replace(MODEL, features_cache=None), train=replace(TRAIN, batch_size=4)
        )
        self.strategies, self.frozen, self.capsys = strategies, frozen, capsys
        self.run_dir = RunDir(str(folder / "run.json"))
        folder.mkdir()
        random = np.random.default_rng(1)
        self.images = {
            part: random.integers(0, 256, (rows, 4, 4, 1), np.uint8) for part, rows in ROWS.items()
        }

    def __call__(self, replicas=1, **settings):
        run = replace(self.run, model=replace(self.run.model, **settings))
        labels = {part: np.arange(rows, dtype=np.int32) % 3 for part, rows in ROWS.items()}
        train, test = (Part(self.images[part], labels[part], 1 / 255) for part in ("train", "test"))
        dataset = Dataset("data", train, test, (4, 4, 1), 3)
        devices = Devices(self.strategies[replicas], "", replicas, [], True)
        session = Session(run, dataset, devices, self.run_dir, {})
        store = FeatureStore(session, self.frozen)
        self.sources = store.features_of(batches.Source(train), batches.Source(test))
        rows = [np.arange(count, dtype=np.int32) for count in ROWS.values()]
        taken = [
            source.take(next(source.each(all_rows, 100)))
            for source, all_rows in zip(self.sources, rows, strict=True)
        ]
        self.log = self.capsys.readouterr().out
        assert [list(part[1].numpy()) for part in taken] == [list(part) for part in labels.values()]
        return [part[0].numpy() for part in taken]

    def expected(self):
        return [
            self.frozen(self.images[part] / np.float32(255), training=False).numpy()
            for part in ROWS
        ]


@pytest.fixture
def work(spec, strategies, frozen, tmp_path, capsys):
    return Work(spec, strategies, frozen, tmp_path / "run", capsys)


def same(ours, theirs, **tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, **tolerance)


@pytest.mark.parametrize("replicas", [1, 2])
def test_features_match_their_rows(work, replicas):
    same(work(replicas), work.expected(), rtol=1e-4, atol=1e-6)
    assert "features: 71 images through VGG16 in " in work.log
    assert "images/s), 5 values each, 0 MB" in work.log


@pytest.mark.parametrize("replicas", [1, 2])
def test_large_features_are_not_kept(work, monkeypatch, replicas):
    """Features that do not fit into memory are computed in each epoch."""
    monkeypatch.setattr(machine, "fits", lambda size: size < 2 * 4 * 71 * 5)

    same(work(replicas), work.expected(), rtol=1e-4, atol=1e-6)
    assert "features: 0 MB for 71 images do not fit into memory" in work.log
    assert not list(Path(work.run_dir.folder).iterdir())


def test_computed_features_have_class_numbers(work, monkeypatch):
    """The weights of classes need them."""
    monkeypatch.setattr(machine, "fits", lambda size: False)
    work()
    source = work.sources[0]

    _, labels = source.take(np.arange(4, dtype=np.int32))

    assert list(source.class_numbers(labels).numpy()) == [0, 1, 2, 0]


@pytest.mark.parametrize("fits", [True, False])
def test_features_with_a_teacher(work, monkeypatch, fits):
    """Rows of features, stored or computed, have the teacher's answers for their images."""
    monkeypatch.setattr(machine, "fits", lambda size: fits)
    work()
    source = work.sources[0]
    answers = np.random.default_rng(1).normal(size=(ROWS["train"], 3)).astype(np.float32)
    rows = np.array([7, 0, 42], np.int32)

    taught = source.taught(answers)
    features, labels = taught.take(rows)

    np.testing.assert_array_equal(features, source.take(rows)[0])
    np.testing.assert_array_equal(labels[:, 1:], answers[rows])
    assert list(taught.class_numbers(labels).numpy()) == [1, 0, 0]


def test_later_attempt_reuses_features(work):
    """They lie in the run folder until the run is over."""
    first = work()
    again = work()

    same(first, again, rtol=0)
    assert "features: those of 71 of 71 images come from" in work.log
    assert "images/s" not in work.log
    remove_features(work.run_dir)
    assert not (Path(work.run_dir.folder) / "features.npz").exists()


def test_other_run_reuses_cached_features(work, spec, strategies, frozen, tmp_path, capsys):
    cache = tmp_path / "cache" / "mine"
    first = work(features_cache=str(cache))
    other = Work(spec, strategies, frozen, tmp_path / "other", capsys)

    same(other(features_cache=str(cache)), first, rtol=0)
    assert f"features: those of 71 of 71 images come from {cache}/" in other.log
    assert [path.suffix for path in cache.iterdir()] == [".npz"]
    assert not (Path(work.run_dir.folder) / "features.npz").exists()


def other_image(work):
    work.images["test"][20, 3, 3] ^= 1


def other_order(work):
    work.images["train"] = work.images["train"][::-1].copy()


def other_weights(work):
    first, *others = work.frozen.get_weights()
    work.frozen.set_weights([first + 0.1, *others])


def other_network(work):
    work.run = replace(work.run, model=replace(work.run.model, backbone="VGG19"))


@pytest.mark.parametrize("change", [other_image, other_order, other_weights, other_network])
def test_features_of_other_spec_are_unused(work, tmp_path, change):
    work(features_cache=str(tmp_path / "cache"))
    change(work)

    same(work(features_cache=str(tmp_path / "cache")), work.expected(), rtol=1e-4, atol=1e-6)
    assert "features: 71 images through VGG1" in work.log
    assert len(list((tmp_path / "cache").iterdir())) == 2


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)


def hash_of_others(path):
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **{**arrays, "values": arrays["values"] + 1})


@pytest.mark.parametrize("damage", [cut_short, one_bit, hash_of_others])
def test_damaged_features_are_computed_again(work, damage):
    first = work()
    file = Path(work.run_dir.folder) / "features.npz"
    damage(file)

    same(work(), first, rtol=0)
    assert f"features: {file} is not used: " in work.log
    assert "features: 71 images through VGG16" in work.log
    work()
    assert "come from" in work.log


def test_unwritable_features_cache_is_harmless(work, tmp_path):
    """The features are kept in the run folder instead."""
    (tmp_path / "file").touch()

    same(
        work(features_cache=str(tmp_path / "file" / "cache")), work.expected(), rtol=1e-4, atol=1e-6
    )
    assert f"features: cannot be kept in {tmp_path}/file/cache/" in work.log
    assert (Path(work.run_dir.folder) / "features.npz").exists()


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("stop_after", [1, 4, 7, 9])
def test_stopped_features_continue(work, monkeypatch, replicas, stop_after):
    """No batch of images passes the backbone twice."""
    whole = work(replicas)
    remove_features(work.run_dir)
    asked = iter(range(100))
    monkeypatch.setattr(work.run_dir, "stop_requested", lambda: next(asked) == stop_after - 1)

    with pytest.raises(
        Stopped, match=r"with the features of \d+ of 71 images; they are saved"
    ) as stopped:
        work(replicas)
    heartbeat = json.loads((Path(work.run_dir.folder) / "heartbeat.json").read_text())
    assert f"features of {heartbeat['saved_images']} of 71" in str(stopped.value)
    same(work(replicas), whole, rtol=0)

    assert "of 71 images come from" in work.log
    assert "features: 71 images through" not in work.log
    assert next(asked) == 10  # ten batches in all: none was made twice


def test_unsaved_features_are_reported(work, monkeypatch):
    """When the features cannot be saved at a stop, the message says so."""
    (Path(work.run_dir.folder) / "features.npz").mkdir(parents=True)
    monkeypatch.setattr(work.run_dir, "stop_requested", lambda: True)

    with pytest.raises(
        Stopped, match=r"of 71 images; they could not be saved, .*, I go on from 0$"
    ):
        work()

    heartbeat = json.loads((Path(work.run_dir.folder) / "heartbeat.json").read_text())
    assert heartbeat["saved_images"] == 0
    assert (
        f"features: cannot be kept in {work.run_dir.folder}/features.npz: "
        in work.capsys.readouterr().out
    )
