"""The jobs of a test of a site: small, and within their GPU-minutes before anything is sent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.errors import UserError
from hpcdl.preflight import Subject
from hpcdl.preflight.limits import time_limit
from hpcdl.promises.folder import make, new_folder, remove_earlier
from hpcdl.promises.jobs import TestJob, Wanted, prepare_jobs
from hpcdl.promises.names import JOBS
from hpcdl.scheduler.site import Site


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def jobs_with(
    keys: str = "node: {cpus: 64, gpus: 4}\n", names: Sequence[str] = JOBS, **wanted: Any
) -> dict[str, TestJob]:
    Path("site.yaml").write_text(f"name: site\nimages: {{tensorflow: /x.sif}}\n{keys}")
    jobs = prepare_jobs(names, load_cluster("site.yaml"), Wanted(**wanted), Path("/runs/test"))
    return {job.name: job for job in jobs}


def minutes_of(jobs: dict[str, TestJob]) -> float:
    return sum(job.gpu_minutes for job in jobs.values())


def directives_of(job: TestJob) -> dict[str, str]:
    return dict(job.submission.plan.directives)


@pytest.mark.parametrize(
    ("gpus_of_node", "each", "allowed", "gpus", "minutes"),
    [
        (4, 0, 10.0, 4, 8.0),
        (8, 0, 10.0, 5, 10.0),
        (8, 0, 16.0, 8, 16.0),
        (4, 1, 10.0, 1, 10.0),
        (4, 1, 14.0, 3, 14.0),
        (0, 0, 10.0, 0, 0.0),
    ],
)
def test_jobs_fit_their_minutes(
    gpus_of_node: int, each: int, allowed: float, gpus: int, minutes: float
) -> None:
    keys = f"node: {{cpus: 64, gpus: {gpus_of_node}}}\n"
    jobs = jobs_with(keys, gpus_each=each, gpu_minutes=allowed)

    assert jobs["node"].submission.plan.size.gpus == gpus
    assert minutes_of(jobs) == pytest.approx(minutes)


@pytest.mark.parametrize("requeue", [True, False])
@pytest.mark.parametrize("memory", ["none", "mem", "mem-per-gpu"])
@pytest.mark.parametrize("each", [0, 1])
def test_no_profile_takes_more(requeue: bool, memory: str, each: int) -> None:
    """Ten GPU-minutes are enough, and a chain's jobs are in them."""
    for lead, gpus in ((1, 1), (180, 4), (65535, 8)):
        keys = (
            f"node: {{cpus: 64, gpus: {gpus}, memory_gb: 512}}\nsignal_lead_s: {lead}\n"
            f"requeue: {str(requeue).lower()}\nmemory_request: {memory}\nmax_requeues: 10\n"
        )
        jobs = jobs_with(keys, gpus_each=each)
        assert minutes_of(jobs) <= 10
        again = {name for name, job in jobs.items() if job.submission.plan.policy.max_requeues}
        assert again == {"stop", "cancel", "memory"}


def test_whole_nodes_are_counted() -> None:
    with pytest.raises(UserError, match=r"up to 40 GPU-minutes .each job gets a whole node."):
        jobs_with(whole_nodes=True)

    jobs = jobs_with(whole_nodes=True, gpu_minutes=40)
    assert jobs["node"].submission.plan.size.gpus == 4
    assert (jobs["stop"].submission.plan.size.gpus, jobs["stop"].gpu_minutes) == (0, 16)


def test_too_many_minutes_are_refused() -> None:
    with pytest.raises(UserError, match="up to 16 GPU-minutes, and --gpu-minutes is 10"):
        jobs_with("node: {cpus: 64, gpus: 8}\n", gpus=8)


def test_warning_fits_the_time_limit() -> None:
    """SLURM is asked for the profile's own lead, up to a minute: a longer one takes a longer job.

    A shorter one would come after hpcdl's own clock.
    """
    for lead, each, minutes, asked in (
        (50, 0, 3, 50),
        (65535, 0, 3, 60),
        (1, 0, 2, 40),
        (180, 1, 2, 40),
    ):
        keys = f"node: {{cpus: 4, gpus: 4}}\nsignal_lead_s: {lead}\nstop_margin_s: 600\n"
        stop = jobs_with(keys, gpus_each=each)["stop"]
        options = directives_of(stop)
        assert (options["time"], options["signal"]) == (f"00:{minutes:02d}:00", f"B:USR2@{asked}")
        assert float(stop.submission.plan.environment.env["HPCDL_PACE_S"]) * 60 > 60 * minutes
        assert stop.submission.plan.policy.stop_margin_s < asked


@pytest.mark.parametrize("each", [0, 1])
def test_sites_long_margin_blocks_nothing(each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """--fix itself writes it: the next test's jobs are shorter than that."""
    keys = "node: {cpus: 4, gpus: 4}\nstop_margin_s: 120\n"
    monkeypatch.setattr("hpcdl.preflight.read_site", Site)
    for name, job in jobs_with(keys, gpus_each=each).items():
        assert list(time_limit(Subject(job.submission, job.cluster))) == [], name
        assert job.submission.plan.policy.stop_margin_s == 15


def test_memory_is_asked_for_sparingly() -> None:
    asks = jobs_with("node: {cpus: 4, memory_gb: 8}\nmemory_request: mem\n")
    asks_not = jobs_with("node: {cpus: 4}\n")

    assert directives_of(asks["memory"])["mem"] == "1024M"
    assert directives_of(asks["node"])["mem"] == "8192M"
    assert "mem" not in directives_of(asks_not["memory"])


def test_probe_sees_what_slurm_gave() -> None:
    node = jobs_with("node: {cpus: 4, gpus: 1}\npass_env: [SLURM_JOB_GPUS, MINE]\n")["node"]

    environment = node.submission.plan.environment
    assert environment.env["HPCDL_PROBE_SITE"] == "1"
    assert environment.pass_env[:2] == ["SLURM_JOB_GPUS", "MINE"]
    assert environment.pass_env.count("SLURM_JOB_GPUS") == 1


def test_earlier_test_is_removed(tmp_path: Path) -> None:
    """Only folders of tests of this profile, and nobody's own next to them."""
    jobs_with()
    cluster = load_cluster("site.yaml")
    earlier, now = new_folder(cluster, str(tmp_path)), new_folder(cluster, str(tmp_path))
    for folder in (earlier, now):
        make(folder)
    earlier.record.write_text('{"version": 1}')
    own = earlier.root.with_name("site-of-mine")
    own.mkdir()
    of_other = earlier.root.with_name("site-b-20260101-1200-abcd")
    shutil.copytree(earlier.root, of_other)

    assert remove_earlier(now, cluster) == []
    assert not earlier.root.exists()
    assert now.record.exists()
    assert own.exists()
    assert of_other.exists()


def test_test_under_way_stays(tmp_path: Path) -> None:
    """It has no run yet, or none any more that goes on; a day later nobody follows it."""
    jobs_with()
    cluster = load_cluster("site.yaml")
    other, now = new_folder(cluster, str(tmp_path)), new_folder(cluster, str(tmp_path))
    for folder in (other, now):
        make(folder)

    assert remove_earlier(now, cluster) == [other.root]
    os.utime(other.record, (1.0, 1.0))
    assert remove_earlier(now, cluster) == []
    assert not other.root.exists()
