"""What SLURM and a site allow for an array: which limit counts, and how much of it is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.scheduler import limits, site_records
from hpcdl.scheduler.arrays import ArrayLimits
from hpcdl.scheduler.limits import QueuedTask, limits_at
from hpcdl.scheduler.site import Partition, Site

# As sacctmgr of SLURM 22.05 prints limits of both kinds
NORMAL = "normal||||||||||||"
DEBUG = "acc_debug|02:00:00|||||2|7|4|9|6|20"
USER = "nct00|acc_debug,high,normal|normal|||nct00|3|5||50"
MINE = QueuedTask("me", "nct00", "acc_debug", ("acc",))
OTHERS = QueuedTask("you", "nct00", "acc_debug", ("acc",))


def a_site(*qos: str, user: str = USER, **config: str) -> Site:
    return Site(
        partitions=(Partition("acc", default=True),),
        qos=tuple(site_records.qos_of(line) for line in qos),
        associations=(site_records.association_of(user),),
        config=config,
    )


@pytest.fixture
def queue(monkeypatch):
    """Fills the queue with tasks, or lets it not answer (None)."""
    monkeypatch.setattr(limits, "read_queue", lambda everybody=False: [])

    def fill(rows: list[QueuedTask] | None) -> None:
        def read(everybody: bool = False) -> list[QueuedTask] | None:
            if rows is None or everybody:
                return rows
            return [row for row in rows if row.user == "me"]

        monkeypatch.setattr(limits, "read_queue", read)

    return fill


@pytest.fixture
def profile(tmp_path):
    """A profile with some of its own limits."""

    def write(text: str = ""):
        path = tmp_path / "here.yaml"
        path.write_text(f"name: here\naccount: nct00\n{text}\n")
        return load_cluster(str(path))

    return write


def test_limits_in_words_of_sacctmgr():
    (qos,) = a_site(DEBUG).qos or ()
    (association,) = a_site().associations or ()

    assert qos.jobs == {
        "MaxJobsPU": 2,
        "MaxSubmitJobsPU": 7,
        "MaxJobsPA": 4,
        "MaxSubmitJobsPA": 9,
        "GrpJobs": 6,
        "GrpSubmitJobs": 20,
    }
    assert association.jobs == {"MaxJobs": 3, "MaxSubmitJobs": 5, "GrpSubmitJobs": 50}


def test_qos_limit_replaces_the_accounts(queue, profile):
    """SLURM 22.05 took six tasks where the account allows 5 and the QoS allows 7."""
    queue([MINE] * 6)

    answer = limits_at(a_site(NORMAL, DEBUG), {"qos": "acc_debug"}, profile())
    assert (answer.max_submitted, answer.max_running) == (1, 2)
    assert answer.submit_rule == (
        "QoS acc_debug allows 7 tasks in the queue (MaxSubmitJobsPU), 6 are there"
    )
    assert answer.run_rule == "QoS acc_debug lets 2 tasks run at once (MaxJobsPU)"


def test_account_limit_without_the_qos(queue, profile):
    """Tasks of the account count, whatever their QoS."""
    queue([MINE, replace(MINE, qos="normal"), replace(MINE, account="other"), OTHERS])

    answer = limits_at(a_site(NORMAL, DEBUG), {}, profile())
    assert (answer.max_submitted, answer.max_running) == (3, 3)
    assert answer.submit_rule == (
        "account nct00 allows 5 tasks in the queue (MaxSubmitJobs), 2 are there"
    )
    assert answer.run_rule == "account nct00 lets 3 tasks run at once (MaxJobs)"


def test_group_limit_counts_everybody(queue, profile):
    queue([MINE] * 2 + [OTHERS] * 4 + [replace(OTHERS, account="other")] * 10)

    answer = limits_at(a_site(DEBUG), {"qos": "acc_debug"}, profile())
    assert answer.max_submitted == 3
    assert "(MaxSubmitJobsPA), 6 are there" in answer.submit_rule
    queue([OTHERS] * 4 + [replace(OTHERS, account="other")] * 15)
    answer = limits_at(a_site(DEBUG), {"qos": "acc_debug"}, profile())
    assert answer.max_submitted == 1
    assert "(GrpSubmitJobs), 19 are there" in answer.submit_rule


def test_full_queue_leaves_nothing(queue, profile):
    queue([MINE] * 12)

    assert limits_at(a_site(DEBUG), {"qos": "ACC_DEBUG"}, profile()).max_submitted == 0


def test_qos_of_partition_comes_first(queue, profile):
    """Its tasks are those in the partition; another QoS of the job has no say."""
    own = a_site(NORMAL, DEBUG, "part|||||||4||||")
    own = replace(own, partitions=(Partition("acc", default=True, own_qos="part"),))
    queue([replace(MINE, qos="normal"), replace(MINE, partitions=("other",))])

    answer = limits_at(own, {"qos": "acc_debug"}, profile())
    assert answer.max_submitted == 3
    assert answer.submit_rule.startswith("QoS part allows 4 ")


def test_limits_of_slurm_and_site(queue, profile):
    """MaxArraySize is the highest number of a task and one; the profile may ask for less."""
    own = a_site(
        NORMAL,
        user="nct00|normal|normal|||nct00",
        MaxArraySize="1001",
        MaxJobCount="20000",
        SchedulerParameters="bf_interval=1,max_array_tasks=500",
    )
    queue([MINE] * 3)

    answer = limits_at(own, {}, profile())
    assert (answer.max_array_size, answer.max_tasks, answer.max_submitted) == (1001, 500, 20000)
    answer = limits_at(own, {}, profile("max_array_tasks: 100\nmax_submitted_tasks: 10"))
    assert (answer.max_tasks, answer.max_submitted) == (100, 7)
    assert answer.submit_rule == (
        "profile here allows 10 tasks in the queue (cluster.max_submitted_tasks), 3 are there"
    )


def test_silent_slurm_leaves_limits_unknown(queue, profile, monkeypatch):
    queue(None)
    assert limits_at(a_site(DEBUG), {"qos": "acc_debug"}, profile()).max_submitted is None

    monkeypatch.setenv("PATH", "/nowhere")
    own = profile("max_array_tasks: 100\nmax_submitted_tasks: 10")
    answer = limits.array_limits([("qos", "acc_debug")], own)
    assert (answer.max_array_size, answer.max_running, answer.run_rule) == (None, None, "")
    assert (answer.max_tasks, answer.max_submitted) == (100, 10)
    assert limits.array_limits([], profile()) == ArrayLimits()


def test_unlimited_partition_frees_the_job(queue, profile):
    """A job for two partitions may go to the one whose association has no limit."""
    lines = ["nct00|normal|normal|acc||nct00||5", "nct00|normal|normal|debug||nct00||"]
    own = a_site(NORMAL)
    own = replace(
        own,
        partitions=(Partition("acc"), Partition("debug")),
        associations=tuple(site_records.association_of(line) for line in lines),
    )
    queue([MINE])

    assert limits_at(own, {"partition": "acc"}, profile()).max_submitted == 4
    assert limits_at(own, {"partition": "acc,debug"}, profile()).max_submitted is None
