"""An adopted script as a job and a cluster in memory, for the checks: SLURM gets the script itself.

What the script does not say is here as SLURM has it, not as a job file's defaults.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcdl.adopt.model import Adopted
from hpcdl.batchscript.launchers import APART
from hpcdl.cluster import load_cluster
from hpcdl.cluster.checks import unlisted
from hpcdl.cluster.schema import Cluster, Node
from hpcdl.errors import Problem
from hpcdl.job import Job
from hpcdl.job.build import build
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

# Stands for a script that is not there or not known; the checks that read it are not made then
_STAND_IN = str(Path(__file__))
_NO_IMAGE = "/no-image.sif"
_NO_ACCOUNT = "no-account"
_MOST_PASSES = 4


@dataclass(frozen=True)
class InMemory:
    """A batch script as a job.

    Args:
        job: the job.
        problems: what is wrong with the values of the script, each at its line.
        has_script: whether its program is known and there.
        has_image: whether its image is known.
    """

    job: Job
    problems: list[Problem] = field(default_factory=list)
    has_script: bool = True
    has_image: bool = True


def job_of(adopted: Adopted) -> InMemory | None:
    """The job of a script; None where its values make none, which cannot be told here."""
    shown = adopted.script.shown
    where = f"{shown}:1"
    document = _with_slurms_values(adopted.document, where)
    has_script, has_image = "script" in document, "container" in document
    if not has_script:
        document["script"] = Located(_STAND_IN, where, _STAND_IN)
    if not has_image:
        document["container"] = Located(_NO_IMAGE, where, _NO_IMAGE)
    reported: list[Problem] = []
    for _ in range(_MOST_PASSES):
        problems: list[Problem] = []
        job = build(Located(document, where), adopted.folder, shown, problems)
        if job is not None:
            return InMemory(job, reported, has_script, has_image)
        reported += problems
        for problem in problems:
            key = problem.key.partition(".")[0].partition("[")[0]
            document.pop(key, None)
            if key == "script":
                has_script = False
                document["script"] = Located(_STAND_IN, where, _STAND_IN)
            elif key == "container":
                has_image = False
                document["container"] = Located(_NO_IMAGE, where, _NO_IMAGE)
            elif key == "name":
                document["name"] = Located("script", where, "script")
    return None


def _with_slurms_values(document: Located, where: str) -> dict[str, Located]:
    """The document with one CPU where the script asks for none."""
    keys: dict[str, Located] = dict(document.value)
    resources = keys.get("resources", Located({}, where))
    if "cpus" not in resources.value:
        one = {**resources.value, "cpus": Located(1, where, "1")}
        keys["resources"] = Located(one, resources.where)
    return keys


def cluster_of(
    adopted: Adopted, job: Job, profile: str | None, sets: Sequence[str] = ()
) -> Cluster:
    """The cluster that a script goes to: by its own lines, and a profile if there is one.

    Args:
        adopted: the script.
        job: its job.
        profile: a profile's name or file; None where there is none.
        sets: ``cluster.KEY=value`` texts.

    Raises:
        ClusterError: all that is wrong in the profile, with places.
        UserError: there is no such profile.
    """
    if profile is None:
        cluster = _without_profile(adopted, job)
    elif "account" in job.cluster:
        cluster = load_cluster(profile, sets, job, of_script=True)
    else:  # the paths of many profiles hold the account; the script has its own
        with_account = [f"cluster.account={_NO_ACCOUNT}", *sets]
        cluster = load_cluster(profile, with_account, job, of_script=True)
    typed = {text.partition("=")[0].removeprefix("cluster.") for text in sets}
    own = {**adopted.document.items_of("cluster"), **dict.fromkeys(typed)}
    keras = os.path.join(os.path.expanduser("~"), ".keras", "datasets")
    return replace(
        cluster,
        account=cluster.account if "account" in own else None,
        partition=cluster.partition if "partition" in own else None,
        qos=cluster.qos if "qos" in own else None,
        gpu_type=cluster.gpu_type if "gpu_type" in own else None,
        memory_request=cluster.memory_request if "memory_request" in own else "none",
        modules=cluster.modules if "modules" in own else [],
        host_modules=[],
        runtime=cluster.runtime if "runtime" in own else adopted.runtime or cluster.runtime,
        binds=_binds(adopted, job),
        data_root=keras,
        stop_margin_s=0,
    )


def as_far_as_known(cluster: Cluster, job: Job) -> Cluster:
    """The cluster, without limits where the script's partition is none that the profile lists."""
    if any(key == "partition" for key, _, _ in unlisted(cluster)):
        return without_limits(cluster, job)
    return cluster


def without_limits(cluster: Cluster, job: Job) -> Cluster:
    """The cluster with nodes as large as a job asks for: SLURM tells what there is."""
    node = Node(cpus=job.resources.cpus or 1, gpus=job.resources.gpus)
    return replace(cluster, node=node, partitions={}, qos_choices={}, max_time=None)


def _without_profile(adopted: Adopted, job: Job) -> Cluster:
    """What the script alone says of its cluster."""
    where = f"{adopted.script.shown}:1"
    resources = job.resources
    node = Node(cpus=resources.cpus or 1, gpus=resources.gpus)
    keys = {
        "name": Located("this cluster", where, "this cluster"),
        **adopted.document.items_of("cluster"),
    }
    problems: list[Problem] = []
    document = Located(keys, where)
    cluster = Walker(problems).fill(Cluster, document)
    if cluster is None or problems:
        cluster = Cluster(name="this cluster")
    return replace(cluster, node=node, places=document.places())


def _binds(adopted: Adopted, job: Job) -> list[str]:
    """What the script's container shows: its binds, the home and the working directory."""
    binds = adopted.document.at("cluster").plain().get("binds") or []
    is_apart = False
    for program in adopted.script.programs:
        if program.container is not None and program.container.has(*APART):
            is_apart = True
    own = [] if is_apart else [os.path.expanduser("~")]
    if job.workdir is not None:
        own.append(job.workdir)
    return [*binds, *filter(os.path.isdir, own)]
