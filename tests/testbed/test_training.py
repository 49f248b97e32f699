"""Training on the real SLURM in both TensorFlow images: figures, two GPUs, stop and resume, wrong devices, bad data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.testbed.conftest import IMAGES, Bed, Run, new_bed, start_again, until

pytestmark = pytest.mark.testbed

VERSIONS = {"tensorflow": ("2.21", "3.11", "3."), "tf2.11": ("2.11", "3.9", "2.")}
DIGITS = ("--set", "model.filters=[8, 16]", "--set", "train.batch_size=64")


@pytest.fixture(scope="module")
def shared(cluster: None) -> Bed:
    """One folder for the module, with the digits staged in it."""
    made = new_bed("test-training")
    made.run("hpcdl", "data", "stage", "digits", "--data-root", made.folder / "data")
    return made


@pytest.fixture(scope="module")
def mnist_runs(shared: Bed) -> dict[str, Run]:
    """mnist_cnn in both images, submitted together."""
    return {image: shared.submit("mnist_cnn", "--set", f"container={image}") for image in VERSIONS}


@pytest.mark.parametrize("image", VERSIONS)
def test_mnist_cnn_reaches_course_accuracy(mnist_runs: dict[str, Run], image: str) -> None:
    run = mnist_runs[image]
    result = run.wait()
    tensorflow, python, keras = VERSIONS[image]
    assert result["state"] == "done", result
    assert result["model"]["parameters"] == 62_346
    assert result["test"]["accuracy"] >= 0.960
    assert result["test"]["rows"] == 10_000
    assert result["epochs_run"] == 5
    assert result["versions"]["tensorflow"].startswith(tensorflow)
    assert result["versions"]["python"].startswith(python)
    assert result["versions"]["keras"].startswith(keras)
    assert result["attempts"] == [
        {**result["attempts"][0], "reason": "done", "status": 0, "steps": 3000}
    ]
    assert result["image"]["sha256"] == run.json("manifest.json")["image"]["sha256"]
    assert result["devices"]["emulated"] is True
    assert result["cluster"]["emulate_gpus"] is True
    assert [row["epoch"] for row in run.lines("metrics.jsonl")] == [1, 2, 3, 4, 5]
    assert (run.path / result["model"]["file"]).stat().st_size > 200_000
    log = run.log()
    assert "Total params: 62" in log
    assert "epoch 5/5" in log
    assert "cuda" not in log.lower().replace("cuda_visible_devices", ""), (
        "TensorFlow's noise belongs in its own file"
    )
    assert (run.path / "logs/1.tensorflow.log").exists()
    until(lambda: not (run.path / "submitit").exists())
    others = [path for path in run.path.rglob("*") if path.parent.name != "checkpoints"]
    # With the run folder and one checkpoint; devices.jsonl is there after 15 seconds
    assert len(others) + 2 <= 20, others


def test_two_gpus_train_like_one(mnist_runs: dict[str, Run], shared: Bed) -> None:
    run = shared.submit("mnist_cnn_mirrored", "--set", "train.epochs=1")
    result = run.wait()
    assert result["state"] == "done", result
    devices = result["devices"]
    assert (devices["strategy"], devices["replicas"], len(devices["names"])) == (
        "MirroredStrategy",
        2,
        2,
    )
    assert run.json("run.json")["train"]["batch_size"] == 100
    assert run.lines("metrics.jsonl")[0]["steps"] == 600
    single = mnist_runs["tensorflow"]
    single.wait()
    # The same global batches from the same weights: the first epoch is that of one GPU, up to the order of sums.
    first, alone = run.lines("metrics.jsonl")[0], single.lines("metrics.jsonl")[0]
    assert first["loss"] == pytest.approx(alone["loss"], abs=0.02)
    assert first["accuracy"] == pytest.approx(alone["accuracy"], abs=0.01)


def test_report_and_compare_real_runs(mnist_runs: dict[str, Run], shared: Bed) -> None:
    runs = list(mnist_runs.values())
    results = [run.wait() for run in runs]
    for run, result in zip(runs, results, strict=True):
        page = Path(shared.run("hpcdl", "report", run.path).stdout.rstrip("\n")).read_text()
        assert (
            f"{100 * result['test']['accuracy']:.2f}\u00a0% of 10,000 images" in page
        )  # by predictions.npz
        assert "The GPU was emulated" in page
        assert f"#SBATCH --job-name={result['name']}" in page
        assert page.count("<img") == 2 * (
            24 + 8
        )  # mistakes, least certain answers, a heat map of each
    compared = json.loads(
        shared.run("hpcdl", "compare", *(run.path for run in runs), "--json").stdout
    )
    assert [run["tensorflow"] for run in compared["runs"]] == ["2.21.0", "2.11.1"]
    assert list(compared["differences"]) == ["container"]


def test_emulation_is_announced(shared: Bed) -> None:
    options = ("--cluster", shared.profile, "--runs-dir", shared.runs, "--dry-run")
    assert (
        "EMULATED GPUs: 2" in shared.run("hpcdl", "submit", "mnist_cnn_mirrored", *options).stderr
    )


def digits_in(shared: Bed, image: str) -> tuple[str, ...]:
    """The options of a training on the staged digits, in one of the images."""
    data = f"cluster.data_root={shared.folder}/data"
    return ("--set", data, "--set", f"container={image}", *DIGITS)


@pytest.fixture(scope="module")
def whole_runs(shared: Bed) -> dict[str, Run]:
    """digits_cnn in both images, uninterrupted."""
    return {image: shared.submit("digits_cnn", *digits_in(shared, image)) for image in VERSIONS}


def test_learns_from_another_run(whole_runs: dict[str, Run], shared: Bed) -> None:
    """It begins with a run's weights, which teaches it as well; their folder cannot be written."""
    other = whole_runs["tensorflow"]
    tested = other.wait()["test"]["accuracy"]
    folder = other.path.resolve()
    named = ("--set", f"model.start={folder}", "--set", f"train.distill.teacher={folder}")
    short = ("--set", "train.epochs=1", "--set", "train.optimizer.learning_rate=1e-5")
    run = shared.submit("digits_cnn", *digits_in(shared, "tensorflow"), *named, *short)
    result = run.wait()
    assert result["state"] == "done", result
    assert result["test"]["accuracy"] == pytest.approx(tested, abs=0.01)
    assert "teacher's answers: " in run.log()
    assert f"{folder}:{folder}:ro" in run.json("plan.json")["container"]["shown"]


@pytest.mark.parametrize("image", VERSIONS)
def test_warned_training_resumes_exactly(
    whole_runs: dict[str, Run], shared: Bed, image: str
) -> None:
    """Weights and metrics equal those of the uninterrupted run."""
    whole = whole_runs[image]
    warned = shared.submit("digits_cnn", *digits_in(shared, image))
    until(lambda: len(warned.lines("metrics.jsonl")) >= 2)
    shared.run("scancel", "--batch", "--signal=USR2", warned.job_id)
    start_again(warned)
    result = warned.wait()
    assert result["state"] == "done", result
    assert [attempt["reason"] for attempt in result["attempts"]] == ["preempted", "done"]
    assert 0 < result["attempts"][0]["steps"] < result["attempts"][1]["steps"]
    assert whole.wait()["test"] == result["test"]
    epochs = [
        {k: row[k] for k in ("epoch", "loss", "accuracy")} for row in warned.lines("metrics.jsonl")
    ]
    assert epochs == [
        {k: row[k] for k in ("epoch", "loss", "accuracy")} for row in whole.lines("metrics.jsonl")
    ]
    last = sorted((warned.path / "checkpoints").iterdir())[-1].name
    assert_same_arrays(whole.path / "checkpoints" / last, warned.path / "checkpoints" / last)


def test_missing_gpus_end_run_early(shared: Bed) -> None:
    """Two attempts find that the node is not fit, and the run's cause is device."""
    run = shared.submit("mnist_cnn_mirrored", "--set", "cluster.emulate_gpus=false")
    result = run.wait()
    assert (result["state"], result["cause"]) == ("failed", "device")
    assert [(row["reason"], row["status"]) for row in result["attempts"]] == [
        ("unfit_node", 69)
    ] * 2
    assert (
        "it has no NVIDIA driver (/dev/nvidiactl is missing), and the job asks for 2 GPU(s)"
        in result["message"]
    )
    shown = shared.run("hpcdl", "result", run.path, check=False)
    assert shown.returncode == 1
    assert "failed: device" in shown.stdout


@pytest.mark.parametrize("image", VERSIONS)
def test_corrupt_data_is_named(shared: Bed, image: str) -> None:
    x = np.zeros((50, 8, 8), np.uint8)
    path = shared.folder / "wrong.npz"
    np.savez(path, x_train=x, y_train=np.arange(49) % 10, x_test=x[:5], y_test=np.arange(5))
    sets = ("--set", f"data={{path: {path}}}", "--set", f"container={image}")
    run = shared.submit("digits_cnn", "--no-check", *sets)
    result = run.wait()
    assert (result["state"], result["cause"]) == ("failed", "data")
    assert result["attempts"][0]["status"] == 65
    assert "y_train" in result["message"]
    assert (run.path / "failure.json").exists()


def test_local_backend_uses_container(shared: Bed) -> None:
    """Its result equals that of the run on SLURM."""
    data = ("--set", f"cluster.data_root={shared.folder}/data", "--set", "train.epochs=2", *DIGITS)
    run = shared.submit(
        "digits_cnn", "--backend", "local", "--set", "cluster.runtime=apptainer", *data
    )
    result = run.wait()
    assert result["state"] == "done", result
    assert result["image"]["path"] == str(IMAGES / "tf2.21-py311.sif")
    assert result["versions"]["python"].startswith("3.11")
    assert result["cluster"]["backend"] == "local"
    on_slurm = shared.submit("digits_cnn", *data)
    assert on_slurm.wait().keys() == result.keys()
    assert on_slurm.json("result.json")["test"] == result["test"]
    here = {path.name for path in run.path.iterdir()}
    assert {path.name for path in on_slurm.path.iterdir()} - here == {"script.sbatch"}


def test_image_inspect_shows_versions(shared: Bed) -> None:
    for image, versions in (("tf2.21-py311", "tensorflow"), ("tf2.11-py39", "tf2.11")):
        tensorflow, python, keras = VERSIONS[versions]
        facts = json.loads(
            shared.run("hpcdl", "image", "inspect", IMAGES / f"{image}.sif", "--json").stdout
        )
        assert facts["tensorflow"].startswith(tensorflow)
        assert facts["python"].startswith(python)
        assert facts["keras"].startswith(keras)
        assert len(facts["sha256"]) == 64
    bare = shared.run("hpcdl", "image", "inspect", IMAGES / "python3.11.sif").stdout
    assert "tensorflow   -" in bare


def assert_same_arrays(one: Path, other: Path) -> None:
    with np.load(one) as a, np.load(other) as b:
        names = [name for name in a.files if a[name].dtype.kind == "f"]
        assert names
        assert a.files == b.files
        for name in names:
            assert np.array_equal(a[name], b[name]), name
