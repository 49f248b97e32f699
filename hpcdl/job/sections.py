"""The sections of a job file. data, model and train are the trainer's own classes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from hpcdl.contract.export_kinds import FILES
from hpcdl.contract.settings import setting
from hpcdl.contract.spec import (
    DataSpec,
    FunctionSpec,
    ModelSpec,
    StartSpec,
    TestSpec,
    TrainSpec,
)
from hpcdl.job.from_run import FromRun
from hpcdl.job.node_count import NodeCount, parse_nodes
from hpcdl.job.notify_section import NotifySection
from hpcdl.job.sweep_section import SweepSection

_SHARE = "by default the GPUs' share of the node; with gpus: 0, the share of one GPU"
# Hours alone may have three digits: many write 120:00:00 for five days, and nobody misreads it.
_TIME = re.compile(r"(?:(\d+)-(?=\d{1,2}:))?(\d{1,3}):(\d\d):(\d\d)", re.ASCII)
_OTHER_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)
_UNITS = r"(d|h|m|days?|hours?|hrs?|minutes?|mins?)(?![a-z])"
_WITH_UNIT = re.compile(rf"(?ai)(\d{{1,6}}(?:\.\d{{1,3}})?)\s*{_UNITS}\s*")
WITHOUT_END = ("unlimited", "infinite", "none", "-1")


@dataclass(frozen=True)
class Resources:
    """How big the job is."""

    gpus: int = setting("GPUs of each node; 0 trains on the CPU", 1, ge=0)
    nodes: Union[int, str] = setting(
        "nodes: a number, or a range such as 2-4, of which SLURM gives what is free", 1
    )
    time: str = setting('time limit, "HH:MM:SS" or "D-HH:MM:SS"; hours up to 999', "01:00:00")
    cpus: Optional[int] = setting(f"CPUs; {_SHARE}", None, ge=1)
    memory_gb: Optional[float] = setting(f"memory in GB; {_SHARE}", None, gt=0)

    @property
    def time_limit_s(self) -> int:
        """The time limit in seconds."""
        return parse_time(self.time)

    @property
    def node_count(self) -> NodeCount:
        """How many nodes it asks for; one where that cannot be used, which is refused."""
        try:
            return parse_nodes(self.nodes)
        except ValueError:
            return NodeCount(1, 1)

    @property
    def all_gpus(self) -> int:
        """GPUs of all nodes, at most; without GPUs, the CPU of each node counts as one."""
        return max(1, self.gpus) * self.node_count.most


@dataclass(frozen=True)
class Job:
    """What the user wants done: one training of an image classifier, one script, or one command.

    ``folder`` is where the job file lies; all paths in it are absolute. ``source``
    is how the file is called in scripts and messages, whatever the working directory.
    ``requirements`` are the lines of ``packages``.
    ``workdir_text`` is the working directory as it was written.
    ``start`` is the saved model that ``model: {start: RUN}`` means, once the run is looked for.
    ``places`` says for each key that was given where it was written.
    """

    name: str = setting("the job's name: letters, digits, dots, dashes and underscores")
    resources: Resources = setting("how big the job is", Resources, inline=True)
    container: str = setting(
        "a name among the cluster's images, or a path to a .sif file", "tensorflow"
    )
    data: Optional[DataSpec] = setting("the data set", None)
    model: Optional[Union[ModelSpec, FromRun]] = setting("the model", None)
    train: Optional[TrainSpec] = setting("how the model is trained", None)
    test: Optional[TestSpec] = setting(
        "what is asked of the trained model besides its scores", None
    )
    export: list[str] = setting(
        f"what the trained model is exported as, of {', '.join(FILES)}; one word for one kind",
        [],
        single=True,
    )
    script: Optional[str] = setting(
        "instead of data, model and train: a .py file or notebook to run unchanged", None
    )
    hpcdl: list[str] = setting(
        "instead of a model or script: an hpcdl command to run on the node, as report RUN", []
    )
    args: list[str] = setting("the script's arguments", [])
    env: dict[str, str] = setting(
        "environment variables of the script or training, such as NCCL_DEBUG", {}
    )
    stop_signal: Optional[str] = setting(
        "signal that the script gets, besides the stop file, to save and stop",
        None,
        choices=("USR1", "USR2"),
    )
    workdir: Optional[str] = setting(
        "the script's working directory; by default a new folder in the run", None
    )
    files: list[str] = setting(
        "other files or folders that the script or function needs, frozen with it", []
    )
    packages: Optional[str] = setting(
        "a requirements file: what hpcdl env build installs in addition to the image for this job",
        None,
    )
    pythonpath: list[str] = setting(
        "folders to import from, besides the image, not frozen; bound read-only", []
    )
    slurm: dict[str, str] = setting(
        "further sbatch options, such as {constraint: h100}; a flag is {exclusive: true}", {}
    )
    cluster: dict[str, Any] = setting(
        "keys of the cluster profile that this job wants otherwise, as {qos: long}", {}
    )
    notify: Optional[NotifySection] = setting(
        "who hears that the run has ended; by default whom the profile names", None
    )
    sweep: Optional[SweepSection] = setting("many trials of this job: hpcdl sweep", None)
    after: list[str] = setting(
        "runs that must be done before: path, id or name; RUN:any if one may end in any way", []
    )
    requirements: list[str] = field(default_factory=list, metadata={"internal": True})
    start: Optional[StartSpec] = field(default=None, metadata={"internal": True})
    workdir_text: str = field(default="", metadata={"internal": True})
    source: str = field(default="", metadata={"internal": True})
    folder: str = field(default="", metadata={"internal": True})
    places: dict[str, str] = field(
        default_factory=dict, compare=False, repr=False, metadata={"internal": True}
    )

    @property
    def functions(self) -> dict[str, str]:
        """The user's own functions, ``package.module:function``, by their keys in the job file."""
        functions = {}
        if self.data and self.data.function:
            functions["data.function"] = self.data.function
        if isinstance(self.model, FunctionSpec):
            functions["model.function"] = self.model.function
        return functions


def parse_time(text: str) -> int:
    """Seconds of "HH:MM:SS" or "D-HH:MM:SS"; hours without days may have three digits.

    SLURM also reads "12:30" (as minutes and seconds), "90" (as minutes) and "2-00" (as days and
    hours); people misread these, so they are refused with the form to write.

    Raises:
        ValueError: another form, or no time at all.
    """
    match = _TIME.fullmatch(text)
    if not match or int(match[3]) > 59 or int(match[4]) > 59:
        expected = 'expected a time as "HH:MM:SS" or "D-HH:MM:SS"'
        raise ValueError(f"{expected}; got {text!r}{_form_to_write(text)}")
    total_s = _seconds(*match.groups())
    if total_s == 0:
        raise ValueError("expected more than no time at all")
    return total_s


def _seconds(*parts: str | None) -> int:
    """Seconds of days, hours, minutes and seconds as text; None counts as 0."""
    days, hours, minutes, seconds = (int(part or 0) for part in parts)
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _form_to_write(text: str) -> str:
    """``: write "2-00:00:00"`` for a time in another form, with both meanings if it has two."""
    if len(text) > 20:
        return ""
    if text.strip().lower() in WITHOUT_END:
        return ": a job has an end here; hpcdl cluster show tells the longest that the site allows"
    forms = [f'"{format_time(seconds)}"' for seconds in _meanings_s(text.strip()) if seconds]
    return f": write {' or '.join(forms)}" if forms else ""


def _meanings_s(text: str) -> list[int]:
    """The seconds that a time in another form may mean."""
    if _WITH_UNIT.match(text) and not _WITH_UNIT.sub("", text):
        units_s = {"d": 86400, "h": 3600, "m": 60}
        total_s = 0.0
        for count, unit in _WITH_UNIT.findall(text):
            total_s += float(count) * units_s[unit[0].lower()]
        return [round(total_s)]
    match = _OTHER_TIME.fullmatch(text)
    if match is None:
        return []
    days, first, second, third = match.groups()
    if days or third:
        return [_seconds(days, first, second, third)]
    if second:
        return [_seconds(None, None, first, second), _seconds(None, first, second, None)]
    return [_seconds(None, None, first, None), _seconds(None, first, None, None)]


def format_time(seconds: int) -> str:
    """Seconds as SLURM writes them: "HH:MM:SS", or "D-HH:MM:SS" from a day on."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text
