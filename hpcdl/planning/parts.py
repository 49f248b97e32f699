"""What a plan consists of: plain data, in groups."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Optional, TypeVar, Union

from hpcdl.cluster.gpu_vendors import NVIDIA, VENDORS, GpuVendor

FileName = TypeVar("FileName")  # how a program's file is named: as text, or as bash expands it
# The program that runs a notebook, in the folder of support files next to it
SUPPORT = "hpcdl_support"
NOTEBOOK_RUNNER = f"{SUPPORT}/run_notebook.py"
# Runs hpcdl's command line. `-m hpcdl` would import what lies in the working directory first.
RUN_COMMAND = (
    "import sys; sys.path[:] = [folder for folder in sys.path if folder]; "
    "from hpcdl.cli import entrypoint; entrypoint()"
)


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
class Training:
    """The program of a job with a model: hpcdl's trainer, which reads run.json.

    Args:
        reads: folders outside data_root that hold the data set and the weights.
    """

    reads: list[str] = field(default_factory=list)

    kind: ClassVar[str] = "training"
    on_host: ClassVar[bool] = False  # see `Command`
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
    on_host: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = False  # hpcdl knows nothing of how it does so
    reads: ClassVar[Sequence[str]] = ()  # what its text names is bound as `Container.shown`

    @property
    def is_notebook(self) -> bool:
        """Whether it is a notebook, which another program runs."""
        return self.script.endswith(".ipynb")

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words; for the arguments see `Training.argv`."""
        words: list[str | FileName] = [python]
        if self.is_notebook:
            words.append(place(NOTEBOOK_RUNNER))
        return [*words, place(self.script), *self.args]


@dataclass(frozen=True)
class Command:
    """The program of a job that is a command of hpcdl's own, such as ``hpcdl report RUN``.

    Args:
        words: those after ``hpcdl``.
        workdir: the folder that it works in, so that its relative paths hold.
    """

    words: list[str]
    workdir: Optional[str] = None

    kind: ClassVar[str] = "command"
    on_host: ClassVar[bool] = True  # the node's Python runs it: no container, no home of its own
    keeps_state: ClassVar[bool] = False
    stop_signal: ClassVar[Optional[str]] = None
    reads: ClassVar[Sequence[str]] = ()

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words; for the arguments see `Training.argv`."""
        return [python, "-c", RUN_COMMAND, *self.words]


@dataclass(frozen=True)
class Predict:
    """The program of a prediction: hpcdl's own, in the container, which reads predict.json.

    Args:
        reads: the folders of the runs whose models it uses, and that of the images.
        folder: that of the images.
    """

    reads: list[str]
    folder: str

    kind: ClassVar[str] = "predict"
    on_host: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = True  # it saves block by block
    workdir: ClassVar[Optional[str]] = None
    stop_signal: ClassVar[Optional[str]] = None

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words; for the arguments see `Training.argv`."""
        return [python, "-m", "hpcdl.trainer", self.kind, place(f"{self.kind}.json")]


Program = Union[Training, Script, Command, Predict]


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
