"""What a user may use of a site, as SLURM decides it: names in any case, partitions, associations in any order."""

from __future__ import annotations

import grp
import os
from itertools import permutations

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.preflight import Finding, Subject, check
from hpcdl.preflight.all_checks import SITE
from hpcdl.scheduler import ask_site
from hpcdl.submission.prepare import prepare
from tests.preflight.conftest import ASSOCIATIONS, NODE, PARTITION, QOS, World


def partitions(**changes: str) -> str:
    """A line for each partition, with some words changed: acc="AllowQos=ALL AllowQos=high"."""
    lines = []
    for name, change in changes.items():
        line = PARTITION.replace("PartitionName=acc", f"PartitionName={name}")
        if change:
            old, new = change.split(" ")
            line = line.replace(old, new)
        lines.append(line if name == "acc" else line.replace("Default=YES", "Default=NO"))
    return "\n".join(lines)


def told(world: World, *sets: str) -> list[Finding]:
    """What the checks of the site find, who ask it anew."""
    ask_site.forget()
    loaded = load_job(
        world.folder / "model.yaml", [text for text in sets if not text.startswith("cluster.")]
    )
    own = [text for text in sets if text.startswith("cluster.")]
    cluster = load_cluster(str(world.folder / "site.yaml"), own)
    checks = [(named.name, named.check) for named in SITE]
    report = check(Subject(prepare(loaded, cluster), cluster), checks)
    return [finding for _, finding in report.findings]


def findings(world: World, *sets: str) -> list[str]:
    """What the checks of the site say against the job."""
    return [found.cause for found in told(world, *sets)]


@pytest.mark.cases("C6")
@pytest.mark.parametrize("allowed", ["ALL", "nct00", "Nct00,other"])
def test_accounts_in_any_case(world, allowed):
    """slurmdbd keeps accounts in lower case, and SLURM takes what sites print in capitals."""
    world.slurm(partition=partitions(acc=f"AllowAccounts=ALL AllowAccounts={allowed}"))

    assert findings(world, "cluster.account=NCT00") == []


@pytest.mark.cases("C6")
def test_limits_of_accounts_in_capitals(world):
    world.slurm(associations=f"{ASSOCIATIONS}00:30:00")

    sets = ("cluster.account=NCT00", "cluster.qos=normal")
    assert findings(world, *sets) == [
        "resources.time is 01:00:00, but account nct00 allows 00:30:00"
    ]


@pytest.mark.cases("C6")
@pytest.mark.parametrize("allowed", ["ALL", "Acc_Debug"])
def test_qos_in_any_case(world, allowed):
    world.slurm(partition=partitions(acc=f"AllowQos=ALL AllowQos={allowed}"))

    assert findings(world, "cluster.qos=ACC_DEBUG") == []
    assert findings(world, "cluster.qos=ACC_DEBUG", "resources.time=04:00:00") == [
        "resources.time is 04:00:00, but QoS acc_debug allows 02:00:00"
    ]


@pytest.mark.cases("C6")
@pytest.mark.parametrize(
    ("key", "name", "close"),
    [("account", "NCT01", "nct00"), ("qos", "ACC_DEBGU", "acc_debug"), ("partition", "ACC", "acc")],
)
def test_close_names_in_any_case(world, key, name, close):
    """A partition's case counts, so another case is refused, with the right one."""
    assert f"did you mean {close}?" in findings(world, f"cluster.{key}={name}")[0]


@pytest.mark.cases("C6")
def test_profiles_choices_in_any_case(world):
    lists = ("cluster.accounts=[nct00]", "cluster.qos_choices={normal: {max_time: '00:10:00'}}")
    wanted = ("cluster.account=NCT00", "cluster.qos=NORMAL")

    assert findings(world, *lists, *wanted, "resources.time=00:05:00") == []
    with pytest.raises(Exception, match="QoS normal allows 00:10:00"):
        findings(world, *lists, *wanted)


PARTITIONED = ["nct00|normal|normal|debug|00:30:00|nct00", "nct00|normal|normal|acc||nct00"]


@pytest.mark.cases("C7")
@pytest.mark.parametrize("lines", list(permutations(PARTITIONED)))
def test_limits_of_the_jobs_partition(world, lines):
    """An association may be of one partition; that of another one does not bind the job."""
    world.slurm(partition=partitions(acc="", debug=""), associations="\n".join(lines))

    assert findings(world, "cluster.qos=null") == []
    assert findings(world, "cluster.qos=null", "cluster.partition=debug") == [
        "resources.time is 01:00:00, but account nct00 allows 00:30:00"
    ]
    assert findings(world, "cluster.qos=null", 'cluster.partition="debug,acc"') == []


@pytest.mark.cases("C7")
@pytest.mark.parametrize("general", ["nct00|normal|normal||00:20:00|nct00", ""])
def test_association_without_a_partition(world, general):
    """It binds where the partition has none of its own; without any, SLURM refuses the job."""
    lines = ["nct00|normal|normal|debug||nct00", *([general] if general else [])]
    for order in permutations(lines):
        world.slurm(partition=partitions(acc="", debug=""), associations="\n".join(order))
        (message,) = findings(world, "cluster.qos=null")
        assert findings(world, "cluster.qos=null", "cluster.partition=debug") == []
        if general:
            assert message.endswith("account nct00 allows 00:20:00")
        else:
            assert message == "partition acc is not open to account nct00, which may use debug"


@pytest.mark.cases("C7")
def test_qos_of_the_jobs_association(world):
    lines = ["nct00|high,normal|high|debug||", "nct00|normal|normal|acc||"]
    for order in permutations(lines):
        world.slurm(partition=partitions(acc="", debug=""), associations="\n".join(order))
        assert findings(world, "cluster.qos=high") == ["account nct00 may not use QoS high"]
        assert findings(world, "cluster.qos=high", "cluster.partition=debug") == []


@pytest.mark.cases("C7")
def test_default_account_in_any_order(world):
    """Where the profile names no account, the limits of the default one count, not the first line's."""
    lines = [
        "aaa|normal|normal||00:01:00|nct00",
        "nct00|normal|normal|||nct00",
        "zzz|normal|normal||00:02:00|nct00",
    ]
    for order in permutations(lines):
        world.slurm(associations="\n".join(order))
        assert findings(world, "cluster.account=null", "cluster.qos=null") == []


@pytest.mark.cases("C7")
def test_only_qos_is_the_default(world):
    world.slurm(associations="nct00|small|||", qos=QOS.replace("small||", "small|00:10:00|"))

    assert findings(world, "cluster.qos=null") == [
        "resources.time is 01:00:00, but QoS small allows 00:10:00"
    ]


@pytest.mark.cases("C19")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "AllowGroups=ALL AllowGroups=lab_x,lab_y",
            "is for members of the group lab_x, lab_y only (AllowGroups)",
        ),
        ("AllowAccounts=ALL DenyAccounts=NCT00", "does not take account nct00"),
        ("AllowQos=ALL DenyQos=acc_debug", "does not take qos acc_debug"),
        ("State=UP RootOnly=YES", "is for administrators only (RootOnly)"),
    ],
)
def test_partitions_that_refuse(world, change, message):
    world.slurm(partition=partitions(acc=change, other=""))

    said = [(found.cause, found.blocks) for found in told(world)]
    assert said == [(f"partition acc {message}", True)]


@pytest.mark.cases("C19")
def test_own_group_and_default_qos(world):
    group = grp.getgrgid(os.getgid()).gr_name
    world.slurm(partition=partitions(acc=f"AllowGroups=ALL AllowGroups={group}"))
    assert findings(world) == []

    world.slurm(partition=partitions(acc="AllowQos=ALL AllowQos=high"))
    assert findings(world, "cluster.qos=null") == [
        "partition acc does not take your default qos normal"
    ]


@pytest.mark.cases("C19")
def test_accounts_below_those_allowed(world):
    """Newer SLURMs take the accounts below those that are named: its own test of the script decides."""
    plain = "AccountingStorageEnforce = associations\nClusterName = testbed\nSLURM_VERSION = "
    for version, blocks in (("23.02.7", True), ("24.05.3", False)):
        changed = partitions(acc="AllowAccounts=ALL AllowAccounts=parent")
        world.slurm(partition=changed, config=plain + version)
        (finding,) = told(world)
        assert finding.blocks is blocks


@pytest.mark.cases("C27")
def test_gpus_that_slurm_does_not_count(world):
    """Nodes without Gres have GPUs all the same where the profile says so."""
    world.slurm(
        node="\n".join(NODE.format(f"n{i}").replace("Gres=gpu:4", "Gres=(null)") for i in (1, 2))
    )

    assert findings(world, "cluster.gpu_request=none", "cluster.gpu_type=a100") == []
    assert "no node here has more than 0" in findings(world)[0]


@pytest.mark.cases("C1", "C7")
@pytest.mark.parametrize(
    ("most", "found"),
    [
        ("gres/gpu:a100=1", ["2 GPUs of type a100 are asked for, but QoS normal allows 1"]),
        ("gres/gpu:v100=0", []),
        ("gres/gpu:a100=2,mem=1.5T", []),
    ],
)
def test_limits_of_one_type_of_gpu(world, most, found):
    """A QoS may limit one type: such a job would wait for ever."""
    nodes = NODE.format("n1").replace("Gres=gpu:4", "Gres=gpu:a100:4")
    world.slurm(qos=f"normal||{most}|||", node=nodes, associations="nct00|normal|normal||")

    sets = ("cluster.gpu_type=a100", "cluster.qos=normal", "resources.gpus=2")
    assert findings(world, *sets) == found
