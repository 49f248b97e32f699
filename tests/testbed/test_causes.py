"""Why runs fail, each cause brought about for real, and what `status` and `result` say of it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.conftest import VENV, Bed, Run, new_bed, until

pytestmark = pytest.mark.testbed

JOB = (
    'name: fails\ncontainer: {image}\nresources: {{gpus: 0, time: "{time}"}}\nscript: program.py\n'
)
EATS = "held = []\nwhile True:\n    held.append(bytearray(b'x') * 10_000_000)\n"


def fails(
    bed: Bed, program: str, *options: str, image: str = "python", time: str = "00:10:00"
) -> Run:
    bed.write("program.py", program)
    bed.write("job.yaml", JOB.format(image=image, time=time))
    return bed.submit("job.yaml", *options)


def shown(run: Run) -> str:
    """What `hpcdl result` prints, after checking that `status` names the same cause."""
    printed: str = run.bed.run("hpcdl", "result", run.path, check=False).stdout
    assert printed.startswith(f"failed: {run.status()['cause']}.")
    return printed


@pytest.fixture(scope="module", autouse=True)
def overtime(cluster: None) -> Run:
    """A program that SLURM will kill at its time limit, in a minute at the earliest: the other tests run meanwhile."""
    return fails(new_bed("test-causes"), "import time\ntime.sleep(600)\n", time="00:01:00")


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A cgroup of 300 MB, as SLURM makes one for a job where it is told to (version 1 or 2)."""
    v1 = Path("/sys/fs/cgroup/memory")
    group = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / "hpcdl-test"
    group.mkdir()
    (group / ("memory.limit_in_bytes" if v1.is_dir() else "memory.max")).write_text("300M")
    yield group
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")

    def removed() -> bool:
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    until(removed)


def test_job_exceeds_its_memory(bed: Bed, small_memory: Path) -> None:
    bed.write("program.py", EATS)
    bed.write("job.yaml", JOB.format(image="python", time="00:10:00"))
    submit = f"hpcdl submit job.yaml --backend local --wait --cluster {bed.profile} --runs-dir {bed.runs}"
    move_in = f"echo $$ > {small_memory}/cgroup.procs && exec runuser -u hpcuser -- env -i "
    words = " ".join(f"{key}={value}" for key, value in bed.environment.items())
    done = subprocess.run(
        ["bash", "-c", f"{move_in} {words} {submit}"],
        cwd=bed.folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    run = Run(bed, Path(done.stdout.strip()))
    text = shown(run)
    assert (
        "failed: out_of_memory. the kernel killed it: it asked for more memory than the job has"
        in text
    )
    assert "its largest process had 0." in text
    assert "try  ask for more memory" in text
    assert run.json("result.json")["attempts"][0]["peak_memory_gb"] > 0.1


@pytest.mark.second_bed
def test_memory_error_in_python(bed: Bed) -> None:
    program = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))\n" + EATS
    run = fails(bed, program)
    run.wait()
    text = shown(run)
    assert text.startswith(
        "failed: out_of_memory. the program ended with exit status 1; its last line: MemoryError"
    )
    assert "MemoryError\n" in text


def test_gpu_memory_in_tensorflow(bed: Bed) -> None:
    """No GPU is here: TensorFlow's own error for want of memory comes from the CPU's allocator."""
    run = fails(
        bed, "import tensorflow as tf\ntf.zeros((10**7, 10**7)) + 1.0\n", image="tensorflow"
    )
    run.wait()
    text = shown(run)
    assert text.startswith("failed: out_of_memory.")
    assert "OOM when allocating tensor" in text


@pytest.mark.second_bed
def test_image_does_not_start(bed: Bed) -> None:
    """A SIF file by its header, with nothing in it."""
    image = bed.folder / "none.sif"
    image.write_bytes(bytes(32) + b"SIF_MAGIC\0" + bytes(158))
    run = fails(bed, "print(1)\n", "--no-check", "--set", f"cluster.images.python={image}")
    run.wait()
    text = shown(run)
    assert text.startswith("failed: spec. the container did not start")
    assert "FATAL:" in text
    assert "none.sif" in text


@pytest.mark.second_bed
def test_time_limit_without_early_stop(overtime: Run) -> None:
    """The program heeds nothing, and SLURM kills it: its words in the job's output tell, no question is asked."""
    overtime.bed.environment["PATH"] = f"{VENV}:/nowhere"  # neither squeue nor sacct
    until(lambda: overtime.status()["state"] == "failed", timeout_s=180)
    text = shown(overtime)
    assert text.startswith("failed: time_limit.")
    assert "DUE TO TIME LIMIT" in text
    assert f"hpcdl resume {overtime.path} goes on" in text
