"""plan(job, cluster) -> Plan: one site's words for what a job asks.

Pure: no disk, no network, no scheduler. `hpcdl.submission.locate` looks at the disk.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from os.path import basename, relpath
from pathlib import PurePath
from typing import ClassVar, Optional, TypeVar, Union

from hpcdl.cluster.schema import Cluster, Image, PartitionChoice, QosChoice
from hpcdl.errors import JobError, Problem
from hpcdl.job import Job, format_time, parse_time
from hpcdl.job.training import training_problems

FileName = TypeVar("FileName")  # how a program's file is named: as text, or as bash expands it
# The program that runs a notebook, in the folder of support files next to it
SUPPORT = "hpcdl_support"
NOTEBOOK_RUNNER = f"{SUPPORT}/run_notebook.py"


@dataclass(frozen=True)
class Size:
    """How much of a cluster a job takes.

    Args:
        nodes: how many nodes.
        gpus: GPUs per node.
        cpus: CPUs per node.
        memory_gb: memory per node in GiB; None where the profile does not know the node's.
        time_limit_s: how long the job may take.
        emulate_gpus: whether CPU devices stand in for the GPUs.
        gpus_granted: whether SLURM knows of GPUs, and gives them.
    """

    nodes: int
    gpus: int
    cpus: int
    memory_gb: Optional[float]
    time_limit_s: int
    emulate_gpus: bool
    gpus_granted: bool = True


@dataclass(frozen=True)
class Training:
    """The program of a job with a model: hpcdl's trainer, which reads run.json.

    Args:
        reads: folders outside data_root that hold the data set and the weights.
    """

    reads: list[str] = field(default_factory=list)

    kind: ClassVar[str] = "training"
    keeps_state: ClassVar[bool] = True  # it saves checkpoints, and says itself what came out
    workdir: ClassVar[Optional[str]] = None  # the run folder
    stop_signal: ClassVar[Optional[str]] = None  # it looks for the stop file itself

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words.

        Args:
            python: the Python command.
            place: gives the path under which the program finds one of its files.
        """
        return [python, "-m", "hpcdl.trainer", place("run.json")]


@dataclass(frozen=True)
class Script:
    """The program of a job with a script or notebook of the user's.

    Args:
        script: the file, from the job file's folder on where it lies below that.
        args: its arguments.
        workdir: the folder that it works in; None for the one that hpcdl makes or that it is sent
            from.
        stop_signal: the signal that tells it to save and stop, such as USR1; None for no signal.
        sets: those of very many staged sets that its home links to; None for all of them.
    """

    script: str
    args: list[str] = field(default_factory=list)
    workdir: Optional[str] = None
    stop_signal: Optional[str] = None
    sets: Optional[list[str]] = None

    kind: ClassVar[str] = "script"
    keeps_state: ClassVar[bool] = False  # hpcdl knows nothing of how it does so
    reads: ClassVar[Sequence[str]] = ()  # what its text names is bound as `Container.shown`

    @property
    def is_notebook(self) -> bool:
        """Whether it is a notebook, which another program runs."""
        return self.script.endswith(".ipynb")

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words; for the arguments see `Training.argv`."""
        starter = [place(NOTEBOOK_RUNNER)] if self.is_notebook else []
        return [python, *starter, place(self.script), *self.args]


Program = Union[Training, Script]


@dataclass(frozen=True)
class Container:
    """The container that the program runs in.

    Args:
        runtime: the container command, apptainer or singularity.
        image: the image file.
        python: the image's Python command.
        nv: whether the container gets the machine's NVIDIA driver.
        binds: the profile's binds.
        shown: the binds that links and the program's text ask for; `locate` finds them.
        requirements: lines of pip's, of packages that the image lacks.
        overlay: where these are installed; `locate` finds it.
    """

    runtime: str
    image: str
    python: str
    nv: bool
    binds: list[str]
    shown: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    overlay: Optional[str] = None


@dataclass(frozen=True)
class Environment:
    """What the program finds in its environment besides hpcdl's own variables.

    Args:
        env: the job's variables.
        pass_env: names of the node's variables that the profile lets in.
        pythonpath: folders to import from.
    """

    env: dict[str, str] = field(default_factory=dict)
    pass_env: list[str] = field(default_factory=list)
    pythonpath: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Modules:
    """The site's software on the node, outside the container.

    Args:
        module_init: the file that defines the module command, where the site's shells do not.
        modules: modules to load before the container starts.
        host_modules: modules to load before hpcdl's own worker starts.
        host_python: the worker's interpreter; None for the one that sends the job.
    """

    module_init: Optional[str]
    modules: list[str]
    host_modules: list[str]
    host_python: Optional[str]


@dataclass(frozen=True)
class Policy:
    """How a run is brought through time limits.

    Args:
        requeue: whether SLURM requeues the job; else a chain of jobs is sent.
        max_requeues: how often the job runs again.
        stop_margin_s: how long before the end the trainer begins to save and stop.
        signal_lead_s: how long before the end SLURM warns the batch script.
        min_poll_s: how often SLURM may be asked.
    """

    max_requeues: int
    stop_margin_s: int
    signal_lead_s: int
    min_poll_s: int
    requeue: bool = True


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is decided before it has a folder.

    `planfile` writes it to plan.json.

    Args:
        name: the job's.
        source: the job file, for messages.
        folder: the job file's.
        cluster: the profile's name.
        data_root: the folder of staged sets.
        scratch: the node's own folder for temporary files, which may name variables of the node.
        container: None where the program runs with the machine's own Python.
        directives: the #SBATCH options in order; an empty value stands for a flag.
        notes: lines for the script's header.
    """

    name: str
    source: str
    cluster: str
    data_root: str
    scratch: Optional[str]
    size: Size
    program: Program
    container: Optional[Container]
    environment: Environment
    modules: Modules
    policy: Policy
    directives: list[tuple[str, str]]
    notes: list[str]
    folder: str = ""

    def require_container(self) -> Container:
        """The container, for what is done only in one.

        Raises:
            ValueError: the program runs with the machine's own Python.
        """
        if self.container is None:
            raise ValueError(f"the plan of {self.name} has no container")
        return self.container

    def module_lines(self, with_host: bool = False) -> list[str]:
        """The lines of bash that load the site's modules; none where there are no modules.

        Args:
            with_host: whether to load those of hpcdl's own worker, too.
        """
        site = self.modules
        names = [*site.modules, *site.host_modules] if with_host else site.modules
        if not names:
            return []
        source = [f"source {shlex.quote(site.module_init)}"] if site.module_init else []
        return [*source, "module purge", *(f"module load {shlex.quote(name)}" for name in names)]

    @property
    def uses_first_gpus(self) -> bool:
        """Whether the job may see more GPUs than it asks for, and uses the first ones.

        So it is where SLURM counts no GPUs, and on a whole node: --exclusive gives all its GPUs.
        """
        size = self.size
        return bool(size.gpus) and (not size.gpus_granted or ("exclusive", "") in self.directives)


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
    size = Size(
        nodes=resources.nodes,
        gpus=resources.gpus,
        cpus=cpus,
        memory_gb=memory_gb,
        time_limit_s=resources.time_limit_s,
        emulate_gpus=cluster.emulate_gpus,
        gpus_granted=cluster.gpu_request != "none",
    )
    return Plan(
        name=job.name,
        source=job.source,
        cluster=cluster.name,
        data_root=cluster.data_root,
        scratch=cluster.scratch,
        size=size,
        program=_program(job, cluster),
        container=None if image is None else _container(job, cluster, image),
        environment=Environment(job.env, cluster.pass_env, job.pythonpath),
        modules=Modules(
            cluster.module_init, cluster.modules, cluster.host_modules, cluster.host_python
        ),
        policy=Policy(
            max_requeues=cluster.max_requeues,
            stop_margin_s=cluster.stop_margin_s,
            signal_lead_s=_lead_s(job, cluster),
            min_poll_s=cluster.min_poll_s,
            requeue=cluster.requeue,
        ),
        directives=_directives(job, cluster, cpus, memory_gb),
        notes=notes,
        folder=job.folder,
    )


def _container(job: Job, cluster: Cluster, image: Image) -> Container:
    return Container(
        runtime=cluster.runtime,
        image=image.path,
        python=image.python,
        nv=job.resources.gpus > 0 and not cluster.emulate_gpus,
        binds=cluster.binds,
        requirements=job.requirements,
    )


def _program(job: Job, cluster: Cluster) -> Program:
    if job.script is None:
        weights = getattr(job.model, "weights", None)
        path = job.data.path if job.data else None
        return Training(reads_outside(path, weights, cluster.data_root))
    return Script(_named_from(job, job.script), job.args, job.workdir, job.stop_signal)


def reads_outside(data: str | None, weights: str | None, data_root: str) -> list[str]:
    """The folders of a training's data and weights that do not lie under data_root.

    What lies right under the root is named itself: its folder would hide the image.

    Args:
        data: the data set's path; None for a staged set.
        weights: what the job says of a backbone's weights, which may be a file.
        data_root: the profile's.
    """
    files = [data, None if weights in ("imagenet", "none") else weights]
    folders = []
    for file in files:
        if file and not PurePath(file).is_relative_to(data_root):
            parent = str(PurePath(file).parent)
            folders.append(file if parent == "/" else parent)
    return folders


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
        choices: dict[str, PartitionChoice] | dict[str, QosChoice] = (
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


def _named_from(job: Job, script: str) -> str:
    """A script as a batch script names it: from the job file's folder, where it lies below that."""
    relative = relpath(script, job.folder)
    return script if job.workdir or relative.startswith("../") else relative


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
    size = plan.size
    minutes = size.time_limit_s / 60
    limit = f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"
    parts = [_many(size.nodes, "node"), _many(size.gpus, "GPU"), _many(size.cpus, "CPU"), limit]
    return ", ".join(part for part in parts if not part.startswith("0 "))


def script_name(plan: Plan) -> str:
    """The file name of the batch script that ``sbatch`` is told."""
    return f"{basename(plan.name)}.slurm"


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
