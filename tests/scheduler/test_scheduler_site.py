"""What scontrol and sacctmgr print, read: recorded from the test bed (SLURM 22.05), and odd forms of other sites."""

from __future__ import annotations

import time

import pytest

from hpcdl import cache
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import ask_site, site_records, try_script
from hpcdl.scheduler.gres import gpus_of
from hpcdl.scheduler.site import Association, NodeShape, Partition, Qos
from hpcdl.scheduler.try_script import RefusedError

PARTITIONS = """\
PartitionName=acc AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A DefaultTime=NONE \
DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=3-00:00:00 MinNodes=0 LLN=NO \
MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO \
OverTimeLimit=NONE PreemptMode=REQUEUE State=UP TotalCPUs=320 TotalNodes=4 SelectTypeParameters=NONE \
JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu=320,mem=2000000M,node=4,gres/gpu=16
PartitionName=own AllowGroups=ALL AllowAccounts=b,a AllowQos=x Default=NO QoS=part MaxNodes=2 MaxTime=UNLIMITED \
State=DRAIN
"""
NODES = """\
NodeName=n1 Arch=x86_64 CoresPerSocket=40  CPUAlloc=20 CPUEfctv=80 CPUTot=80 CPULoad=3.43 AvailableFeatures=(null) \
ActiveFeatures=(null) Gres=gpu:4 NodeAddr=127.0.0.1 NodeHostName=vm Port=17001 Version=22.05.8 \
OS=Linux 6.18.44-fc-v657 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=500000 AllocMem=0 FreeMem=19258 Sockets=2 Boards=1 \
State=MIXED ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=acc  \
BootTime=2026-11-21T08:59:03 SlurmdStartTime=2026-11-21T10:23:56 LastBusyTime=2026-11-21T10:26:37 \
CfgTRES=cpu=80,mem=500000M,billing=80,gres/gpu=4 AllocTRES=cpu=20 CapWatts=n/a
NodeName=n2 Arch=x86_64 CPUTot=80 Gres=gpu:4 RealMemory=500000 State=IDLE Partitions=acc  Comment=k=v of a friend
NodeName=n3 Arch=x86_64 CPUTot=80 Gres=gpu:4 RealMemory=500000 State=DOWN*+DRAIN Partitions=acc Reason=bad DIMM [root@t]
NodeName=n4 Arch=aarch64 CPUTot=72 Gres=gpu:gh200:1(S:0) RealMemory=480000 State=IDLE+POWERED_DOWN Partitions=all,acc
NodeName=n5 CPUTot=1 Gres=gpu:8 RealMemory=1 State=FUTURE Partitions=acc
"""
CONFIG = """\
Configuration data as of 2026-11-21T10:00:00
AccountingStorageEnforce = associations,limits,qos
ClusterName             = testbed

Slurmctld(primary) at vm is UP
"""
BIG = "big|1-00:00:00|gres/gpu=8,mem=1T|cpu=160,gres/gpu=4|node=2|DenyOnLimit,OverPartQOS\n"
QOS = f"normal|||||\nacc_debug|02:00:00||||\n{BIG}"
ASSOCIATIONS = "nct00|acc_debug,high,normal|normal|||nct00\nold|normal|||3-00:00:00|nct00\n"


def records(text):
    return site_records.read_records(text)


def test_partitions():
    assert [site_records.partition_of(row) for row in records(PARTITIONS)] == [
        Partition("acc", default=True, max_time_s=3 * 86400),
        Partition("own", up=False, max_nodes=2, accounts=("a", "b"), qos=("x",), own_qos="part"),
    ]


def test_nodes():
    assert site_records.alike(records(NODES)) == (
        NodeShape(80, 500000, {"": 4}, ("acc",), True, "x86_64", ("n1", "n2")),
        NodeShape(80, 500000, {"": 4}, ("acc",), False, "x86_64", ("n3",)),
        NodeShape(72, 480000, {"gh200": 1}, ("acc", "all"), True, "aarch64", ("n4",)),
    )


def test_qos():
    assert [site_records.qos_of(line) for line in QOS.splitlines()] == [
        Qos("normal"),
        Qos("acc_debug", 7200),
        Qos(
            "big",
            86400,
            {"gres/gpu": 4, "mem": 1024**2, "cpu": 160, "node": 2},
            ("DenyOnLimit", "OverPartQOS"),
        ),
    ]


def test_associations():
    assert [site_records.association_of(line) for line in ASSOCIATIONS.splitlines()] == [
        Association("nct00", ("acc_debug", "high", "normal"), "normal", default_account="nct00"),
        Association("old", ("normal",), max_wall_s=3 * 86400, default_account="nct00"),
    ]


def test_reserved_resources_are_subtracted():
    """As SLURM 22.05 tells a node with CoreSpecCount and MemSpecLimit."""
    (shape,) = site_records.alike(
        records(NODES.splitlines()[0].replace("CPUEfctv=80", "CPUEfctv=78 MemSpecLimit=16384"))
    )

    assert (shape.cpus, shape.memory_mb) == (78, 500000 - 16384)


def test_partition_memory_rules_are_read():
    line = PARTITIONS.replace("JobDefaults=(null)", "JobDefaults=DefCpuPerGPU=8,DefMemPerGPU=60000")
    (row, _) = records(line.replace("DefMemPerNode=UNLIMITED", "DefMemPerNode=8000"))

    assert site_records.partition_of(row).memory == {
        "DefMemPerNode": "8000",
        "JobDefaults": "DefCpuPerGPU=8,DefMemPerGPU=60000",
    }


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("gpu:h100:4(S:0-1)", {"h100": 4}),
        ("gpu:a100:2(S:0),gpu:v100:2(S:1)", {"a100": 2, "v100": 2}),
        ("gpu:a100_3g.20gb:2,nvme:1", {"a100_3g.20gb": 2}),
        ("craynetwork:4,gpu:a100:8", {"a100": 8}),
        ("(null)", {}),
        ("", {}),
        # Types that begin with a digit, or are digits alone
        ("gpu:2080ti:8(S:0-1)", {"2080ti": 8}),
        ("gpu:1080ti:4", {"1080ti": 4}),
        ("gpu:1g.5gb:7,gpu:3g.20gb:1", {"1g.5gb": 7, "3g.20gb": 1}),
        ("gpu:3090:2", {"3090": 2}),
        ("gpu:3090", {"": 3090}),
        ("gpu:2080ti", {"2080ti": 1}),
        # What SLURM adds, and where it names no type
        ("gpu:a100:8(IDX:0-7)", {"a100": 8}),
        ("gpu:a100:3(IDX:0,2,5),gpu:v100:0(IDX:N/A)", {"a100": 3}),
        ("gpu:2080ti:4(S:0,2),shard:2080ti:8(S:0,2)", {"2080ti": 4}),
        ("gpu:(null):2(IDX:0-1)", {"": 2}),
        ("gpu:no_consume:4", {"": 4}),
        ("gpu:2080ti:no_consume:4", {"2080ti": 4}),
        ("gpu:2K", {"": 2048}),
        ("gpu:a100:4, gpu:3090:2 , nvme:1T", {"a100": 4, "3090": 2}),
        ("gpu:a100:2,gpu:a100:2", {"a100": 4}),
        ("gres/gpu:3090:1", {"3090": 1}),
        ("gres:gpu:3", {"": 3}),
        ("gpu_mem:40G,mygpu:2,gpu:0", {}),
    ],
)
@pytest.mark.cases("C1")
def test_gpus(gres, gpus):
    assert gpus_of(gres) == gpus


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("02:00:00", 7200),
        ("3-00:00:00", 259200),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("30:00", 1800),
        ("90", 5400),
        ("UNLIMITED", None),
        ("INFINITE", None),
        ("NONE", None),
        ("", None),
    ],
)
def test_seconds(text, seconds):
    assert site_records.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cpu=80,mem=500G,gres/gpu=4", {"cpu": 80, "mem": 512000, "gres/gpu": 4}),
        ("mem=2048K", {"mem": 2}),
        ("mem=1.50T,gres/gpu:a100=2", {"mem": 1572864, "gres/gpu:a100": 2}),
        ("", {}),
        ("cpu=", {}),
    ],
)
def test_tres(text, found):
    assert site_records.tres(text) == found


# What is asked


@pytest.fixture
def says(tmp_path, monkeypatch):
    """Puts commands on PATH that say what they are told to, and note that they were asked."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(**commands: str) -> None:
        for name, lines in commands.items():
            (tmp_path / name).write_text(
                f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/asked\n{lines}\n'
            )
            (tmp_path / name).chmod(0o755)

    (tmp_path / "asked").touch()
    put(
        scontrol=told(partition=PARTITIONS, node=NODES, config=CONFIG),
        sacctmgr=told(qos=QOS, user=ASSOCIATIONS),
    )
    return put


def told(**answers: str) -> str:
    cases = "".join(f"*' show {what}'*) cat <<'.'\n{text}.\n;;\n" for what, text in answers.items())
    return f'case " $*" in\n{cases}esac'


def asked(folder):
    return (folder / "asked").read_text().splitlines()


def test_site_answers_are_cached(says, tmp_path):
    first = ask_site.read_site()

    assert ask_site.read_site() == first
    assert [row.name for row in first.partitions] == ["acc", "own"]
    assert [row.account for row in first.associations or ()] == ["nct00", "old"]
    assert len(asked(tmp_path)) == 5
    assert "cluster=testbed" in asked(tmp_path)[-1]
    assert first.config == {"ClusterName": "testbed"}


def test_site_is_asked_again_later(says, tmp_path):
    ask_site.read_site()
    cache.store("slurm-site.json", {**cache.load("slurm-site.json"), "time": time.time() - 601})
    ask_site.read_site()
    ask_site.forget()
    ask_site.read_site()

    assert len(asked(tmp_path)) == 15


def test_clusters_with_shared_home(says, tmp_path, monkeypatch):
    ask_site.read_site()
    monkeypatch.setenv("SLURM_CONF", "/elsewhere/slurm.conf")
    ask_site.read_site()

    assert len(asked(tmp_path)) == 10


@pytest.mark.parametrize("kept", [{"partitions": 7}, {"partitions": [{"nmae": "acc"}]}])
def test_answers_of_other_version_are_ignored(says, kept):
    right = ask_site.read_site()
    cache.store("slurm-site.json", {**cache.load("slurm-site.json"), "site": kept})

    assert ask_site.read_site() == right


@pytest.mark.parametrize(
    ("config", "sacctmgr"),
    [
        ("AccountingStorageEnforce = none", "exit 0"),
        (CONFIG, "echo 'sacctmgr: error: Problem talking' >&2; exit 1"),
    ],
    ids=["not-enforced", "not-answering"],
)
def test_no_accounting_leaves_limits_unknown(says, config, sacctmgr):
    says(scontrol=told(partition=PARTITIONS, node=NODES, config=f"{config}\n"), sacctmgr=sacctmgr)

    found = ask_site.read_site()
    assert (found.qos, found.associations) == (None, None)
    assert len(found.nodes) == 3


def test_unenforced_limits_are_ignored(says):
    config = CONFIG.replace("associations,limits,qos", "associations,qos")
    says(scontrol=told(partition=PARTITIONS, node=NODES, config=config))

    found = ask_site.read_site()
    assert [row.max_wall_s for row in found.qos or ()] == [None, None, None]
    assert [row.max_wall_s for row in found.associations or ()] == [None, None]


def test_associations_of_other_cluster_are_ignored(says):
    says(sacctmgr=told(qos=QOS, user="||||00:00:00|\n"))

    assert ask_site.read_site().associations == ()


def test_site_with_unreachable_slurm(says):
    says(
        scontrol="echo 'slurm_load_partitions: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    )

    with pytest.raises(SchedulerError, match="connect failure"):
        ask_site.read_site()
    assert cache.load("slurm-site.json") == {}


# sbatch --test-only: it says all on stderr


def test_script_is_tested_unchanged(says, tmp_path, monkeypatch):
    says(
        sbatch=f"cat >{tmp_path}/script; env >{tmp_path}/env; echo 'sbatch: Job 7 to start at T using 1' >&2"
    )
    monkeypatch.setenv("SBATCH_PARTITION", "leaks")

    assert try_script.try_script("#!/bin/bash\n") == "Job 7 to start at T using 1"
    assert (tmp_path / "script").read_text() == "#!/bin/bash\n"
    assert "leaks" not in (tmp_path / "env").read_text()
    assert asked(tmp_path) == ["sbatch --test-only"]


def test_refusal_has_slurm_message(says):
    says(
        sbatch="echo 'allocation failure: Invalid account or account/partition combination specified' >&2; exit 1"
    )

    with pytest.raises(RefusedError, match=r"^Invalid account or account/partition"):
        try_script.try_script("#!/bin/bash\n")


@pytest.mark.parametrize(
    "words", ["Unable to contact slurm controller (connect failure)", "Socket timed out on send"]
)
def test_missing_answer_is_not_refusal(says, words):
    says(sbatch=f"echo 'sbatch: error: {words}' >&2; exit 1")

    with pytest.raises(SchedulerError, match="got no answer") as caught:
        try_script.try_script("#!/bin/bash\n")
    assert not isinstance(caught.value, RefusedError)


def test_site_without_slurm(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(SchedulerError, match="sbatch is not on this machine"):
        try_script.try_script("#!/bin/bash\n")
