"""plan(): one site's words for what a job asks, decided without touching anything."""

from __future__ import annotations

import builtins
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from hpcdl import planfile
from hpcdl.cluster import Cluster, Image, Node, PartitionChoice, QosChoice
from hpcdl.contract.spec import DataSpec, MlpSpec, TrainSpec
from hpcdl.errors import JobError
from hpcdl.job import Job, Resources
from hpcdl.planning import Script, plan, script_name, summary
from hpcdl.submission.locate import run_spec

SITE = Cluster(
    name="site",
    node=Node(cpus=80, gpus=4, memory_gb=500),
    images={"tensorflow": Image("/images/tf.sif")},
    data_root="/data",
)
JOB = Job(
    name="a",
    data=DataSpec(name="mnist"),
    model=MlpSpec(),
    train=TrainSpec(),
    source="jobs/a.yaml",
    folder="/home/u",
)


def directives(job: Job = JOB, cluster: Cluster = SITE) -> dict[str, str]:
    return dict(plan(job, cluster).directives)


def asking(**resources: object) -> Job:
    return replace(JOB, resources=Resources(**resources))  # type: ignore[arg-type]  # a table's values


@pytest.mark.parametrize(
    ("dialect", "gpu_type", "gpus", "option", "value"),
    [
        ("gres", None, 1, "gres", "gpu:1"),
        ("gres", None, 4, "gres", "gpu:4"),
        ("gres", "h100", 2, "gres", "gpu:h100:2"),
        ("gpus-per-node", None, 2, "gpus-per-node", "2"),
        ("gpus-per-node", "h100", 2, "gpus-per-node", "h100:2"),
    ],
)
def test_gpus_in_dialect(dialect, gpu_type, gpus, option, value):
    found = directives(asking(gpus=gpus), replace(SITE, gpu_request=dialect, gpu_type=gpu_type))

    assert found[option] == value
    assert ("gres" in found) != ("gpus-per-node" in found)


@pytest.mark.parametrize("dialect", ["gres", "gpus-per-node"])
def test_no_gpus_no_directive(dialect):
    found = directives(asking(gpus=0), replace(SITE, gpu_request=dialect))

    assert not {"gres", "gpus-per-node"} & set(found)
    assert not plan(asking(gpus=0), SITE).require_container().nv


@pytest.mark.parametrize(
    ("dialect", "resources", "option", "value"),
    [
        ("mem", {"gpus": 1}, "mem", "128000M"),  # 500 GB / 4
        ("mem", {"gpus": 4}, "mem", "512000M"),
        ("mem", {"gpus": 1, "memory_gb": 10}, "mem", "10240M"),
        ("mem-per-cpu", {"gpus": 1}, "mem-per-cpu", "6400M"),  # 128000 / 20
        ("mem-per-cpu", {"gpus": 0, "cpus": 4, "memory_gb": 2.5}, "mem-per-cpu", "640M"),
        ("mem-per-gpu", {"gpus": 2}, "mem-per-gpu", "128000M"),
    ],
)
def test_memory_in_dialect(dialect, resources, option, value):
    found = directives(asking(**resources), replace(SITE, memory_request=dialect))

    assert found[option] == value
    assert len([name for name in found if name.startswith("mem")]) == 1


def test_memory_not_requested_is_noted():
    decided = plan(asking(memory_gb=10), SITE)

    assert not [name for name, _ in decided.directives if name.startswith("mem")]
    assert decided.notes == ["memory comes with the CPUs on site: memory_gb is not asked for"]


@pytest.mark.parametrize(
    ("resources", "node", "cpus"),
    [
        ({"gpus": 1}, Node(cpus=80, gpus=4), 20),
        ({"gpus": 4}, Node(cpus=80, gpus=4), 80),
        ({"gpus": 0}, Node(cpus=80, gpus=4), 20),
        ({"gpus": 0}, Node(cpus=80, gpus=0), 80),
        ({"gpus": 1}, Node(cpus=10, gpus=3), 3),
        ({"gpus": 1}, Node(cpus=1, gpus=4), 1),
        ({"gpus": 1, "cpus": 7}, Node(cpus=80, gpus=4), 7),
    ],
)
def test_cpus_follow_gpu_share(resources, node, cpus):
    assert directives(asking(**resources), replace(SITE, node=node))["cpus-per-task"] == str(cpus)


def test_impossible_job_all_reasons():
    job = replace(asking(gpus=5, cpus=81), container="torch")

    with pytest.raises(JobError) as caught:
        plan(job, SITE)

    assert [(problem.where, problem.key, problem.message) for problem in caught.value.problems] == [
        ("jobs/a.yaml", "container", "site has no image 'torch'; it has tensorflow"),
        ("jobs/a.yaml", "resources.gpus", "is 5, but a node of site has 4: ask for fewer"),
        ("jobs/a.yaml", "resources.cpus", "is 81, but a node of site has 80: ask for fewer"),
    ]


@pytest.mark.parametrize(
    ("nodes", "directive", "tasks", "words"),
    [
        (2, "2", "1", "2 nodes with 2 GPUs and 40 CPUs each, "),
        ("2", "2", "1", "2 nodes with"),
        ("2-4", "2-4", None, "2 to 4 nodes with"),
    ],
)
def test_nodes_as_slurm_counts_them(nodes, directive, tasks, words):
    decided = plan(asking(nodes=nodes, gpus=2), SITE)

    assert dict(decided.directives)["nodes"] == directive
    assert dict(decided.directives).get("ntasks-per-node") == tasks
    assert summary(decided).startswith(words)
    assert planfile.from_json(json.loads(json.dumps(planfile.to_json(decided))), {}) == decided


@pytest.mark.parametrize(
    ("partition", "nodes", "job", "message"),
    [
        ("small", 3, JOB, "is 3, but partition small allows 2: ask for fewer"),
        ("small,large", "2-9", JOB, "is 2-9, but partition small allows 2, partition large"),
        ("small,open", 9, JOB, None),
        (None, "4-2", JOB, "expected a whole number >= 1, or a range such as 2-4; got '4-2'"),
        (
            None,
            2,
            replace(JOB, model=None, data=None, train=None, hpcdl=["report", "x"]),
            "one node",
        ),
        (None, 2, replace(JOB, train=TrainSpec(jit="on")), "expected auto or off on several nodes"),
        (None, 60, JOB, "is 100; expected at least one row for each of 120 replicas on 60 nodes"),
    ],
)
def test_nodes_that_cannot_be_had(partition, nodes, job, message):
    partitions = {
        "small": PartitionChoice(max_nodes=2),
        "large": PartitionChoice(max_nodes=4),
        "open": PartitionChoice(),
    }
    site = replace(SITE, partition=partition, partitions=partitions)
    job = replace(job, resources=Resources(nodes=nodes, gpus=2))
    if message is None:
        plan(job, site)
        return
    with pytest.raises(JobError, match=re.escape(message)):
        plan(job, site)


@pytest.mark.parametrize(
    ("dialect", "gpus", "asked"),
    [
        ("gres", 1, {"gres": "gpu:1,ssd"}),
        ("gpus-per-node", 1, {"gpus-per-node": "1", "gres": "ssd"}),
        ("gres", 0, {"gres": "ssd"}),
    ],
)
def test_scratch_joins_gres(dialect, gpus, asked):
    found = directives(asking(gpus=gpus), replace(SITE, gpu_request=dialect, scratch_gres="ssd"))

    assert {key: value for key, value in found.items() if key in ("gres", "gpus-per-node")} == asked


LIMITED = replace(
    SITE,
    max_time="1-00:00:00",
    partitions={
        "short": PartitionChoice("01:00:00"),
        "long": PartitionChoice("2-00:00:00"),
        "open": PartitionChoice(),
    },
    qos_choices={
        "debug": QosChoice("02:00:00"),
        "slow": QosChoice("3-00:00:00"),
        "any": QosChoice(),
    },
)


@pytest.mark.parametrize(
    ("partition", "qos", "time", "problems"),
    [
        (None, None, "1-00:00:00", []),
        (None, None, "1-00:00:01", ["site allows 1-00:00:00: ask for less"]),
        ("open", "any", "1-00:00:01", ["site allows 1-00:00:00: ask for less"]),
        ("short", None, "01:00:00", []),
        (
            "short",
            None,
            "12:00:00",
            ["short allows 01:00:00: use --set cluster.partition=long|open, or ask for less"],
        ),
        ("long", None, "1-12:00:00", []),
        ("short,long", None, "1-12:00:00", []),
        ("short,long", None, "3-00:00:00", ["partition long allows 2-00:00:00: ask for less"]),
        (
            None,
            "debug",
            "03:00:00",
            ["debug allows 02:00:00: use --set cluster.qos=slow|any, or ask for less"],
        ),
        (
            "long",
            "debug",
            "2-12:00:00",
            ["partition long", "QoS debug allows 02:00:00: use --set cluster.qos=slow, or"],
        ),
    ],
)
def test_longest_job(partition, qos, time, problems):
    cluster = replace(LIMITED, partition=partition, qos=qos)
    if not problems:
        assert directives(asking(time=time), cluster)["time"] == time
        return

    with pytest.raises(JobError) as caught:
        plan(asking(time=time), cluster)

    assert [problem.key for problem in caught.value.problems] == ["resources.time"] * len(problems)
    for problem, words in zip(caught.value.problems, problems, strict=True):
        assert words in problem.message


@pytest.mark.parametrize(
    ("limit", "lead_s"),
    [("01:00:00", 180), ("00:09:00", 180), ("00:06:00", 120), ("00:01:00", 20), ("00:00:02", 1)],
)
def test_signal_lead_within_limit(limit, lead_s):
    assert directives(asking(time=limit))["signal"] == f"B:USR2@{lead_s}"


def test_requeue_only_if_site_allows():
    assert directives()["requeue"] == ""
    assert plan(JOB, SITE).policy.max_requeues == 10

    fixed = replace(SITE, requeue=False)
    assert "requeue" not in directives(JOB, fixed)
    assert directives(JOB, fixed)["no-requeue"] == ""
    assert not plan(JOB, fixed).policy.requeue


def test_slurm_options_added():
    job = replace(JOB, slurm={"mail-type": "END", "constraint": "h100"})

    assert plan(job, SITE).directives[-2:] == [("constraint", "h100"), ("mail-type", "END")]


def test_site_options_only_if_set():
    assert not {"account", "partition", "qos"} & set(directives())
    found = directives(JOB, replace(SITE, account="a", partition="p", qos="q"))
    assert (found["account"], found["partition"], found["qos"]) == ("a", "p", "q")


@pytest.mark.parametrize(
    ("script", "workdir", "shown"),
    [
        ("/home/u/a.py", None, "a.py"),
        ("/home/u/deep/a.py", None, "deep/a.py"),
        ("/home/other/a.py", None, "/home/other/a.py"),
        ("/home/u/a.py", "/scratch", "/home/u/a.py"),
        ("/home/u/..a.py", None, "..a.py"),
    ],
)
def test_script_named_from_folder(script, workdir, shown):
    job = Job(name="a", script=script, workdir=workdir, folder="/home/u")

    program = plan(job, SITE).program
    assert isinstance(program, Script)
    assert program.script == shown


def test_data_name_becomes_path():
    spec = run_spec(JOB, SITE)

    assert spec is not None
    assert spec.data.path == "/data/mnist.npz"
    assert run_spec(Job(name="a", script="/a.py"), SITE) is None


@pytest.mark.parametrize(
    ("gpus", "nodes", "batch_size"), [(0, 1, 32), (1, 1, 32), (4, 1, 128), (4, 2, 256), (0, 3, 96)]
)
def test_batch_grows_with_gpus(gpus, nodes, batch_size):
    site = replace(SITE, emulate_gpus=True)
    train = TrainSpec(batch_size_per_gpu=32)

    spec = run_spec(replace(JOB, train=train, resources=Resources(gpus=gpus, nodes=nodes)), site)

    assert spec is not None
    assert spec.train.batch_size == batch_size


def test_unequal_shares_are_said():
    site = replace(SITE, emulate_gpus=True)
    job = replace(JOB, train=TrainSpec(batch_size=100), resources=Resources(gpus=3))

    assert "train.batch_size 100 does not divide by 3 GPUs" in plan(job, site).notes[0]
    assert "99 and 102 divide" in plan(job, site).notes[0]
    assert plan(replace(job, resources=Resources(gpus=4)), site).notes == []


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ({"time": "00:15:00"}, "1 node, 1 GPU, 20 CPUs, 15 min"),
        ({"gpus": 0, "cpus": 1, "time": "00:00:30"}, "1 node, 1 CPU, 0.5 min"),
        ({"gpus": 2, "time": "2-00:00:00"}, "1 node, 2 GPUs, 40 CPUs, 48 h"),
    ],
)
def test_summary_reads_well(resources, text):
    assert summary(plan(asking(**resources), SITE)) == text


def test_equal_input_gives_equal_plan():
    assert plan(JOB, SITE) == plan(replace(JOB), replace(SITE))


def test_plan_touches_nothing(monkeypatch):
    plan(JOB, SITE)  # what is loaded lazily is loaded now

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"plan touched the world: {args}")

    for module, names in (
        (builtins, ["open"]),
        (os, ["open", "stat", "listdir", "getcwd"]),
        (subprocess, ["Popen"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    script = Job(name="a", script="/nowhere/a.py", workdir="/nowhere", folder="/nowhere/at/all")
    decided = [plan(job, SITE) for job in (JOB, script)]
    for each in decided:
        assert summary(each).startswith("1 node")
        assert script_name(each) == "a.slurm"
        assert each.program.argv("python", str)[0] == "python"
        assert each.module_lines() == []
        assert each.uses_first_gpus is False
    monkeypatch.undo()

    assert [one.name for one in decided] == ["a", "a"]


def test_plan_raises_no_audit_event():
    program = """
import sys
from hpcdl import load_cluster, load_job
from hpcdl.planning import plan
job, cluster = load_job("mnist_cnn"), load_cluster("generic")
plan(job, cluster)
seen = []
sys.addaudithook(lambda event, args: seen.append(event))
plan(job, cluster)
assert not [event for event in seen if event.partition(".")[0] in ("open", "os", "subprocess", "socket")], seen
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# Rules of the trainer's own, which spoke on the node only, after the queue
TRAINER_REFUSES = {
    "more GPUs than rows": (
        asking(gpus=4),
        {"batch_size": 2},
        ("train.batch_size", "expected at least one row for each of the 4 GPUs; got 2"),
    ),
    "XLA on several GPUs": (
        asking(gpus=2),
        {"jit": "on"},
        (
            "train.jit",
            "expected auto or off with 2 GPUs: XLA compiles for one device; got 'on'",
        ),
    ),
    "folds and a share": (
        replace(JOB, data=DataSpec(name="mnist", validation_split=0.2)),
        {"cross_validation": 3},
        (
            "data.validation_split",
            "expected 0 with train.cross_validation, where each fold validates on its part of the rows; got 0.2",
        ),
    ),
}


@pytest.mark.parametrize(
    ("job", "train", "expected"), TRAINER_REFUSES.values(), ids=TRAINER_REFUSES
)
def test_plan_refuses_what_trainer_refuses(job, train, expected):
    """The problem has its file and line, before the job waits in the queue."""
    job = replace(job, train=replace(TrainSpec(), **train), places={expected[0]: "a.yaml:7"})

    with pytest.raises(JobError) as caught:
        plan(job, SITE)

    (problem,) = caught.value.problems
    assert (problem.where, problem.key, problem.message) == ("a.yaml:7", *expected)
