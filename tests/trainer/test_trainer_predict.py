"""A folder of new images is predicted as the training saw its own, and a kill changes nothing."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.predict_spec import Member, PredictSpec
from hpcdl.contract.spec import DataSpec, FunctionSpec, TrainSpec
from hpcdl.trainer.predict.heat import heat_maps
from hpcdl.trainer.predict.tryout import try_out
from tests.trainer.conftest import REPOSITORY, RunFolder, each_keras

Image = pytest.importorskip("PIL.Image")
# Keras 3 reads its variables as numpy 2 does not like it any more
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CLASSES = ["cat", "dog", "hen"]
MODEL = '''
"""A user's model, with a layer of its own."""
import tensorflow as tf


class Times(tf.keras.layers.Layer):
    def call(self, inputs):
        return inputs * 3.0


def small(shape, classes):
    layers = tf.keras.layers
    first = [tf.keras.Input(shape), Times(), layers.Flatten()]
    return tf.keras.Sequential([*first, layers.Dense(classes, "softmax")])
'''


def write_image(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def write_odd_files(folder: Path) -> None:
    """What people have among their images."""
    noise = np.random.default_rng(3).integers(0, 255, (60, 60, 4))
    write_image(folder / "alpha.png", noise)
    write_image(folder / "one.png", np.full((12, 12, 3), 9))
    write_image(folder / "small.png", noise[:4, :4, :3])
    write_image(folder / "wide.jpg", noise[:14, :, :3])
    write_image(folder / "=1+1.png", noise[:12, :12, :3])
    Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12)).save(folder / "deep.png")
    whole = (folder / "alpha.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:100])
    damaged = bytearray(whole)
    damaged[200:204] = b"\0\1\2\3"
    (folder / "damaged.png").write_bytes(damaged)
    (folder / "film.mp4").write_bytes(b"\0\0\0\x20ftypmp42")
    (folder / "notes.txt").write_text("who took them")
    (folder / "nowhere.png").symlink_to("/nowhere.png")


@pytest.fixture(scope="module")
def trained(make_run, run_trainer):
    """A run of a user's model on a folder of images, in which test has names and odd sizes."""
    random = np.random.default_rng(1)
    run = make_run(
        data=DataSpec(path="images", image_size=[12, 12]),
        model=FunctionSpec("my:small"),
        train=TrainSpec(epochs=1, batch_size=20),
        export=["tflite"],
    )
    for label, name in enumerate(CLASSES):
        for number in range(30):
            pixels = random.integers(0, 90, (14, 13, 3))
            pixels[4 * label : 4 * label + 4] += 150
            part = "test" if number < 20 else "train"
            write_image(run.path / "images" / part / name / f"{number:02}.png", pixels)
    (run.path / "user").mkdir()
    for place in (run.path, run.path / "user"):
        (place / "my.py").write_text(MODEL)
    ended = run_trainer(run)
    assert ended.status == 0, ended.stderr
    (run.path / "my.py").unlink()  # what predicts has the frozen copy alone
    return ended


def member(trained: RunFolder) -> Member:
    model = trained.json("result.json")["model"]
    keys = {key: model[key] for key in ("file", "output", "needs")}
    shape, high = model["input"]["shape"], model["input"]["range"][1]
    user = str(trained.path / "user")
    return Member(run=str(trained.path), shape=shape, white=high, user=user, **keys)


@pytest.fixture(scope="module")
def predict(trainer_command, tmp_path_factory):
    """Starts the trainer on a prediction in a new run folder."""

    def start(spec: PredictSpec, folder: Path | None = None) -> tuple[Any, Path]:
        if folder is None:
            folder = tmp_path_factory.mktemp("prediction")
            (folder / "predict.json").write_text(spec.to_json())
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HPCDL_LIFELINE": "stdin"}
        argv = [*trainer_command, "predict", str(folder / "predict.json")]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log)
        return process, folder

    return start


def ended(process: Any, folder: Path) -> int:
    """The exit status; stdin stays open until then, as launch keeps it."""
    status = process.wait(timeout=200)
    process.stdin.close()
    assert status in (0, 75), (folder / "log").read_text()
    return int(status)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@each_keras
def test_killed_prediction_has_same_csv(trained, predict):
    images = trained.path / "images" / "test"
    write_odd_files(images)
    spec = PredictSpec("p", str(images), CLASSES, [member(trained)], block_images=2)
    process, whole = predict(spec)
    assert ended(process, whole) == 0
    process, folder = predict(spec)
    blocks = folder / "blocks"
    until = time.monotonic() + 120
    while not (blocks / "000002.npz").exists() and time.monotonic() < until:
        time.sleep(0.002)
    process.stdin.close()  # launch is gone: the trainer is killed at once
    assert process.wait(timeout=180) != 0
    saved = len(list(blocks.glob("*.npz")))
    (images / "late.png").write_bytes((images / "one.png").read_bytes())
    (folder / "stop").touch()
    process, _ = predict(spec, folder)
    assert 3 <= saved < 35
    assert ended(process, folder) == 75
    assert json.loads((folder / "heartbeat.json").read_text())["saved_images"] >= 2 * saved + 2
    (folder / "stop").unlink()
    process, _ = predict(spec, folder)
    assert ended(process, folder) == 0

    for name in ("predictions.csv", "unusable.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert not blocks.exists()
    check_answers(trained, whole)
    check_odd_files(whole)
    (images / "late.png").unlink()
    check_exported(trained, predict, spec, whole)


def check_exported(trained: RunFolder, predict: Any, spec: PredictSpec, whole: Path) -> None:
    """The exported model gives the same answers; blocks of TensorFlow are not mixed with its own."""
    lite = replace(spec.members[0], lite="export/model.tflite")
    exported = replace(spec, members=[lite], block_images=20)
    process, undisturbed = predict(exported)
    assert ended(process, undisturbed) == 0
    folder = undisturbed.with_name(undisturbed.name + "-killed")
    (folder / "blocks" / "000001.npz" / "in the way").mkdir(parents=True)  # so it waits there
    (folder / "predict.json").write_text(exported.to_json())
    process, _ = predict(exported, folder)
    until = time.monotonic() + 120
    while "000001.npz cannot be written" not in (folder / "log").read_text():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.stdin.close()  # it kills itself with SIGKILL
    assert process.wait(timeout=60) != 0
    shutil.rmtree(folder / "blocks" / "000001.npz")
    process, _ = predict(exported, folder)
    assert ended(process, folder) == 0

    for name in ("predictions.csv", "unusable.csv"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
    assert json.loads((folder / "result.json").read_text())["engine"] == "litert"
    assert "20 of 71 files are done already" in (folder / "log").read_text()
    assert (folder / "unusable.csv").read_bytes() == (whole / "unusable.csv").read_bytes()
    with (
        np.load(whole / "predictions.npz") as expected,
        np.load(folder / "predictions.npz") as new,
    ):
        assert np.abs(new["probabilities"] - expected["probabilities"]).max() < 1e-5
        for name in ("files", "looks", "pictures", "heat_rows"):
            assert (new[name] == expected[name]).all()
        assert new["heat"].shape == expected["heat"].shape  # a slow moment may make it coarser


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (lambda: None, ""),
        (os.abort, "it was ended by SIGABRT"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "it was ended by SIGSEGV"),
        (lambda: time.sleep(60), "it did not end within 1 s"),
        (lambda: 1 // 0, "ZeroDivisionError: integer division or modulo by zero"),
        (lambda: os._exit(3), "it ended with 3"),
    ],
)
def test_crash_stays_in_tryout(work, why):
    assert try_out(work, 1.0) == why


def test_library_that_crashes_is_avoided(tmp_path, monkeypatch, capsys):
    """Its try-out ends, not the prediction, which TensorFlow does."""
    from hpcdl.trainer.predict import engine, lite

    monkeypatch.setattr(lite, "_library", os.abort)
    other: Any = object()
    monkeypatch.setattr(engine, "_tensorflow", lambda spec, names: other)
    exported = Member(str(tmp_path), "m", [4, 4, 3], 255.0, lite="m.tflite")
    spec = PredictSpec("p", str(tmp_path), CLASSES, [exported])

    assert engine.choose_engine(spec, []) is other

    assert capsys.readouterr().out == (
        "TensorFlow predicts, not the exported model alone: its try-out failed: it was ended by "
        "SIGABRT\n"
    )


def test_blocks_of_another_engine(tmp_path):
    from hpcdl.trainer.files.rundir import RunDir
    from hpcdl.trainer.predict.blocks import Answers, Blocks

    blocks = Blocks(RunDir(str(tmp_path / "predict.json"), 1, None))
    blocks.keep_files(["a.png"])
    blocks.begin("litert")
    blocks.save(0, Answers(np.zeros(1, int), np.ones((1, 1)), np.zeros((1, 5)), [""], {}, 0.1))
    blocks.begin("litert")
    assert blocks.done() == 1
    blocks.begin("tensorflow")
    assert (blocks.done(), blocks.files()) == (0, ["a.png"])


def check_answers(trained: RunFolder, prediction: Path) -> None:
    """The test's own images have the answers of the training's test."""
    with (
        np.load(trained.path / "predictions.npz") as test,
        np.load(prediction / "predictions.npz") as new,
    ):
        places = {str(name): place for place, name in enumerate(new["files"])}
        of_test = [places[os.path.relpath(name, "test")] for name in map(str, test["files"])]
        assert len(of_test) == 60
        assert np.abs(new["probabilities"][of_test] - test["probabilities"]).max() < 1e-6
        assert (new["looks"][of_test] == test["looks"]).all()
        assert new["pictures"].shape == (24, 12, 12, 3)
        confidence = new["probabilities"].max(axis=1)
        assert confidence[new["picture_rows"]].tolist() == sorted(confidence)[:24]
        assert (new["heat_rows"] == new["picture_rows"]).all()
        assert new["heat"].shape == (24, 12, 12)
        assert new["heat"].max() == 255
    result = json.loads((prediction / "result.json").read_text())
    assert (result["images"], result["unusable"]) == (65, 6)
    assert sum(result["answers"].values()) == 65


def check_odd_files(prediction: Path) -> None:
    notes = {row["file"]: row["notes"] for row in rows_of(prediction / "predictions.csv")}
    assert notes["cat/00.png"] == ""
    assert "transparency" in notes["alpha.png"]
    assert notes["one.png"] == "has one colour only"
    assert "4x4" in notes["small.png"]
    assert "squeezed" in notes["wide.jpg"]
    assert "./=1+1.png" in notes
    why = {row["file"]: row["why"] for row in rows_of(prediction / "unusable.csv")}
    assert sorted(why) == [
        "cut.png", "damaged.png", "deep.png", "film.mp4", "notes.txt", "nowhere.png",
    ]  # fmt: skip
    assert "cut short" in why["cut.png"]
    assert why["damaged.png"].startswith("cannot be decoded: Invalid PNG")
    assert "16 bits" in why["deep.png"]
    assert "video" in why["film.mp4"]


def bright_corner(images: Any) -> Any:
    """A model that looks at the top left quarter alone, and is sure where that is bright."""
    bright = images[:, :10, :10].mean(axis=(1, 2, 3)) / 255
    return np.stack([bright, 1 - bright], axis=1).astype(np.float32)


def test_heat_is_where_model_looks():
    images = np.zeros((2, 20, 20, 3), np.uint8)
    images[:, :10, :10] = 200

    about, heat = heat_maps(bright_corner, images, lambda: None)

    assert about.pop("fall") > 2 * about.pop("random_fall") > 0
    assert about == {"method": "occlusion", "images": 2, "side": 0.2}
    assert (heat.shape, heat.dtype) == ((2, 20, 20), np.uint8)
    assert heat[:, :8, :8].min() > 100
    assert heat[:, 13:, :].max() == heat[:, :, 13:].max() == 0


@pytest.mark.parametrize(
    ("pass_s", "about"),
    [
        (0.5, {"images": 24, "side": 0.2}),
        (0.9, {"images": 24, "side": 0.3}),
        (10.0, {"images": 5, "side": 0.5, "left_out": 19}),
        (
            70.0,
            {
                "images": 0,
                "problem": "a map would take 1960 s, and all of them together may take 1500 s",
            },
        ),
    ],
)
def test_slow_model_has_coarser_heat(monkeypatch, pass_s, about):
    """A clock that only the model moves."""
    from hpcdl.trainer.predict import heat

    now_s = [0.0]

    def slow(images: Any) -> Any:
        now_s[0] += pass_s * len(images)
        return bright_corner(images)

    monkeypatch.setattr(heat, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    images = np.zeros((24, 20, 20, 3), np.uint8)

    if about["images"]:
        about = {**about, "fall": 0.0, "random_fall": 0.0}
    assert heat_maps(slow, images, lambda: None, 1500.0)[0] == {"method": "occlusion", **about}


def test_model_that_fails_has_no_heat():
    def failing(images: Any) -> Any:
        raise ValueError("no such\nlayer")

    about, heat = heat_maps(failing, np.zeros((2, 20, 20, 3), np.uint8), lambda: None)

    assert (about["problem"], len(heat)) == ("ValueError: no such layer", 0)


def test_several_models_give_their_mean(tf, tmp_path):
    from hpcdl.trainer.predict.members import Ensemble

    images = np.random.default_rng(0).integers(0, 255, (5, 4, 4, 1)).astype(np.uint8)
    members, answers = [], []
    for name, output in (("a", "softmax"), ("b", "logits")):
        layers = [tf.keras.Input((4, 4, 1)), tf.keras.layers.Flatten()]
        last = tf.keras.layers.Dense(3, "softmax" if output == "softmax" else None)
        model = tf.keras.Sequential([*layers, last])
        (tmp_path / name).mkdir()
        model.save(tmp_path / name / "model.keras")
        members.append(Member(str(tmp_path / name), "model.keras", [4, 4, 1], 1.0, output))
        outputs = model(tf.constant(images / np.float32(255)))
        answers.append(tf.nn.softmax(outputs) if output == "logits" else outputs)

    mean = Ensemble(PredictSpec("p", "", CLASSES, members))(images)

    assert np.abs(mean - np.mean(answers, axis=0)).max() < 1e-6


def test_weights_alone_need_the_function(tf, tmp_path, spec):
    from hpcdl.trainer.model import models
    from hpcdl.trainer.predict.members import Ensemble

    run = replace(spec, model=FunctionSpec("of_this_run:small"))
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "of_this_run.py").write_text(MODEL)
    (tmp_path / "run.json").write_text(run.to_json())
    user = str(tmp_path / "user")
    weights = Member(str(tmp_path), "w.weights.h5", [4, 4, 3], 1.0, user=user, weights_only=True)
    from hpcdl.trainer.model.own_code import own_code

    with own_code(user):
        model = models.build(run.model, (4, 4, 3), 3)
    model.save_weights(tmp_path / "w.weights.h5")
    images = np.full((2, 4, 4, 3), 51, np.uint8)

    answers = Ensemble(PredictSpec("p", "", CLASSES, [weights]))(images)

    assert np.abs(answers - model(tf.constant(images / np.float32(255))).numpy()).max() < 1e-6


@pytest.mark.parametrize(
    ("members", "status", "words"),
    [
        ([Member("r", "m", [4, 4, 1], 255.0)], 65, "holds no files"),
        ([], 64, "names no model; predict again"),
    ],
)
def test_prediction_that_cannot_begin(tmp_path, members, status, words):
    (tmp_path / "new").mkdir()
    spec = PredictSpec("p", str(tmp_path / "new"), CLASSES, members)
    (tmp_path / "predict.json").write_text(spec.to_json())
    argv = [sys.executable, "-m", "hpcdl.trainer", "predict", tmp_path / "predict.json"]

    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=180)

    assert (done.returncode, words in done.stderr) == (status, True)
    assert not (tmp_path / "result.json").exists()
    assert json.loads((tmp_path / "failure.json").read_text())["exit_status"] == status
