"""What a plan consists of: plain data, in groups."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Optional

from hpcdl.cluster.gpu_vendors import NVIDIA, VENDORS, GpuVendor
from hpcdl.planning.program import Program


@dataclass(frozen=True)
class Size:
    """How much of a cluster a job takes.

    Args:
        nodes: how many nodes, at most.
        gpus: GPUs per node.
        cpus: CPUs per node.
        memory_gb: memory per node in GiB; None where the profile does not know the node's.
        time_limit_s: how long the job may take.
        emulate_gpus: whether CPU devices stand in for the GPUs.
        gpus_granted: whether SLURM knows of GPUs, and gives them.
        least_nodes: how many nodes at least, where SLURM chooses; None where it does not.
    """

    nodes: int
    gpus: int
    cpus: int
    memory_gb: Optional[float]
    time_limit_s: int
    emulate_gpus: bool
    gpus_granted: bool = True
    least_nodes: Optional[int] = None


@dataclass(frozen=True)
class Container:
    """The container that the program runs in.

    Args:
        runtime: the container command, apptainer or singularity.
        image: the image file.
        python: the image's Python command.
        nv: whether the container gets the driver of the machine's GPUs.
        binds: the profile's binds.
        shown: the binds that links and the program's text ask for; `locate` finds them.
        requirements: lines of pip's, of packages that the image lacks.
        overlay: where these are installed; `locate` finds it.
        gpu_vendor: who makes the GPUs, one of `hpcdl.cluster.gpu_vendors`.
    """

    runtime: str
    image: str
    python: str
    nv: bool
    binds: list[str]
    shown: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    overlay: Optional[str] = None
    gpu_vendor: str = "nvidia"


@dataclass(frozen=True)
class Environment:
    """What the program finds in its environment besides hpcdl's own variables.

    Args:
        env: the job's variables.
        pass_env: names of the node's variables that the profile lets in.
        pythonpath: folders to import from.
        ports: the first and the last port that workers on several nodes may use; None for any.
    """

    env: dict[str, str] = field(default_factory=dict)
    pass_env: list[str] = field(default_factory=list)
    pythonpath: list[str] = field(default_factory=list)
    ports: Optional[list[int]] = None


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
class Notify:
    """The command that is run when the run has ended for good.

    Args:
        command: its argv; empty for none.
        timeout_s: seconds after which it is ended.
    """

    command: list[str] = field(default_factory=list)
    timeout_s: int = 30


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
    notify: Notify = field(default_factory=Notify)

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
        names = list(site.modules)
        if with_host:
            names += site.host_modules
        if not names:
            return []
        lines = ["module purge", *(f"module load {shlex.quote(name)}" for name in names)]
        if site.module_init:
            lines.insert(0, f"source {shlex.quote(site.module_init)}")
        return lines

    @property
    def gpu_vendor(self) -> GpuVendor:
        """Who makes the GPUs of its node."""
        return NVIDIA if self.container is None else VENDORS[self.container.gpu_vendor]

    @property
    def uses_first_gpus(self) -> bool:
        """Whether the job may see more GPUs than it asks for, and uses the first ones.

        So it is where SLURM counts no GPUs, and on a whole node: --exclusive gives all its GPUs.
        """
        size = self.size
        return bool(size.gpus) and (not size.gpus_granted or ("exclusive", "") in self.directives)
