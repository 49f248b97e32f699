"""The checks of a sweep: exclusive symbolic links, and how many tasks the site takes."""

from __future__ import annotations

import os

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.mounts.file_systems import UNKNOWN, file_system_of
from hpcdl.preflight import Report, Subject, check, exclusive_links
from hpcdl.preflight.all_checks import check_all, check_python
from hpcdl.preflight.sweep import sweep_checks
from hpcdl.submission.prepare import prepare

LIMITED = "normal|||||||7||||\nacc_debug|02:00:00|||||2|5||||"
CONFIG = (
    "AccountingStorageEnforce = associations,limits,qos\nClusterName = testbed\nMaxArraySize = {}"
)
QUEUED = "me|nct00|acc_debug|acc"
LINK = "os.symlink(key, name)"


def checked(world, *sets: str, tasks: int = 8, can_be_fewer: bool = True) -> Report:
    job = load_job(world.folder / "model.yaml")
    cluster = load_cluster(str(world.folder / "site.yaml"), list(sets))
    checks = sweep_checks("slurm", tasks, 4, can_be_fewer)
    return check(Subject(prepare(job, cluster), cluster), checks)


@pytest.fixture
def limited(world):
    """A site whose QoS takes five tasks and runs two, with some in the queue."""

    def fill(queued: int, array_size: int = 1001) -> None:
        rows = f"{QUEUED}\n" * queued
        world.command("squeue", f"#!/bin/sh\ncat <<'.'\n{rows}.\n")
        world.slurm(qos=LIMITED, config=CONFIG.format(array_size))
        world.command("sbatch", f'#!/bin/sh\necho "$@" >{world.folder}/asked\ncat >/dev/null\n')

    return fill


def test_links_of_this_disk_are_exclusive(world):
    report = checked(world)

    assert report.findings == []
    assert "exclusive links" in report.passed
    assert not list(world.folder.glob(".hpcdl-links-*"))


@pytest.mark.parametrize(
    ("instead", "fault"),
    [
        (f"os.path.lexists(name) or {LINK}", "both succeeded"),
        ("raise PermissionError(1, 'Operation not permitted')", "cannot be made there: "),
        (f"{LINK}; raise FileExistsError", "25 could be made by no process"),
        ("os.symlink('other', name)", "leads to 'other'"),
    ],
    ids=["not-exclusive", "no-links", "lost", "changed"],
)
def test_file_system_without_claims(world, monkeypatch, instead, fault):
    racer = exclusive_links._RACER.replace(LINK, instead)
    monkeypatch.setattr(exclusive_links, "_RACER", racer)

    ((name, finding),) = checked(world).findings
    kind = file_system_of(world.folder)
    assert name == "exclusive links"
    assert finding.blocks
    assert finding.cause.startswith(f"{world.folder} is on {kind}: ")
    assert fault in finding.cause
    assert "--runs-dir DIR" in finding.fix
    assert not list(world.folder.glob(".hpcdl-links-*"))


def test_dead_racer_is_no_verdict(world, monkeypatch):
    monkeypatch.setattr(exclusive_links, "_RACER", "raise SystemExit('no memory')")

    report = checked(world)
    assert report.findings == []
    assert [name for name, _ in report.skipped] == ["exclusive links"]
    assert "no memory" in report.skipped[0][1]


def test_missing_runs_root_is_tried_above(world):
    report = checked(world, f"cluster.runs_root={world.folder}/a/b/c")

    assert "exclusive links" in report.passed
    assert not (world.folder / "a").exists()


def test_fewer_workers_run_all_trials(world, limited):
    """What cannot be sent is a warning where the others take its trials."""
    limited(queued=2)

    report = checked(world)
    ((name, finding),) = report.findings
    assert (name, finding.blocks) == ("tasks", False)
    assert finding.cause == (
        "the sweep has 8 tasks, and 3 can be submitted now: "
        "QoS acc_debug allows 5 tasks in the queue (MaxSubmitJobsPU), 2 are there"
    )
    assert report.notes == [
        "QoS acc_debug lets 2 tasks run at once (MaxJobsPU): "
        "the sweep's other tasks wait in the queue"
    ]
    assert (world.folder / "asked").read_text() == "--test-only --array=0-2%2\n"


def test_tasks_that_are_needed_are_refused(world, limited):
    limited(queued=2)

    ((_, finding),) = checked(world, can_be_fewer=False).findings
    assert finding.blocks
    assert "3 can be submitted now" in finding.cause
    assert "trials_per_task" in finding.fix


def test_full_queue_refuses_the_sweep(world, limited):
    limited(queued=5)

    ((_, finding),) = checked(world).findings
    assert finding.blocks
    assert "0 can be submitted now" in finding.cause
    assert finding.fix.startswith("wait until other jobs have ended")
    assert not (world.folder / "asked").exists()


def test_arrays_that_are_switched_off(world, limited):
    limited(queued=0, array_size=0)

    ((_, finding),) = checked(world).findings
    assert finding.blocks
    assert "MaxArraySize is 0" in finding.cause


def test_long_array_is_split(world, limited):
    limited(queued=0, array_size=4)

    report = checked(world, "cluster.qos=normal", tasks=7)
    assert report.findings == []
    assert report.notes == ["the tasks go in 2 arrays of at most 4, as SLURM and the site ask"]


def test_slurm_refuses_the_array(world, limited):
    limited(queued=0)
    refusal = "echo 'sbatch: error: AssocGrpSubmitJobsLimit' >&2; exit 1"
    world.command("sbatch", f"#!/bin/sh\n{refusal}\n")

    finding = checked(world, "cluster.qos=normal", tasks=3).findings[-1][1]
    assert finding.blocks
    assert finding.cause == "SLURM refuses it with --array=0-2: AssocGrpSubmitJobsLimit"


def test_sweep_has_the_checks_of_its_job(world, limited):
    """One test of SLURM's, with the array, and when it would start."""
    limited(queued=0)
    world.slurm(qos=LIMITED, config=CONFIG.format(1001))
    job = load_job(world.folder / "model.yaml")
    cluster = load_cluster(str(world.folder / "site.yaml"))

    subject = Subject(prepare(job, cluster), cluster)
    report = check_all(subject, sweep_checks("slurm", 2, 2, True))
    assert report.findings == []
    assert report.passed[:3] == ["account", "partition", "QoS"]
    assert report.passed[-4:] == ["file system", "exclusive links", "tasks", "sbatch --test-only"]
    assert any(note.startswith("would start ") for note in report.notes)


def test_local_sweep_asks_no_slurm(world):
    checks = sweep_checks("local", 2, 2, True)
    job = load_job(world.folder / "model.yaml")
    cluster = load_cluster(str(world.folder / "site.yaml"))

    report = check_python(Subject(prepare(job, cluster), cluster), checks)
    assert "exclusive links" in report.passed
    assert [name for name, _ in checks] == ["exclusive links"]


def test_file_system_of_odd_folders(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/proc/self")

    assert file_system_of(link) == "proc"
    assert file_system_of("/proc/self/../self") == "proc"
    assert file_system_of(os.curdir) != UNKNOWN
