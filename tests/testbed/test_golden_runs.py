"""The golden scripts, byte for byte, through the real sbatch: accepted, and executed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.testbed.conftest import CHECKOUT, Bed, until

pytestmark = pytest.mark.testbed

GOLDEN = CHECKOUT / "tests" / "golden"
NAMES = sorted(path.name for path in GOLDEN.iterdir())


def give(bed: Bed, *files: Path) -> None:
    for file in files:
        shutil.copy(file, bed.folder)
        shutil.chown(bed.folder / file.name, "hpcuser")


def sbatch(bed: Bed, script: str) -> tuple[str, str]:
    """Run a script to its end: SLURM's state, and what it printed."""
    give(bed, GOLDEN / script)
    job_id = bed.run("sbatch", "--parsable", script).stdout.strip()
    ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")

    def state() -> str:
        argv = ["sacct", "-n", "-X", "-P", "-o", "State", "-j", job_id]
        answer = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        return answer if answer.startswith(ended) else ""

    try:
        final = until(state, timeout_s=300)
    finally:
        subprocess.run(["scancel", "--quiet", job_id], check=False)
    printed = "".join(path.read_text() for path in sorted(bed.folder.glob(f"*.{job_id}.*")))
    assert not (bed.folder / f"stop.{job_id}").exists()
    return final, printed


@pytest.mark.parametrize("name", NAMES)
def test_sbatch_accepts_it(bed: Bed, name: str) -> None:
    give(bed, GOLDEN / name)
    bed.run("sbatch", "--test-only", name)


def test_course_script_trains_mnist(bed: Bed) -> None:
    give(bed, CHECKOUT / "jobs" / "MNIST.py")
    state, printed = sbatch(bed, "mnist_script.marenostrum5.sbatch")
    assert state == "COMPLETED", printed
    assert "Total params: 62" in printed
    accuracy = float(printed.rpartition("test accuracy ")[2].split(",")[0])
    assert accuracy >= 0.960


def test_script_sees_arguments_and_environment(bed: Bed) -> None:
    """Arguments, data sets and variables arrive; SLURM's own variables stay outside."""
    give(bed, CHECKOUT / "tests" / "jobs" / "look.py")
    state, printed = sbatch(bed, "look.generic.sbatch")
    assert state == "COMPLETED", printed
    seen = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    assert seen["args"] == ["a b", "it's", "semi;colon"]
    assert seen["cwd"] == str(bed.folder)
    assert "mnist.npz" in seen["datasets"]
    env = seen["env"]
    assert (env["GREETING"], env["HOME"], env["CUDA_VISIBLE_DEVICES"]) == (
        "hello; world",
        f"{bed.folder}/.hpcdl",
        "0",
    )
    assert "SLURM_JOB_ID" not in env


def test_script_runs_on_each_node(bed: Bed) -> None:
    """Each is told of the others, under names that no other job has."""
    give(bed, CHECKOUT / "tests" / "jobs" / "look.py")
    state, printed = sbatch(bed, "look_nodes.testbed.sbatch")
    assert state == "COMPLETED", printed
    configs = []
    for line in printed.splitlines():
        if line.startswith("{"):
            configs.append(json.loads(json.loads(line)["env"]["TF_CONFIG"]))
    addresses = configs[0]["cluster"]["worker"]
    assert len(configs) == len(set(addresses)) in (2, 3)
    assert all(config["cluster"]["worker"] == addresses for config in configs)
    assert sorted(config["task"]["index"] for config in configs) == list(range(len(configs)))


def test_copied_bundle_trains(bed: Bed) -> None:
    bed.run("hpcdl", "data", "stage", "digits", "--data-root", "data")
    bundle = ("--cluster", bed.profile, "--set", f"cluster.data_root={bed.folder}/data")
    bed.run("hpcdl", "render", "digits_cnn", *bundle, "--set", "train.epochs=2", "-o", "bundle")
    for path in (bed.folder / "bundle").iterdir():
        if path.name != "job.sbatch":
            shutil.move(path, bed.folder)
    state, printed = sbatch(bed, "digits_cnn.testbed.bundle.sbatch")
    assert state == "COMPLETED", printed
    result = json.loads((bed.folder / "result.json").read_text())
    assert (result["state"], result["epochs_run"], result["test"]["rows"]) == ("done", 2, 360)


def test_bundle_reports_missing_gpu(bed: Bed) -> None:
    render = ("--cluster", "marenostrum5", "--set", "cluster.account=nct00")
    bed.run("hpcdl", "render", "mnist_cnn", *render, "-o", "bundle")
    for path in (bed.folder / "bundle").iterdir():
        if path.name != "job.sbatch":
            shutil.move(path, bed.folder)
    state, printed = sbatch(bed, "mnist_cnn.marenostrum5.bundle.sbatch")
    assert state == "FAILED"
    assert "asks for 1 GPU" in printed
    assert json.loads((bed.folder / "failure.json").read_text())["exit_status"] == 69
