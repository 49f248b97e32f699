"""What a job will take, by its earlier runs: which of them count, and how epochs are scaled."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.earlier_runs import earlier_runs, has_earlier_runs
from hpcdl.run.estimate import estimate
from hpcdl.submission.prepare import prepare


@pytest.fixture
def job(write_job):
    """A script with 2 GPUs."""
    return load_job(write_job("name: a\nscript: a.py\nresources: {gpus: 2}\n", a__py=""))


@pytest.fixture
def training():
    return load_job("digits_cnn", ["name=a", "train.epochs=20"])


@pytest.fixture
def add_run(tmp_path):
    """Adds a run that is done, the newest so far."""
    folder = tmp_path / "runs" / "a"

    def add(seconds=600.0, plan=None, spec=None, backend="slurm", **result):
        root = folder / f"20261128-1600-{len(list(folder.glob('*'))):04}"
        root.mkdir(parents=True)
        size = {"nodes": 1, "gpus": 2, "script": "a.py", **(plan or {})}
        (root / "plan.json").write_text(json.dumps(size))
        whole = {"state": "done", "cluster": {"backend": backend}, **result}
        whole["timing"] = {"total_s": seconds, **result.get("timing", {})}
        (root / "result.json").write_text(json.dumps(whole))
        if spec is not None:
            (root / "run.json").write_text(json.dumps(spec))

    return add


def test_median_and_gpu_hours(tmp_path, job, add_run):
    for seconds in (600.0, 720.0, 7200.0):
        add_run(seconds)

    expected = estimate(tmp_path / "runs", job)

    assert expected is not None
    assert (expected.seconds, expected.p95_s, expected.runs) == (720.0, 7200.0, 3)
    assert str(expected) == "about 12 min and 0.4 GPU-hours, by 3 earlier runs"


def test_newest_twenty_count(tmp_path, job, add_run):
    for number in range(30):
        add_run(100.0 if number < 10 else 200.0)

    expected = estimate(tmp_path / "runs", job)

    assert expected is not None
    assert (expected.runs, expected.seconds) == (20, 200.0)


@pytest.mark.parametrize(
    "other",
    [
        {"state": "failed"},
        {"backend": "local"},
        {"plan": {"gpus": 1}},
        {"plan": {"nodes": 2}},
        {"plan": {"script": "b.py"}},
        {"plan": {"script": None}},
        {"timing": {"total_s": None}},
    ],
    ids=str,
)
def test_other_runs_do_not_count(tmp_path, job, add_run, other):
    add_run(**other)

    assert estimate(tmp_path / "runs", job) is None


def test_no_run_no_estimate(tmp_path, job):
    assert estimate(tmp_path / "runs", job) is None


def test_epochs_are_scaled(tmp_path, training, add_run):
    """A minute to start, then 10 of 10 epochs of 6 s; 20 epochs take a minute more."""
    timing = {"per_epoch_s": 6.0}
    plan = {"script": None, "gpus": training.resources.gpus}
    add_run(120.0, plan, {"train": {"epochs": 10}}, epochs_run=10, timing=timing)

    expected = estimate(tmp_path / "runs", training)

    assert expected is not None
    assert expected.seconds == pytest.approx(180.0)


def test_early_stop_is_expected_again(tmp_path, training, add_run):
    plan = {"script": None, "gpus": training.resources.gpus}
    timing = {"per_epoch_s": 6.0}
    add_run(90.0, plan, {"train": {"epochs": 20}}, epochs_run=5, timing=timing)

    expected = estimate(tmp_path / "runs", training)

    assert expected is not None
    assert expected.seconds == 90.0


def test_unknown_epochs_do_not_count(tmp_path, training, add_run):
    """Its epochs differ, and it does not say how long they took."""
    plan = {"script": None, "gpus": training.resources.gpus}
    add_run(90.0, plan, {"train": {"epochs": 10}})
    add_run(90.0, plan)

    assert estimate(tmp_path / "runs", training) is None


@pytest.fixture
def subject(tmp_path, job):
    """The job with a time limit, as it would be sent."""

    def of(time: str) -> Subject:
        profile = tmp_path / "c.yaml"
        profile.write_text("name: c\nnode: {cpus: 8, gpus: 2}\nimages: {tensorflow: /i.sif}\n")
        cluster = load_cluster(str(profile))
        limited = replace(job, resources=replace(job.resources, time=time))
        return Subject(prepare(limited, cluster, runs_dir=str(tmp_path / "runs")), cluster)

    return of


def test_short_limit_is_a_warning(add_run, subject):
    add_run(1200.0)

    note, finding = earlier_runs(subject("00:15:00"))

    assert isinstance(note, Note)
    assert isinstance(finding, Finding)
    assert not finding.blocks
    assert "resources.time is 00:15:00, but 1 earlier run took up to 00:20:00" in finding.cause
    assert finding.fix == "ask for more: --set resources.time=00:30:00"


def test_enough_time_is_a_note(add_run, subject):
    add_run(20.0)

    assert list(earlier_runs(subject("00:15:00"))) == [
        Note("about 20 s and 0.011 GPU-hours, by 1 earlier run")
    ]


def test_first_run_has_no_such_check(subject):
    assert not has_earlier_runs(subject("00:15:00"))
