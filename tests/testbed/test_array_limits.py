"""Limits of the real SLURM, read before an array is sent: of an account, of a QoS, of slurm.conf."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.testbed.conftest import VENV, Bed, new_bed, until

pytestmark = [pytest.mark.testbed, pytest.mark.second_bed]

ACCOUNT, QOS = "few", "few_qos"
# What a sweep of that many tasks is told, before and while it is sent
PROBE = """
import json, sys
from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.preflight import Subject, check
from hpcdl.preflight.sweep import sweep_checks
from hpcdl.scheduler.arrays import split
from hpcdl.scheduler.limits import array_limits
from hpcdl.submission.prepare import prepare

profile, qos, tasks = sys.argv[1], sys.argv[2], int(sys.argv[3])
cluster = load_cluster(profile, ["cluster.account=few", f"cluster.qos={qos}"])
ready = prepare(load_job("job.yaml"), cluster, runs_dir="runs")
limits = array_limits(ready.plan.directives, cluster)
answer = split(tasks, 4, limits)
report = check(Subject(ready, cluster), sweep_checks("slurm", tasks, 4, True))
print(json.dumps({
    "limits": vars(limits),
    "arrays": [piece.expression for piece in answer.pieces],
    "left_over": answer.left_over,
    "findings": [vars(finding) for _, finding in report.findings],
    "skipped": report.skipped,
    "notes": report.notes,
}))
"""
JOB = 'name: a\ncontainer: python\nresources: {time: "00:05:00"}\nscript: program.py\n'
BATCH = (
    "#!/bin/bash\n#SBATCH --account=few --time=5 --cpus-per-task=1 --output=/dev/null\nsleep 60\n"
)


def sacctmgr(*words: str) -> None:
    done = subprocess.run(["sacctmgr", "-i", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def site(cluster: None) -> Iterator[Bed]:
    """A folder, and an account and a QoS that no other test uses; they are removed again."""
    bed = new_bed("test-array-limits")
    bed.write("job.yaml", JOB)
    bed.write("program.py", "print(1)\n")
    bed.write("batch.sh", BATCH)
    bed.environment["XDG_CACHE_HOME"] = str(bed.folder / "cache")
    sacctmgr("add", "qos", QOS)
    sacctmgr("add", "account", ACCOUNT)
    sacctmgr("add", "user", "hpcuser", f"account={ACCOUNT}")
    sacctmgr("modify", "user", "hpcuser", "where", f"account={ACCOUNT}", "set", f"qos=normal,{QOS}")
    yield bed
    clear_queue()
    sacctmgr("delete", "user", "hpcuser", f"account={ACCOUNT}")
    sacctmgr("delete", "account", ACCOUNT)
    sacctmgr("delete", "qos", QOS)
    shutil.rmtree(bed.folder, ignore_errors=True)


def clear_queue() -> None:
    subprocess.run(["scancel", f"--account={ACCOUNT}"], check=True)
    until(lambda: not in_queue("--states=all", "--format=%i %T", ended=False))


def in_queue(*options: str, ended: bool = True) -> list[str]:
    """The tasks of the account, as squeue shows them."""
    argv = ["squeue", "--noheader", "--array", f"--account={ACCOUNT}", *options]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if ended or "CANCELLED" not in line]


def limit(kind: str, **limits: int) -> None:
    """Set limits of the account's user or of the QoS; -1 takes one away."""
    words = [f"{key}={value}" for key, value in limits.items()]
    if kind == "qos":
        sacctmgr("modify", "qos", QOS, "set", *words)
    else:
        sacctmgr("modify", "user", "hpcuser", "where", f"account={ACCOUNT}", "set", *words)


def probe(bed: Bed, qos: str, tasks: int) -> dict[str, Any]:
    """What hpcdl says; it asks anew, as after ten minutes."""
    shutil.rmtree(bed.folder / "cache", ignore_errors=True)
    done = bed.run(VENV / "python", "-c", PROBE, bed.profile, qos, tasks)
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["skipped"] == []
    return told


def send(bed: Bed, qos: str, expression: str, *options: str) -> subprocess.CompletedProcess[str]:
    words = [f"--qos={qos}", f"--array={expression}", *options]
    return bed.run("sbatch", "--parsable", *words, "batch.sh", check=False)


def test_max_submit_of_the_account(site: Bed) -> None:
    """Eight tasks where five may be in the queue: five are sent, and then none."""
    limit("user", MaxSubmitJobs=5)

    told = probe(site, "normal", 8)
    assert (told["arrays"], told["left_over"]) == (["0-4%4"], 3)
    (finding,) = told["findings"]
    assert not finding["blocks"]
    assert finding["cause"] == (
        "the sweep has 8 tasks, and 5 can be submitted now: "
        "account few allows 5 tasks in the queue (MaxSubmitJobs)"
    )
    refused = send(site, "normal", "0-7", "--hold")
    assert "AssocMaxSubmitJobLimit" in refused.stderr
    assert send(site, "normal", told["arrays"][0], "--hold").returncode == 0
    told = probe(site, "normal", 8)
    assert told["limits"]["max_submitted"] == 0
    assert "(MaxSubmitJobs), 5 are there" in told["findings"][0]["cause"]
    assert told["findings"][0]["blocks"]
    clear_queue()


def test_limits_of_the_qos(site: Bed) -> None:
    """MaxSubmitJobsPU replaces the account's MaxSubmitJobs; MaxJobsPU holds tasks back."""
    limit("user", MaxSubmitJobs=5)
    limit("qos", MaxSubmitJobsPerUser=7, MaxJobsPerUser=1)

    told = probe(site, QOS, 6)
    assert (told["limits"]["max_submitted"], told["limits"]["max_running"]) == (7, 1)
    assert (told["arrays"], told["findings"]) == (["0-5%1"], [])
    assert told["notes"][0].startswith(f"QoS {QOS} lets 1 task run at once (MaxJobsPU)")
    assert send(site, QOS, "0-5").returncode == 0
    reasons = until(lambda: "QOSMaxJobsPerUserLimit" in " ".join(in_queue("--format=%T %r")))
    assert reasons
    states = in_queue("--format=%T")
    assert states.count("RUNNING") <= 1
    assert probe(site, QOS, 6)["limits"]["max_submitted"] == 1
    clear_queue()
    limit("qos", MaxSubmitJobsPerUser=-1, MaxJobsPerUser=-1)


def test_limits_of_all_users(site: Bed) -> None:
    limit("user", MaxSubmitJobs=-1)
    limit("qos", GrpSubmitJobs=3, MaxSubmitJobsPerAccount=9)

    told = probe(site, QOS, 4)
    assert told["limits"]["max_submitted"] == 3
    assert "(GrpSubmitJobs)" in told["limits"]["submit_rule"]
    assert "QOSGrpSubmitJobsLimit" in send(site, QOS, "0-3", "--hold").stderr
    assert send(site, QOS, told["arrays"][0], "--hold").returncode == 0
    assert probe(site, QOS, 4)["limits"]["max_submitted"] == 0
    clear_queue()
    limit("qos", GrpSubmitJobs=-1, MaxSubmitJobsPerAccount=-1)


def test_limit_that_only_slurm_knows(site: Bed) -> None:
    """The limit of the account as a whole is not the user's to read: SLURM's own test tells it."""
    limit("user", MaxSubmitJobs=-1)
    sacctmgr("modify", "account", ACCOUNT, "set", "GrpSubmitJobs=2")

    (finding,) = probe(site, "normal", 3)["findings"]
    assert finding["blocks"]
    assert finding["cause"].startswith("SLURM refuses it with --array=0-2: AssocGrpSubmitJobsLimit")
    sacctmgr("modify", "account", ACCOUNT, "set", "GrpSubmitJobs=-1")


def test_more_tasks_than_one_array_takes(site: Bed) -> None:
    """MaxArraySize is 1001 here: the highest number is 1000."""
    limit("user", MaxSubmitJobs=-1)

    told = probe(site, "normal", 1500)
    assert told["limits"]["max_array_size"] == 1001
    assert told["arrays"] == ["0-749%2", "0-749%2"]
    assert told["findings"] == []
    assert "the tasks go in 2 arrays of at most 750" in told["notes"][0]
    assert send(site, "normal", "0-1000", "--test-only").returncode == 0
    assert "Invalid job array" in send(site, "normal", "0-1001", "--test-only").stderr
