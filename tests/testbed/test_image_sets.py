"""Images in files on the real SLURM: shipped jobs train on a folder of them, held and streamed, in both images."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.testbed.conftest import Bed, Run, new_bed, start_again, until

pytestmark = pytest.mark.testbed
Image = pytest.importorskip("PIL.Image")

IMAGES = ("tensorflow", "tf2.11")
SMALL = ("train.epochs=3", "train.batch_size=16", "data.image_size=[24, 24]")


def sets(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


@pytest.fixture(scope="module")
def shared(cluster: None) -> Bed:
    """One folder for the module; 240 images of three classes, each of a colour, lie in its data_root."""
    made = new_bed("test-image-sets")
    random = np.random.default_rng(1)
    for row in range(240):
        label = row % 3
        pixels = random.integers(0, 120, (28 + row % 5, 32, 3)).astype(np.uint8)
        pixels[..., label] += 100
        path = made.folder / "data/images" / ("one", "two", "three")[label] / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
    for path in (made.folder / "data", *(made.folder / "data").rglob("*")):
        shutil.chown(path, "hpcuser", "hpcuser")
    return made


@pytest.mark.parametrize(
    ("job", "image"), [("images_cnn", "tf2.11"), ("images_resnet", "tensorflow")]
)
def test_shipped_jobs_train_on_images(shared: Bed, job: str, image: str) -> None:
    root = f"cluster.data_root={shared.folder}/data"
    run = shared.submit(job, *sets(root, f"container={image}", *SMALL))
    result = run.wait()
    assert result["state"] == "done", result
    assert result["data"]["class_names"] == ["one", "three", "two"]
    assert (result["data"]["rows_train"], result["data"]["rows_test"]) == (153, 48)
    assert result["test"]["accuracy"] > 0.6, "three classes that differ by their colour"
    assert "48 images split off as the test part" in run.log()
    page = Path(shared.run("hpcdl", "report", run.path).stdout.rstrip("\n")).read_text()
    assert "three</th>" in page or ">three<" in page, "classes have their names"
    if job == "images_cnn":
        check_predictions(shared, run)


def check_predictions(shared: Bed, trained: Run) -> None:
    """The set's own images and an odd file are predicted through SLURM, and on this machine."""
    new = shared.folder / "new images"
    shutil.copytree(shared.folder / "data/images", new)
    shared.write("new images/notes.txt", "who took them")
    (new / "linked.jpg").symlink_to(shared.folder / "data/images/one/0.jpg")
    sent = shared.run("hpcdl", "predict", trained.path, new, "--wait")
    prediction = Run(shared, Path(sent.stdout.rstrip("\n")))
    assert prediction.path.parent == shared.runs / "images-cnn-predict"
    assert "gres" not in (prediction.path / "script.sbatch").read_text()
    result = prediction.json("result.json")
    assert (result["images"], result["unusable"]) == (241, 1)
    assert result["versions"]["tensorflow"].startswith("2.11")
    assert result["drift"]["likely_worse"] is False
    table = (prediction.path / "predictions.csv").read_text()
    right = [line for line in table.splitlines() if line.partition("/")[0] in line.split(",")[1]]
    assert len(right) > 0.6 * 240
    assert prediction.status()["state"] == "done"
    words = shared.run("hpcdl", "result", prediction.path).stdout
    assert "241 images of" in words
    assert "worse      not likely" in words
    page = Path(shared.run("hpcdl", "report", prediction.path).stdout.rstrip("\n")).read_text()
    assert "The least certain images" in page
    here = shared.run("hpcdl", "predict", trained.path, new, "--backend", "local", "--wait")
    assert (Path(here.stdout.rstrip("\n")) / "predictions.csv").read_text() == table
    check_killed_prediction(shared, trained, new, table)


def check_killed_prediction(shared: Bed, trained: Run, new: Path, table: str) -> None:
    """Its launcher is killed in the middle, and the trainer with it; SLURM starts it again."""
    sent = shared.run("hpcdl", "predict", trained.path, new)
    run = Run(shared, Path(sent.stdout.rstrip("\n")))
    in_the_way = run.path / "blocks" / "000001.npz"  # of two: so it waits there, to save it
    (in_the_way / "inner").mkdir(parents=True)
    for path in (in_the_way.parent, in_the_way, in_the_way / "inner"):
        shutil.chown(path, "hpcuser", "hpcuser")
    until(lambda: has_log(run) and "000001.npz cannot be written" in run.log())
    (trainer,) = trainers(run)
    launcher = run.lines("attempts.jsonl")[-1]["pid"]
    for pid in (launcher, trainer):
        with contextlib.suppress(ProcessLookupError):  # it ends itself without its launcher
            os.kill(pid, signal.SIGKILL)
    until(lambda: not trainers(run))
    shutil.rmtree(in_the_way)
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["killed", "done"]
    assert "128 of 242 files are done already" in run.log(2)
    assert (run.path / "predictions.csv").read_text() == table


def has_log(run: Run) -> bool:
    return (run.path / "logs/1.log").exists()


def trainers(run: Run) -> list[int]:
    """The trainer's own process, not those that hold its container."""
    ours = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            its_run = any(word.startswith(str(run.path)) for word in argv)
            if Path(argv[0]).name.startswith("python") and "hpcdl.trainer" in argv and its_run:
                ours.append(int(folder.name))
    return ours


def test_stopped_run_on_images_is_exact(shared: Bed) -> None:
    """With random changes of the images, read and decoded in each epoch; warned by SLURM on the way."""
    keys = (f"cluster.data_root={shared.folder}/data", "data.cache=none", *SMALL, "train.epochs=6")
    whole, warned = (shared.submit("images_cnn", *sets(*keys)) for _ in range(2))
    until(lambda: len(warned.lines("metrics.jsonl")) >= 2)
    shared.run("scancel", "--batch", "--signal=USR2", warned.job_id)
    start_again(warned)
    result = warned.wait()
    assert result["state"] == "done", result
    assert [attempt["reason"] for attempt in result["attempts"]] == ["preempted", "done"]
    assert whole.wait()["test"] == result["test"]
    epochs = [
        [(row["epoch"], row["loss"]) for row in run.lines("metrics.jsonl")]
        for run in (whole, warned)
    ]
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize("image", IMAGES)
def test_frozen_backbone_runs_images_once(shared: Bed, image: str) -> None:
    """Each image passes a frozen backbone once, and the features are reused."""
    data = f"data={{path: {shared.folder}/data/images, image_size: [224, 224]}}"
    model = "model={backbone: MobileNetV2}"
    train = ("train.epochs=20", "train.optimizer.learning_rate=0.002")
    run = shared.submit("images_vgg16", *sets(data, model, f"container={image}", *train))
    result = run.wait()
    assert result["state"] == "done", result
    assert result["model"]["trainable_parameters"] == 1280 * 3 + 3
    assert result["model"]["parameters"] == 2_257_984 + 1280 * 3 + 3
    assert result["test"]["accuracy"] > 0.9, (
        "what ImageNet's weights see is enough to tell three colours"
    )
    log = run.log()
    assert "features: 240 images through MobileNetV2 in " in log
    assert not list(run.path.glob("features*")), "kept while they are of use"


def test_submit_refuses_missing_weights(shared: Bed) -> None:
    """The message names the command that stages them."""
    said = shared.run(
        "hpcdl", "submit", "images_vgg16", "--cluster", shared.profile, "--runs-dir", shared.runs,
        *sets(f"data={{path: {shared.folder}/data/images, image_size: [224, 224]}}"), check=False,
    )  # fmt: skip
    assert said.returncode == 2
    assert "the ImageNet weights of VGG16 are not in " in said.stderr
    assert "hpcdl data stage weights/VGG16 --data-root " in said.stderr


def test_packed_set_trains_and_is_verified(shared: Bed) -> None:
    root = shared.folder / "data"
    shared.run(
        "hpcdl",
        "data",
        "pack",
        root / "images",
        "--name",
        "packed",
        "--size",
        "24x24",
        "--data-root",
        root,
    )
    run = shared.submit(
        "images_resnet", *sets(f"cluster.data_root={root}", "data={name: packed}", "train.epochs=3")
    )
    result = run.wait()
    assert result["state"] == "done", result
    assert result["data"]["path"] == f"{root}/packed"
    assert result["data"]["class_names"] == ["one", "three", "two"]
    (root / "packed/train.npy").write_bytes((root / "packed/train.npy").read_bytes()[:-1] + b"x")
    said = shared.run("hpcdl", "data", "verify", "packed", "--data-root", root, check=False)
    assert said.returncode == 1
    assert "not what was staged: packed" in said.stderr


def test_submit_refuses_empty_class(shared: Bed) -> None:
    shutil.copytree(shared.folder / "data/images", shared.folder / "data/lost")
    for path in (shared.folder / "data/lost/two").iterdir():
        path.unlink()
    said = shared.run(
        "hpcdl", "submit", "images_cnn", "--cluster", shared.profile, "--runs-dir", shared.runs,
        *sets(f"cluster.data_root={shared.folder}/data", "data.name=lost"), check=False,
    )  # fmt: skip
    assert said.returncode == 2
    assert "/lost: two: holds no images; expected some of class two" in said.stderr
