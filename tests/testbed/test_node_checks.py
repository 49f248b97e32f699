"""What has gone between the submission and the start: the node says it at once, another is tried, and nothing hangs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.testbed.conftest import IMAGES, VENV, Bed, Run
from tests.testbed.test_faults import reasons

pytestmark = pytest.mark.testbed

JOB = "name: a\ncontainer: {image}\nresources: {{gpus: {gpus}}}\nscript: program.py\nslurm: {{hold: ''}}\n"
# The host's Python by way of a script that takes away a GPU and all CPUs but one.
MEAN_PYTHON = f'#!/bin/sh\nexport CUDA_VISIBLE_DEVICES=3\nexec taskset -c 0 {VENV}/python "$@"\n'


@pytest.fixture
def image(bed: Bed) -> Path:
    """The bare Python image, under a name that a test can take away."""
    link = bed.folder / "image.sif"
    link.symlink_to(IMAGES / "python3.11.sif")
    return link


# One that does so on the first node that it starts on, and is the plain Python on all others.
MEAN_ONCE = f"""#!/bin/sh
first={{folder}}/first
[ -n "$SLURMD_NODENAME" ] || exec {VENV}/python "$@" # `hpcdl check` on the login node
[ -e "$first" ] || echo "$SLURMD_NODENAME" >"$first"
[ "$(cat "$first")" != "$SLURMD_NODENAME" ] || exec taskset -c 0 {VENV}/python "$@"
exec {VENV}/python "$@"
"""


def held(bed: Bed, image: Path, *options: str, gpus: int = 0) -> Run:
    """A script's run whose job waits until it is released."""
    bed.write("program.py", "print('it ran')\n")
    bed.write("job.yaml", JOB.format(image=image, gpus=gpus))
    return bed.submit("job.yaml", *options)


def release(run: Run) -> None:
    """Let the run's job start now. One that takes its place on another node starts by itself."""
    run.bed.run("scontrol", "release", run.job_id)


def test_fault_on_two_nodes_ends_run(bed: Bed, image: Path) -> None:
    """Where two nodes agree, no node is excluded, and the run can be resumed."""
    python = bed.write("python", MEAN_PYTHON)
    python.chmod(0o755)
    extra = bed.folder / "extra"
    extra.mkdir()
    sets = (f"cluster.host_python={python}", f'cluster.binds=["{extra}"]')
    run = held(bed, image, *(word for text in sets for word in ("--set", text)), gpus=2)
    image.unlink()
    extra.rmdir()
    release(run)
    result = run.wait()

    first, second = (row["node"] for row in result["attempts"])
    assert first != second
    assert reasons(run) == ["unfit_node", "unfit_node"]
    assert result["attempts"][1]["status"] == 64
    lacking = [
        f"the image {image}: No such file or directory",
        f"{extra}, which the container is to see: No such file or directory",
        "1 GPU(s) are visible (CUDA_VISIBLE_DEVICES is '3'), and the job asks for 2",
        "the job may use 1 of its CPUs (its affinity), and asks for 40",
    ]
    shown = bed.run("hpcdl", "result", run.path, check=False).stdout
    twice = f"two attempts in a row found their node not fit ({first}, {second})"
    assert shown.startswith(
        f"failed: spec. {second} is not fit for this job: {'; '.join([*lacking, twice])}\n"
    )
    assert [text for text in lacking if f"error: {second}: {text}" not in run.log(2)] == []
    assert f"try  when that is put right, hpcdl resume {run.path} goes on" in shown

    image.symlink_to(IMAGES / "python3.11.sif")
    extra.mkdir()
    run.bed.write(
        "python",
        MEAN_PYTHON.replace("export CUDA_VISIBLE_DEVICES=3", "").replace("taskset -c 0", ""),
    )
    bed.run("hpcdl", "resume", run.path)
    excluded = subprocess.run(
        ["squeue", "-h", "-o", "%x", "-j", run.job_id], capture_output=True, text=True
    )
    assert excluded.stdout.strip() in ("", "(null)"), (
        "where two nodes agree the fault is not theirs"
    )
    release(run)
    assert run.wait()["state"] == "done"


@pytest.mark.parametrize("requeue", [True, False])
def test_unfit_node_is_replaced(bed: Bed, image: Path, requeue: bool) -> None:
    """Another job takes its place, or the next one of the chain; neither is held as the first one was."""
    python = bed.write("python", MEAN_ONCE.format(folder=bed.folder))
    python.chmod(0o755)
    sets = (
        f"cluster.host_python={python}",
        f"cluster.requeue={str(requeue).lower()}",
        "cluster.max_requeues=1",
    )
    run = held(bed, image, *(word for text in sets for word in ("--set", text)), gpus=2)
    first_job = run.job_id
    release(run)
    result = run.wait()

    assert result["state"] == "done", result
    assert reasons(run) == ["unfit_node", "done"]
    assert (bed.folder / "first").read_text().strip() == result["attempts"][0]["node"]
    assert result["attempts"][0]["node"] != result["attempts"][1]["node"]
    assert [row["job_id"] == first_job for row in result["attempts"]] == [True, False]
    assert "it ran" in run.log(2)


def test_another_image_is_not_used(bed: Bed, image: Path) -> None:
    run = held(bed, image)
    image.unlink()
    image.symlink_to(IMAGES / "tf2.11-py39.sif")
    release(run)
    result = run.wait()

    assert (result["state"], result["cause"], len(result["attempts"])) == ("failed", "spec", 1)
    assert f"the image {image} is another file: it has " in result["message"]
    assert "submit the job again to use it" in result["message"]


def test_unreadable_data_ends_run_early(bed: Bed) -> None:
    """Each attempt ends before the training starts, and the run's cause is data."""
    bed.run("hpcdl", "data", "stage", "digits", "--data-root", bed.folder / "data")
    data = bed.folder / "data/digits.npz"
    sets = (f"cluster.data_root={data.parent}", "slurm={hold: ''}")
    run = bed.submit("digits_cnn", *(word for text in sets for word in ("--set", text)))
    data.chmod(0)
    release(run)
    result = run.wait()

    assert (result["state"], result["cause"]) == ("failed", "data")
    assert [row["status"] for row in result["attempts"]] == [65, 65]
    assert (
        f"is not fit for this job: the data set {data}: Permission denied; two attempts"
        in result["message"]
    )
    assert run.status()["cause"] == "data"
