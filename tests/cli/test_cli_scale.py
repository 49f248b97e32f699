"""``hpcdl scale``: what it would send and cost, and what it refuses before anything is made."""

from __future__ import annotations

import pytest

JOB = """\
name: small
data: {path: data.npz, validation_split: 0.2}
model: {name: mlp, dense: [4]}
train:
  epochs: 50
  batch_size: 64
  early_stopping: {monitor: val_loss}
  schedule: {name: plateau}
test: {attack: [0.1]}
export: tflite
"""
PROFILE = """\
name: site
node: {cpus: 8, gpus: 4, memory_gb: 16}
gpu_request: gres
images: {tensorflow: /nowhere/tensorflow.sif}
runs_root: runs
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a job and a profile, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "site.yaml").write_text(PROFILE)
    return tmp_path


@pytest.fixture
def scale(cli, folder):
    return lambda *words: cli("scale", *words, "-c", "site.yaml")


def test_dry_run_tells_the_cost(scale, folder):
    answer = scale("job.yaml", "--gpus", "4,1,2,1", "--dry-run", "--time", "00:10:00")

    assert answer.code == 0, answer.err
    assert "3 short runs of small-scale, with GPUs: 1, 2, 4; about 200 steps each" in answer.err
    assert "one after the other, up to 00:10:00 each: up to 1.17 GPU-hours together" in answer.err
    assert "nothing was sent" in answer.err
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gpus", "1"), "give at least two sizes"),
        ((), "give the sizes to compare, such as --gpus 1,2,4"),
        (("--gpus", "1,two"), "'1,two'; expected whole numbers from 1 on"),
        (("--gpus", "0,1"), "expected whole numbers from 1 on"),
        (("--gpus", "1,-2"), "expected whole numbers from 1 on"),
        (("--gpus", "1,99999999999999"), "expected whole numbers from 1 on"),
        (("--gpus", "1,8"), "resources.gpus: is 8, but a node of site has 4"),
        (("--gpus", "1,2", "--set", "resources.gpus=4"), "is what --gpus says"),
        (("--gpus", "1,2", "--time", "soon"), "expected a time"),
        (("--gpus", "1,2", "--set", "cluster.budget_gpu_hours=0.5"), "budget_gpu_hours"),
        (("--gpus", "1,2", "--set", "train.batch_size=1"), "batch_size"),
        (("--gpus", "1,2", "--set", "slurm.dependency=afterok:7"), "or say --at-once"),
    ],
)
def test_refused_before_anything_is_made(scale, folder, words, message):
    answer = scale("job.yaml", *words, "--dry-run")

    assert answer.code == 2, answer.err
    assert message in answer.err
    assert not (folder / "runs").exists()


def test_other_programs_are_refused(scale, folder):
    (folder / "train.py").write_text("print(1)\n")
    answer = scale("train.py", "--gpus", "1,2", "--dry-run")

    assert answer.code == 2
    assert "is not a training of hpcdl's" in answer.err


def test_folder_without_report_is_refused(scale, folder):
    answer = scale(folder)

    assert answer.code == 2
    assert "it has no scale.json" in answer.err


def test_machine_without_gpus_is_refused(cli, folder):
    answer = cli("scale", "job.yaml", "--gpus", "1,2", "--backend", "local")

    assert answer.code == 2
    assert "this machine has no GPU" in answer.err
    assert "cluster.emulate_gpus=true" in answer.err


def test_short_run_leaves_the_rest_out(folder):
    from hpcdl.job import load_job
    from hpcdl.submission.scale import passes_of, short_sets

    whole = load_job("job.yaml")
    short = load_job("job.yaml", short_sets(whole, 200))

    assert passes_of(whole) == 40
    assert short.name == "small-scale", "else hpcdl check would count it as an earlier run"
    assert short.train is not None and short.data is not None and short.test is not None
    assert (short.train.epochs, short.train.steps_per_epoch) == (4, 50)
    assert (short.train.early_stopping, short.train.schedule, short.export) == (None, None, [])
    assert (short.data.validation_split, short.test.attack, short.test.explain) == (0, [], "none")


def test_recommended_batch_replaces_the_files(folder):
    from hpcdl.job import load_job

    job = load_job("job.yaml", ["train.batch_size_per_gpu=64"])

    assert job.train is not None
    assert job.train.for_gpus(4).batch_size == 256
