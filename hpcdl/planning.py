"""plan(job, cluster) -> Plan: one site's words for what a job asks. Pure: no disk, no network, no scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import inf
from os.path import basename, relpath
from typing import Optional

import hpcdl
from hpcdl.cluster.schema import Cluster, Image, Partition, Qos
from hpcdl.contract.spec import DataSpec, DeviceSpec, RunSpec, SavingSpec
from hpcdl.errors import JobError, Problem
from hpcdl.job import Job, format_time, parse_time
from hpcdl.job.training import training_problems
from hpcdl.staging import set_path


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is decided before it has a folder. Plain data: kept as plan.json.

    ``image`` is None where the program runs with the machine's own Python.
    ``shown`` are the binds that links and the program's text ask for: `shown.with_shown` says them.
    ``sets`` are those of very many staged sets that a script's home links to; None for all of them.
    ``folder`` is the job file's.
    ``overlay`` is where the requirements are installed: `packages.located` says it, who may look at the disk.
    ``gpus_granted`` says whether SLURM knows of GPUs, and gives them.
    ``directives`` are the #SBATCH options in order; an empty value stands for a flag.
    """

    name: str
    source: str
    cluster: str
    nodes: int
    gpus: int
    cpus: int
    memory_gb: Optional[float]
    time_limit_s: int
    directives: list[tuple[str, str]]
    notes: list[str]
    module_init: Optional[str]
    modules: list[str]
    host_modules: list[str]
    host_python: Optional[str]
    runtime: str
    image: Optional[str]
    python: str
    nv: bool
    binds: list[str]
    data_root: str
    scratch: Optional[str]
    script: Optional[str]
    args: list[str]
    env: dict[str, str]
    workdir: Optional[str]
    max_requeues: int
    stop_margin_s: int
    signal_lead_s: int
    min_poll_s: int
    emulate_gpus: bool
    requeue: bool = True
    stop_signal: Optional[str] = None
    pass_env: list[str] = field(default_factory=list)
    pythonpath: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    overlay: Optional[str] = None
    shown: list[str] = field(default_factory=list)
    sets: Optional[list[str]] = None
    folder: str = ""
    gpus_granted: bool = True

    @property
    def uses_first_gpus(self) -> bool:
        """Whether the job may see more GPUs than it asks for, and uses the first ones.

        So it is where SLURM counts no GPUs, and on a whole node: --exclusive gives all its GPUs.
        """
        return bool(self.gpus) and (not self.gpus_granted or ("exclusive", "") in self.directives)


def plan(job: Job, cluster: Cluster) -> Plan:
    """Decide how a job runs on a cluster.

    Raises:
        JobError: the cluster cannot do what the job asks; every reason at once.
    """
    problems: list[Problem] = []
    image = _image(job, cluster, problems)
    resources, node = job.resources, cluster.node
    if resources.nodes > 1:
        problems.append(
            _wrong(
                job, "resources.nodes", f"expected 1, a job runs on one node; got {resources.nodes}"
            )
        )
    has = f"but a node of {cluster.name} has"
    if resources.gpus > node.gpus and not cluster.emulate_gpus:
        problems.append(_wrong(job, "resources.gpus", f"is {resources.gpus}, {has} {node.gpus}"))
    cpus = resources.cpus or max(1, node.cpus * max(1, resources.gpus) // max(1, node.gpus))
    if resources.cpus and resources.cpus > node.cpus:
        problems.append(_wrong(job, "resources.cpus", f"is {cpus}, {has} {node.cpus}"))
    problems += training_problems(job)
    problems += _too_long(job, cluster)
    memory_gb = resources.memory_gb or _share_of_memory(resources.gpus, cluster)
    problems += _unbindable(job, cluster)
    if problems:
        raise JobError(f"{job.source} on {cluster.name}", problems)
    notes = []
    if resources.memory_gb and cluster.memory_request == "none":
        notes.append(f"memory comes with the CPUs on {cluster.name}: memory_gb is not asked for")
    return Plan(
        name=job.name,
        source=job.source,
        cluster=cluster.name,
        nodes=resources.nodes,
        gpus=resources.gpus,
        cpus=cpus,
        memory_gb=memory_gb,
        time_limit_s=resources.time_limit_s,
        directives=_directives(job, cluster, cpus, memory_gb),
        notes=notes,
        module_init=cluster.module_init,
        modules=cluster.modules,
        host_modules=cluster.host_modules,
        host_python=cluster.host_python,
        runtime=cluster.runtime,
        image=image.path if image else None,
        python=image.python if image else "python",
        nv=resources.gpus > 0 and not cluster.emulate_gpus,
        binds=cluster.binds,
        data_root=cluster.data_root,
        scratch=cluster.scratch,
        script=_script(job),
        args=job.args,
        env=job.env,
        workdir=job.workdir,
        requeue=cluster.requeue,
        stop_signal=job.stop_signal,
        max_requeues=cluster.max_requeues,
        stop_margin_s=cluster.stop_margin_s,
        signal_lead_s=_lead_s(job, cluster),
        min_poll_s=cluster.min_poll_s,
        emulate_gpus=cluster.emulate_gpus,
        pass_env=cluster.pass_env,
        pythonpath=job.pythonpath,
        requirements=job.requirements,
        folder=job.folder,
        gpus_granted=cluster.gpu_request != "none",
    )


def run_spec(job: Job, cluster: Cluster) -> RunSpec | None:
    """The contract with the trainer, or None for a script job. Looks where a set with a name lies."""
    if job.model is None or job.data is None or job.train is None:
        return None
    return RunSpec(
        name=job.name,
        data=_data(job.data, cluster),
        model=job.model,
        train=job.train,
        devices=DeviceSpec(gpus=job.resources.gpus, emulate=cluster.emulate_gpus),
        hpcdl_version=hpcdl.__version__,
        saving=SavingSpec(cluster.save_every_s, cluster.save_every_steps, cluster.keep_checkpoints),
    )


def _data(data: DataSpec, cluster: Cluster) -> DataSpec:
    """A staged set's name becomes its path under data_root."""
    if data.name is None:
        return data
    return replace(data, path=set_path(cluster.data_root, data.name))


def _image(job: Job, cluster: Cluster, problems: list[Problem]) -> Image | None:
    if "/" in job.container:
        return Image(job.container)
    if job.container in cluster.images:
        return cluster.images[job.container]
    if cluster.images or job.container != "tensorflow":
        known = ", ".join(cluster.images) or "none"
        wrong = f"{cluster.name} has no image {job.container!r}; it has {known}"
        problems.append(_wrong(job, "container", wrong))
    return None


def _wrong(job: Job, key: str, message: str) -> Problem:
    """A problem at the place where the key was written, or else of the job."""
    return Problem(job.places.get(key, job.source), key, message)


def _too_long(job: Job, cluster: Cluster) -> Iterator[Problem]:
    """The time against the limits that the profile knows: the partition's and the QoS's, or else the site's."""
    asked_s = job.resources.time_limit_s

    def most_s(max_time: str | None) -> int | None:
        limit = max_time or cluster.max_time
        return parse_time(limit) if limit else None

    chosen = (cluster.partition or "").split(",")
    limits = [
        ("partition", name, cluster.partitions[name].max_time)
        for name in chosen
        if name in cluster.partitions
    ]
    if len(limits) > 1:  # SLURM may take any of them
        limits = [max(limits, key=lambda limit: most_s(limit[2]) or inf)]
    for name, choice in cluster.qos_choices.items():
        if name.lower() == (cluster.qos or "").lower():  # SLURM compares QoS without case
            limits.append(("qos", name, choice.max_time))
    known = [limit for limit in limits if limit[2]]
    for key, name, max_time in known or [("", cluster.name, None)]:
        limit_s = most_s(max_time)
        if limit_s is None or asked_s <= limit_s:
            continue
        choices: dict[str, Partition] | dict[str, Qos] = (
            cluster.qos_choices if key == "qos" else cluster.partitions
        )
        longer = [
            other
            for other, choice in choices.items()
            if (most_s(choice.max_time) or inf) >= asked_s
        ]
        use = f"use --set cluster.{key}={'|'.join(longer)}, or ask" if key and longer else "ask"
        who = {"partition": f"partition {name}", "qos": f"QoS {name}", "": name}[key]
        wrong = (
            f"is {format_time(asked_s)}, but {who} allows {format_time(limit_s)}: {use} for less"
        )
        yield _wrong(job, "resources.time", wrong)


def _unbindable(job: Job, cluster: Cluster) -> list[Problem]:
    """Folders that a container cannot be given: ``--bind`` splits at ':' and ','."""
    folders = {
        "cluster.data_root": cluster.data_root,
        "workdir": job.workdir or "",
        "data.path": (job.data.path if job.data else None) or "",
        "model.weights": getattr(job.model, "weights", ""),
        "model.features_cache": getattr(job.model, "features_cache", None) or "",
        **{f"pythonpath[{i}]": folder for i, folder in enumerate(job.pythonpath)},
    }
    wrong = {key: path for key, path in folders.items() if set(path) & set(":,")}
    places = {**job.places, "cluster.data_root": cluster.places.get("data_root", job.source)}
    return [
        Problem(
            places.get(key, job.source),
            key,
            f"a container cannot be given {path!r}: it has ':' or ','",
        )
        for key, path in wrong.items()
    ]


def _share_of_memory(gpus: int, cluster: Cluster) -> float | None:
    node = cluster.node
    if node.memory_gb is None:
        return None
    return round(node.memory_gb * max(1, gpus) / max(1, node.gpus), 1)


def _script(job: Job) -> str | None:
    """The script as a batch script names it: from the job file's folder, where it lies below that."""
    if job.script is None:
        return None
    relative = relpath(job.script, job.folder)
    return job.script if job.workdir or relative.startswith("../") else relative


def _directives(
    job: Job, cluster: Cluster, cpus: int, memory_gb: float | None
) -> list[tuple[str, str]]:
    """The #SBATCH options that say how big the job is and who pays, in the site's words."""
    resources = job.resources
    rows = [("nodes", str(resources.nodes)), ("ntasks-per-node", "1"), ("cpus-per-task", str(cpus))]
    gres = []
    if resources.gpus and cluster.gpu_request != "none":
        count = f"{cluster.gpu_type}:{resources.gpus}" if cluster.gpu_type else str(resources.gpus)
        if cluster.gpu_request == "gres":
            gres.append(f"gpu:{count}")
        else:
            rows.append(("gpus-per-node", count))
    if cluster.scratch_gres:
        gres.append(cluster.scratch_gres)
    if gres:
        rows.append(("gres", ",".join(gres)))
    if memory_gb and cluster.memory_request != "none":
        shares = {"mem": 1, "mem-per-cpu": cpus, "mem-per-gpu": max(1, resources.gpus)}
        rows.append(
            (cluster.memory_request, f"{int(memory_gb * 1024 / shares[cluster.memory_request])}M")
        )
    rows.append(("time", format_time(resources.time_limit_s)))
    rows += [
        (key, value)
        for key in ("clusters", "account", "partition", "qos")
        if (value := getattr(cluster, key))
    ]
    rows.append(("signal", f"B:USR2@{_lead_s(job, cluster)}"))
    rows.append(("requeue" if cluster.requeue else "no-requeue", ""))
    rows.append(("open-mode", "append"))
    return rows + sorted(job.slurm.items())


def _lead_s(job: Job, cluster: Cluster) -> int:
    """How long before the time limit SLURM warns the job: at most a third of it."""
    return min(cluster.signal_lead_s, max(1, job.resources.time_limit_s // 3))


def summary(plan: Plan) -> str:
    """One line for people: ``1 node, 1 GPU, 20 CPUs, 15 min``."""
    minutes = plan.time_limit_s / 60
    limit = f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"
    parts = [_many(plan.nodes, "node"), _many(plan.gpus, "GPU"), _many(plan.cpus, "CPU"), limit]
    return ", ".join(part for part in parts if not part.startswith("0 "))


def script_name(plan: Plan) -> str:
    """The file name of the batch script that ``sbatch`` is told."""
    return f"{basename(plan.name)}.slurm"


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
