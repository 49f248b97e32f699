"""What SLURM's answers become in a profile: recorded of four sites with SLURM 22.05.8, and bent to odd forms."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from typing import Any

import pytest

from hpcdl.cluster import Node, PartitionChoice, load_cluster
from hpcdl.discover import discover, keys, profile
from hpcdl.job import load_job
from hpcdl.planning import plan
from hpcdl.script import render


def quiet(what):
    """Says nothing."""


def found(login, partition=None):
    """The profile of the site, loaded; its text."""
    (login.folder / "images").mkdir(exist_ok=True)
    (login.folder / "images" / "tensorflow.sif").write_bytes(bytes(32) + b"SIF_MAGIC\0")
    text = profile(
        "login1.site.org",
        discover("login1.site.org", quiet, partition, [str(login.folder / "images")]),
    )
    path = login.folder / "site.yaml"
    path.write_text(text)
    return load_cluster(path), text


def line(text, key):
    return next(row for row in text.splitlines() if row.lstrip(" #").startswith(f"{key}:"))


TESTBED = {
    "name": "testbed", "detect": ["login*.site.org"], "partition": "acc", "max_time": "3-00:00:00",
    "account": "nct00", "qos": "normal", "gpu_request": "gres", "gpu_type": None, "memory_request": "none",
    "node": {"cpus": 80, "gpus": 4, "memory_gb": 488, "gpu_model": None}, "architecture": "x86_64", "requeue": True,
}  # fmt: skip
ALPHA = {
    "name": "alpha", "partition": "accel", "max_time": None, "account": "physics", "qos": None,
    "accounts": ["physics", "nct00"], "gpu_type": "a100", "memory_request": "mem", "requeue": True,
    "node": {"cpus": 62, "gpus": 4, "memory_gb": 989, "gpu_model": "a100"}, "scratch": None,
}  # fmt: skip
MIXED = {
    "name": "mixed", "partition": "owners", "max_time": None, "account": None, "qos": None, "gpu_type": "a100",
    "memory_request": "mem", "node": {"cpus": 96, "gpus": 2, "memory_gb": 500, "gpu_model": "a100"},
    "requeue": False, "scratch": "/local/scratch", "architecture": None,
}  # fmt: skip
LINEAR = {
    "name": "linear", "partition": "debug", "max_time": None, "memory_request": "none", "gpu_type": None,
    "node": {"cpus": 8, "gpus": 0, "memory_gb": None, "gpu_model": None},
}  # fmt: skip
SITES: dict[str, Any] = {"testbed": TESTBED, "alpha": ALPHA, "mixed": MIXED, "linear": LINEAR}


@pytest.mark.parametrize("site", SITES)
def test_discovery_gives_a_profile(login, site):
    login.slurm(site)

    cluster, text = found(login)

    values = asdict(cluster)
    assert {key: values[key] for key in SITES[site]} == SITES[site]
    assert [row for row in text.splitlines()[3:] if " # " not in row] == [], (
        "a line without a comment"
    )


@pytest.mark.parametrize("job", ["mnist_script", "mnist_cnn"])
@pytest.mark.parametrize("site", SITES)
def test_profile_renders(login, site, job):
    login.slurm(site)
    cluster, _ = found(login)

    gpus = min(1, cluster.node.gpus)
    text = render(
        plan(load_job(job, [f"resources.gpus={gpus}"]), cluster),
        "job.sbatch",
        bundle=job == "mnist_cnn",
    )

    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
    assert f"#SBATCH --partition={cluster.partition}\n" in text


def test_choices(login):
    login.slurm("testbed")
    cluster, _ = found(login)
    assert {name: choice.max_time for name, choice in cluster.qos_choices.items()} == {
        "acc_debug": "02:00:00", "high": None, "normal": None,
    }  # fmt: skip

    login.slurm("alpha")
    cluster, text = found(login)
    assert {
        name: (choice.max_time, choice.node) for name, choice in cluster.partitions.items()
    } == {
        "standard": ("2-00:00:00", Node(cpus=128, gpus=0, memory_gb=250)),
        "accel": ("1-12:00:00", None),
        "devel": ("00:30:00", None),
    }, "vip is for others' accounts; the nodes of devel are those of accel"
    assert "the default one, standard, has no GPUs; this has most" in line(text, "partition")
    assert "4 of 6 nodes, g01 to g21" in line(text, "node")
    assert "accel has v100 too" in line(text, "gpu_type")


def test_requested_partition_is_used(login):
    login.slurm("mixed")

    cluster, text = found(login, "shared")

    assert (cluster.partition, cluster.node.gpu_model, cluster.node.gpus) == (
        "shared",
        "rtx3090",
        8,
    )
    assert cluster.node.memory_gb == 117
    assert "memory by MaxMemPerNode" in line(text, "node")
    assert "DefMemPerNode is 8000 MB" in line(text, "memory_request")
    assert set(cluster.partitions) == {"shared", "owners"}, "broken is down"
    assert cluster.partitions["owners"] == PartitionChoice(
        node=Node(96, 2, 500, "a100"), gpu_type="a100"
    )


def test_sockets_and_nodes_down(login):
    """As real nodes tell their GPUs; the three that are well are enough to know the shape."""
    login.slurm(
        "alpha", **{"gpu:a100:4": "gpu:a100:4(S:0-1)", "IDLE+CLOUD+POWERED_DOWN": "DOWN*+DRAIN"}
    )

    cluster, text = found(login)

    assert (cluster.node.gpus, cluster.gpu_type) == (4, "a100")
    assert "out of service now" in line(text, "node")


@pytest.mark.parametrize(
    "change",
    [
        ("gpu:a100:4", "(null)"),
        ("MemSpecLimit=16384 State=IDLE+CLOUD+POWERED_DOWN", "MemSpecLimit=16384 State=DOWN"),
    ],
    ids=["no-gpus", "down"],
)
def test_gpu_nodes_beat_larger_groups(login, change):
    """A few working GPU nodes are chosen before many nodes without GPUs or out of service."""
    login.slurm("alpha", **dict([change]))

    cluster, text = found(login)

    assert (cluster.node.gpus, cluster.gpu_type) == (2, "v100")
    assert "2 of 6 nodes, g11 to g12" in line(text, "node")


@pytest.mark.parametrize(
    ("changes", "request_", "why"),
    [
        ({"= 2000\n": "= 16000\n"}, "none", "enough memory comes with the CPUs"),
        ({"= 2000\n": "= UNLIMITED\n"}, "mem", "a job that does not ask gets all of a node's memory"),
        ({"JobDefaults=(null)": "JobDefaults=DefMemPerGPU=250000"}, "none", "enough memory comes with the GPUs"),
        ({"DefMemPerNode=UNLIMITED": "DefMemPerNode=8000"}, "mem", "DefMemPerNode is 8000 MB"),
        ({"CR_CORE_MEMORY": "CR_CORE"}, "none", "SLURM does not count memory"),
        (
            {"SelectTypeParameters=NONE": "SelectTypeParameters=CR_SOCKET"},
            "none",
            "CR_SOCKET: SLURM does not count memory",
        ),
    ],
    ids=["per-cpu", "no-default", "per-gpu", "per-node", "not-consumable", "partitions-own"],
)  # fmt: skip
def test_memory_request(login, changes, request_, why):
    login.slurm("alpha", **changes)

    cluster, text = found(login)

    assert cluster.memory_request == request_
    assert why in line(text, "memory_request")


def test_partition_takes_some_qos_only(login):
    login.slurm("testbed", **{"AllowQos=ALL": "AllowQos=acc_debug,high,special"})

    cluster, text = found(login)

    assert cluster.qos == "high"
    assert set(cluster.qos_choices) == {"acc_debug", "high"}
    assert "allows the longest jobs" in line(text, "qos")


def test_without_accounting(login):
    login.slurm("testbed")
    (login.bin / "sacctmgr").unlink()

    cluster, text = found(login)

    assert (cluster.account, cluster.qos) == (None, None)
    assert line(text, "account").startswith("# account: ")
    assert "not found: sacctmgr lists none" in line(text, "account")


def test_each_command_once(login):
    login.slurm("testbed")
    said: list[str] = []

    discover("login1", said.append)

    assert [" ".join(words.split()[:4]) for words in login.asked()] == [
        "scontrol show partition --oneliner",
        "scontrol show node --oneliner",
        "scontrol show config",
        "sacctmgr --noheader --parsable2 show",
        "sacctmgr --noheader --parsable2 show",
    ]
    assert said[0] == "asking scontrol and sacctmgr"


def test_discovery_ignores_cached_answers(login):
    login.slurm("testbed")
    discover("login1", quiet)
    login.slurm("mixed")

    cluster, _ = found(login)

    assert cluster.name == "mixed"


def test_odd_names_are_commented_out(login):
    login.slurm(
        "testbed",
        **{"nct00": "the group's", "ClusterName             = testbed": "ClusterName = a b"},
    )

    cluster, text = found(login)

    assert (cluster.name, cluster.account) == ("mycluster", None)
    assert line(text, "account").startswith("# account: ")


def test_guesses_and_gaps_are_named(login):
    login.slurm("mixed")

    lines = discover("login1", quiet)

    assert keys(lines, "guess") == ["detect", "scratch"]
    assert keys(lines, "unknown") == [
        "account", "qos", "architecture", "runtime", "modules", "images", "binds", "data_root",
        "runs_root",
    ]  # fmt: skip


@pytest.mark.cases("C1")
@pytest.mark.parametrize(
    ("gres", "kind", "gpus"), [("2080ti:8(S:0-1)", "2080ti", 8), ("3090:2", "3090", 2)]
)
def test_gpu_types_starting_with_digits(login, gres, kind, gpus):
    login.slurm("testbed", **{"Gres=gpu:4": f"Gres=gpu:{gres}"})

    cluster, _ = found(login)

    assert (cluster.node.gpus, cluster.gpu_type, cluster.node.gpu_model) == (gpus, kind, kind)


@pytest.mark.parametrize("gres", ["mi250:8", "amd_mi300a:4(S:0-3)", "gfx90a:8"])
def test_amd_gpus_are_known_by_type(login, gres):
    login.slurm("testbed", **{"Gres=gpu:4": f"Gres=gpu:{gres}"})

    cluster, text = found(login)

    assert cluster.gpu_vendor == "amd"
    kind = gres.partition(":")[0]
    assert line(text, "gpu_vendor").endswith(f"Gres says {kind}, one of AMD's")


@pytest.mark.parametrize("gres", ["4", "a100:4", "h100:4", "amx:4", "mi:4"])
def test_other_gpus_stay_nvidia(login, gres):
    """Without a type that is AMD's, the key stays commented out, and says where to look."""
    login.slurm("testbed", **{"Gres=gpu:4": f"Gres=gpu:{gres}"})

    cluster, text = found(login)

    assert cluster.gpu_vendor == "nvidia"
    assert line(text, "gpu_vendor").startswith("# gpu_vendor: amd")


PLAIN = "AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO QoS=N/A State=UP MaxTime=7-00:00:00 MaxNodes=UNLIMITED"


def several(login, change, user="physics|normal|normal|||physics"):
    """A site with a partition without GPUs, one with four, and one with eight that has its own rules."""
    login.slurm("alpha")
    old, new = change.split(" ")
    lines = [
        f"PartitionName=cpu {PLAIN.replace('Default=NO', 'Default=YES')}",
        f"PartitionName=big {PLAIN.replace(old, new)}",
        f"PartitionName=gpu {PLAIN}",
    ]
    nodes = [("c1", "(null)", "cpu"), ("o1", "gpu:a100:8", "big"), ("g1", "gpu:a100:4", "gpu")]
    (login.folder / "answers/partition.txt").write_text("\n".join(lines))
    node = "NodeName={} Arch=x86_64 CPUTot=64 RealMemory=256000 State=IDLE Gres={} Partitions={}\n"
    (login.folder / "answers/node.txt").write_text("".join(node.format(*row) for row in nodes))
    (login.folder / "answers/user.txt").write_text(user)


@pytest.mark.cases("C19", "C6")
@pytest.mark.parametrize(
    ("change", "partition"),
    [
        ("State=UP State=UP", "big"),
        ("AllowGroups=ALL AllowGroups=lab_x", "gpu"),
        ("AllowAccounts=ALL AllowAccounts=others", "gpu"),
        ("AllowAccounts=ALL AllowAccounts=PHYSICS", "big"),
        ("AllowAccounts=ALL DenyAccounts=Physics", "gpu"),
        ("AllowAccounts=ALL DenyAccounts=others", "big"),
        ("AllowQos=ALL AllowQos=owner", "gpu"),
        ("AllowQos=ALL AllowQos=Normal,owner", "big"),
        ("AllowQos=ALL DenyQos=normal", "gpu"),
        ("State=UP State=DOWN", "gpu"),
        ("State=UP State=INACTIVE", "gpu"),
        ("State=UP RootOnly=YES", "gpu"),
        ("State=UP Hidden=YES", "gpu"),
        ("State=UP ReqResv=YES", "gpu"),
    ],
)
def test_only_usable_partitions_are_offered(login, change, partition):
    several(login, change)

    cluster, _ = found(login)

    assert cluster.partition == partition
    assert ("big" in cluster.partitions) is (partition == "big")


@pytest.mark.cases("C19")
def test_account_allowed_by_partition(login):
    """The default account is not taken by the partition with most GPUs, but another one of the user's is."""
    user = "physics|normal|normal|||physics\nlab|normal,owner|normal|||physics"
    several(login, "AllowAccounts=ALL AllowAccounts=lab", user)

    cluster, text = found(login)

    assert (cluster.partition, cluster.account) == ("big", "lab")
    assert "big takes this one of yours" in line(text, "account")


@pytest.mark.cases("C7", "C19")
@pytest.mark.parametrize("reverse", [False, True])
def test_associations_of_partitions(login, reverse):
    lines = ["physics|normal,long|long|gpu||physics", "physics|normal|normal|cpu||physics"]
    several(login, "State=UP State=UP", "\n".join(sorted(lines, reverse=reverse)))

    cluster, _ = found(login)

    assert (cluster.partition, cluster.account, cluster.qos) == ("gpu", "physics", "long")


@pytest.mark.cases("C19")
def test_open_partitions_where_accounts_are_unknown(login):
    several(login, "AllowQos=ALL AllowQos=owner")
    (login.bin / "sacctmgr").unlink()

    assert found(login)[0].partition == "gpu"


@pytest.mark.cases("C25")
def test_cluster_of_the_shell(login, monkeypatch):
    login.slurm("testbed")
    login.command(
        login.bin / "scontrol",
        f'echo "scontrol $*" >>{login.folder}/asked\ncat {login.folder}/answers/$4.txt',
    )
    monkeypatch.setenv("SLURM_CLUSTERS", "wice")

    cluster, text = found(login)

    assert cluster.clusters == "wice"
    assert "SLURM_CLUSTERS" in line(text, "clusters")
    assert {words.split()[1:3][0] for words in login.asked() if words.startswith("scontrol")} == {
        "-M"
    }
