"""Why a cluster cannot run a job, as far as its profile says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from hpcdl.cluster.schema import Cluster, Image
from hpcdl.errors import Problem
from hpcdl.job import Job, format_time, parse_time
from hpcdl.job.command import steps_in
from hpcdl.job.node_count import parse_nodes
from hpcdl.job.training import training_problems
from hpcdl.planning.directives import cpus_of


def choose_image(job: Job, cluster: Cluster) -> tuple[Image | None, list[Problem]]:
    """The job's image, or None if it runs without a container; and what is wrong with its name."""
    if job.hpcdl:
        return None, []
    if "/" in job.container:
        return Image(job.container), []
    if job.container in cluster.images:
        return cluster.images[job.container], []
    if not cluster.images and job.container == "tensorflow":
        return None, []
    names = ", ".join(cluster.images) or "none"
    message = f"{cluster.name} has no image {job.container!r}; it has {names}"
    return None, [_problem(job, "container", message)]


def refusals(job: Job, cluster: Cluster) -> list[Problem]:
    """All reasons why a cluster cannot run a job."""
    return [
        *_too_many_nodes(job, cluster),
        *_too_big(job, cluster),
        *training_problems(job),
        *_too_long(job, cluster),
        *_unbindable(job, cluster),
        *_no_pipeline(job),
    ]


def _no_pipeline(job: Job) -> Iterator[Problem]:
    """The job's command names steps of a pipeline, and it is not a pipeline's."""
    for name in steps_in(job.hpcdl):
        message = f"{{{name}}} stands for the run of a pipeline's step, and this job is in none"
        yield _problem(job, "hpcdl", f"{message}: write the run's path, or submit the pipeline")


def _problem(job: Job, key: str, message: str) -> Problem:
    """A problem at the place where the key was written, or else of the job."""
    return Problem(job.places.get(key, job.source), key, message)


def _too_many_nodes(job: Job, cluster: Cluster) -> Iterator[Problem]:
    """The job asks for more nodes than its program or its partition takes."""
    key = "resources.nodes"
    try:
        count = parse_nodes(job.resources.nodes)
    except ValueError as error:
        yield _problem(job, key, str(error))
        return
    if count.most > 1 and job.hpcdl:
        message = "expected 1 with a command of hpcdl's, which runs on one node"
        yield _problem(job, key, f"{message}; got {job.resources.nodes}")
    limits: dict[str, int] = {}
    for name in (cluster.partition or "").split(","):
        most = cluster.partitions[name].max_nodes if name in cluster.partitions else None
        if most is None:
            limits = {}
            break  # SLURM may take this one
        limits[name] = most
    if limits and count.most > max(limits.values()):
        allowed = ", ".join(f"partition {name} allows {most}" for name, most in limits.items())
        yield _problem(job, key, f"is {job.resources.nodes}, but {allowed}: ask for fewer")
    if count.most > 1:
        yield from _not_over_nodes(job)


def _not_over_nodes(job: Job) -> Iterator[Problem]:
    """A training asks for what it cannot have on several nodes."""
    if job.train is None:
        return
    rows, replicas = job.train.for_gpus(job.resources.all_gpus).batch_size, job.resources.all_gpus
    if rows is not None and rows < replicas:
        message = f"is {rows}; expected at least one row for each of {replicas} replicas"
        nodes = parse_nodes(job.resources.nodes).most
        yield _problem(job, "train.batch_size", f"{message} on {nodes} nodes")
    if job.train.jit == "on":
        message = "is on; expected auto or off on several nodes: XLA compiles for one device"
        yield _problem(job, "train.jit", message)


def _too_big(job: Job, cluster: Cluster) -> Iterator[Problem]:
    """The job asks for more than a node has."""
    resources, node = job.resources, cluster.node
    limit = f"but a node of {cluster.name} has"
    if resources.gpus > node.gpus and not cluster.emulate_gpus:
        yield _problem(
            job, "resources.gpus", f"is {resources.gpus}, {limit} {node.gpus}: ask for fewer"
        )
    if resources.cpus and resources.cpus > node.cpus:
        yield _problem(
            job, "resources.cpus", f"is {cpus_of(job, cluster)}, {limit} {node.cpus}: ask for fewer"
        )


@dataclass(frozen=True)
class _Limit:
    """A time limit of a site.

    Args:
        key: the profile's key of the choice that has the limit, or "" for the whole site.
        name: the choice's name.
        limit_s: how long a job may take; infinite if the profile does not say.
        is_own: whether the choice itself has it, and not the whole site.
    """

    key: str
    name: str
    limit_s: float
    is_own: bool = True

    @property
    def owner(self) -> str:
        """Who allows it, in words."""
        kinds = {"partition": f"partition {self.name}", "qos": f"QoS {self.name}"}
        return kinds.get(self.key, self.name)


def _too_long(job: Job, cluster: Cluster) -> Iterator[Problem]:
    """The job's time is above the limits of its partition and QoS, or else of the site."""
    asked_s = job.resources.time_limit_s
    limits = [limit for limit in _chosen_limits(cluster) if limit.is_own]
    if not limits:
        limits = [_Limit("", cluster.name, _seconds(None, cluster))]
    for limit in limits:
        if asked_s <= limit.limit_s:
            continue
        fix = "ask for less"
        longer = _longer_choices(limit.key, asked_s, cluster)
        if longer:
            fix = f"use --set cluster.{limit.key}={'|'.join(longer)}, or {fix}"
        allowed = f"{limit.owner} allows {format_time(int(limit.limit_s))}"
        message = f"is {format_time(asked_s)}, but {allowed}: {fix}"
        yield _problem(job, "resources.time", message)


def _chosen_limits(cluster: Cluster) -> list[_Limit]:
    """The limits of the chosen partition and QoS. Of several partitions the longest one counts."""
    limits = []
    for name in (cluster.partition or "").split(","):
        if name in cluster.partitions:
            max_time = cluster.partitions[name].max_time
            limits.append(_Limit("partition", name, _seconds(max_time, cluster), bool(max_time)))
    if len(limits) > 1:  # SLURM may take any of them
        limits = [max(limits, key=lambda limit: limit.limit_s)]
    for name, choice in cluster.qos_choices.items():
        if name.lower() == (cluster.qos or "").lower():  # SLURM compares QoS without case
            seconds = _seconds(choice.max_time, cluster)
            limits.append(_Limit("qos", name, seconds, bool(choice.max_time)))
    return limits


def _seconds(max_time: str | None, cluster: Cluster) -> float:
    """A limit in seconds, or else the site's; infinite if the profile names neither."""
    text = max_time or cluster.max_time
    return parse_time(text) if text else inf


def _longer_choices(key: str, asked_s: int, cluster: Cluster) -> list[str]:
    """The partitions, or the QoS, that allow a job's time."""
    times: dict[str, str | None] = {}
    if key == "qos":
        times = {name: choice.max_time for name, choice in cluster.qos_choices.items()}
    elif key == "partition":
        times = {name: choice.max_time for name, choice in cluster.partitions.items()}
    return [name for name, max_time in times.items() if _seconds(max_time, cluster) >= asked_s]


def _unbindable(job: Job, cluster: Cluster) -> Iterator[Problem]:
    """Folders that a container cannot be given: ``--bind`` splits at ':' and ','."""
    folders = {
        "cluster.data_root": cluster.data_root,
        "workdir": job.workdir,
        "data.path": job.data.path if job.data else None,
        "model.weights": getattr(job.model, "weights", None),
        "model.features_cache": getattr(job.model, "features_cache", None),
    }
    for number, folder in enumerate(job.pythonpath):
        folders[f"pythonpath[{number}]"] = folder
    places = {**job.places, "cluster.data_root": cluster.places.get("data_root", job.source)}
    for key, path in folders.items():
        if path and set(path) & set(":,"):
            message = f"a container cannot be given {path!r}: it has ':' or ','"
            yield Problem(places.get(key, job.source), key, message)
