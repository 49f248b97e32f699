"""prepare(): what a submission will do is decided, and what the user must hear is said, before anything is made."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import submitit

from hpcdl.cluster import Cluster, Image, Node
from hpcdl.errors import RunError, UserError
from hpcdl.job import Job, Resources
from hpcdl.local_machine import visible_gpus
from hpcdl.submission.prepare import prepare
from hpcdl.submission.send import submit
from hpcdl.worker.command import python_options

SITE = Cluster(
    name="site",
    node=Node(cpus=8, gpus=2),
    images={"tensorflow": Image("/nowhere/tf.sif")},
    data_root="/data",
)
JOB = Job(name="a", script="/home/u/a.py", source="u/a.yaml", folder="/home/u")


@pytest.mark.parametrize(
    ("chosen", "count"),
    [("", 0), ("0", 1), ("0,3", 2), ("-1", 0), ("GPU-ab,GPU-cd", 2), ("NoDevFiles", 0)],
)
def test_visible_gpus_counted(monkeypatch, chosen, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)

    assert visible_gpus() == count


def test_local_uses_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    job = replace(JOB, resources=Resources(gpus=2, cpus=4000))

    prepared = prepare(job, replace(SITE, images={}), "local", str(tmp_path))

    assert prepared.plan.size.gpus == 0
    assert prepared.plan.size.cpus == len(os.sched_getaffinity(0))
    assert prepared.notes == ["this machine has no GPU: a asks for 2 and runs on the CPU"]
    assert prepared.script is None


def test_local_keeps_gpus_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    job = replace(JOB, resources=Resources(gpus=2))

    assert prepare(job, replace(SITE, images={}), "local", str(tmp_path)).plan.size.gpus == 2
    with pytest.raises(UserError, match=r"resources\.gpus: is 3, but a node of site has 2"):
        prepare(replace(JOB, resources=Resources(gpus=3)), SITE, "local", str(tmp_path))


@pytest.mark.parametrize(
    ("runtime", "note"),
    [
        ("no-such-runtime", "there is no no-such-runtime command here"),
        ("sh", "the image /nowhere/tf.sif is not here"),
    ],
)
def test_local_without_container_is_noted(tmp_path, runtime, note):
    job = replace(JOB, resources=Resources(gpus=0))

    prepared = prepare(job, replace(SITE, runtime=runtime), "local", str(tmp_path))

    assert prepared.plan.container is None
    assert prepared.notes == [
        f"{note}: running with this machine's own TensorFlow, without the container"
    ]


def test_emulated_gpus_are_announced(tmp_path):
    prepared = prepare(JOB, replace(SITE, emulate_gpus=True), "slurm", str(tmp_path))

    assert prepared.notes[0].startswith("EMULATED GPUs: 1 asked for, CPU devices stand in")


def test_nothing_written(tmp_path):
    prepare(JOB, SITE, "slurm", str(tmp_path / "runs"))

    assert os.listdir(tmp_path) == []


def test_script_names_this_run(tmp_path):
    prepared = prepare(
        JOB,
        replace(SITE, host_python="/opt/py/bin/python", host_modules=["py/3"]),
        "slurm",
        str(tmp_path),
    )

    script = prepared.script or ""
    assert f"#SBATCH --chdir={prepared.paths.root}\n" in script
    assert f"    /opt/py/bin/python -s -u -m hpcdl.worker {prepared.paths.submitit}\n" in script
    assert "module load py/3\n" in script
    assert f"export PYTHONPATH={tmp_path}/.code/" in script


@pytest.mark.parametrize(("site", "options"), [("installed", []), ("elsewhere", ["-s"])])
def test_worker_uses_user_site_if_needed(monkeypatch, site, options):
    """The worker's Python reads the user site only if hpcdl's packages are installed there."""
    folders = {
        "installed": str(Path(submitit.__file__).parents[1]),
        "elsewhere": "/home/u/.local/lib/python",
    }
    monkeypatch.setattr("site.getusersitepackages", lambda: folders[site])

    assert python_options() == options


@pytest.mark.parametrize("open_to_all", ["", "submitit"])
def test_writable_run_folder_is_not_submitted(tmp_path, monkeypatch, open_to_all):
    """As on a file system that lets everybody write everything."""
    prepared = prepare(replace(JOB, script=__file__), SITE, "slurm", str(tmp_path))

    def create_open(*args: object) -> None:
        prepared.paths.submitit.mkdir(parents=True)
        (prepared.paths.root / open_to_all).chmod(0o777)

    monkeypatch.setattr("hpcdl.submission.send.require_backend", lambda submission: None)
    monkeypatch.setattr("hpcdl.submission.send.make", create_open)

    with pytest.raises(
        RunError, match=r"can be written by others \(mode 777\), so the job would not run"
    ):
        submit(prepared)
