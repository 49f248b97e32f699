"""How large a job a script asks for: times, counts and GPUs, in sbatch's forms."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcdl.batchscript.model import BatchScript

GPU_OPTIONS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "tres-per-task")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_PART = re.compile(r"(?:.*,)?(?:gres[:/])?(?:mps|shard)[:=/][1-9]")  # of a GPU
_GPUS = re.compile(r"(?:gres[:/])?gpu(?:[:=/](?P<rest>.*))?")


@dataclass(frozen=True)
class Size:
    """The counts that a script asks for; None where it does not say, or not as a number."""

    nodes: int | None
    tasks: int | None
    tasks_per_node: int | None
    cpus_per_task: int | None
    gpus: int | None  # of the whole job
    seconds: int | None

    @property
    def all_tasks(self) -> int | None:
        """How many tasks SLURM gives the job."""
        if self.tasks is not None:
            return self.tasks
        return (self.nodes or 1) * (self.tasks_per_node or 1)


@dataclass(frozen=True)
class Gpus:
    """So many GPUs of a type."""

    count: int
    type: str | None


@dataclass(frozen=True)
class Gres:
    """What ``--gres`` asks for: GPUs, None where their number is not known, and others."""

    gpus: list[Gpus | None]
    others: list[str]


def size_of(script: BatchScript) -> Size:
    """The counts of a script's directives."""
    nodes = count(script.value("nodes"))
    tasks, tasks_per_node = count(script.value("ntasks")), count(script.value("ntasks-per-node"))
    size = Size(nodes, tasks, tasks_per_node, count(script.value("cpus-per-task")), None, None)
    per_node = gpus_in(script.value("gpus-per-node"))
    if per_node is None:
        per_node = gpus_in(script.value("gres"), is_list=True)
    per_task = gpus_in(script.value("gpus-per-task"))
    gpus = gpus_in(script.value("gpus"))
    if gpus is None and per_node is not None:
        gpus = per_node * (nodes or 1)
    if gpus is None and per_task is not None:
        gpus = per_task * (size.all_tasks or 1)
    seconds = slurm_seconds(script.value("time") or "")
    return Size(nodes, tasks, tasks_per_node, size.cpus_per_task, gpus, seconds)


def asks_gpus(script: BatchScript) -> bool:
    """Whether a directive asks for GPUs."""
    for name in GPU_OPTIONS:
        value = script.value(name)
        if gpus_in(value, is_list=name in ("gres", "tres-per-task")) or _PART.match(value or ""):
            return True
    return False


def count(text: str | None) -> int | None:
    """A number of nodes or tasks; of a range, as 2-4, the least."""
    match = re.fullmatch(r"(\d{1,9})(?:-\d+)?", text or "")
    return int(match[1]) if match else None


def gpus_of(text: str) -> Gpus | None:
    """``4``, ``a100:4``, or a type alone, which is one of it; None for anything else."""
    kind, _, last = re.sub(r"\(.*", "", text.strip()).replace("=", ":").rpartition(":")
    if last.isdecimal() and len(last) < 7 and re.fullmatch(r"[\w.+-]*", kind):
        return Gpus(int(last), kind or None)
    if not kind and re.fullmatch(r"[A-Za-z][\w.+-]*", last):
        return Gpus(1, last)
    return None


def gres_of(text: str) -> Gres:
    """The parts of a list of resources: gpu:a100:2,nvme:1."""
    gpus: list[Gpus | None] = []
    others = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = _GPUS.fullmatch(part)
        if match is None:
            others.append(part.removeprefix("gres:"))
        else:
            gpus.append(gpus_of(match["rest"] or "1"))
    return Gres(gpus, others)


def gpus_in(text: str | None, is_list: bool = False) -> int | None:
    """How many GPUs a value asks for: 2, a100:2, and in a list of resources gpu:a100:2,nvme:1.

    None where it asks for none, or not by a number.
    """
    if text is None:
        return None
    parts = gres_of(text).gpus if is_list else map(gpus_of, text.split(","))
    total: int | None = None
    for gpus in filter(None, parts):
        total = (total or 0) + gpus.count
    return total


def slurm_seconds(text: str) -> int | None:
    """The seconds of a time limit in any of sbatch's forms.

    Source: https://slurm.schedmd.com/sbatch.html#OPT_time
    """
    match = _TIME.fullmatch(text)
    if match is None or len(text) > 20:
        return None
    days, *numbers = match.groups()
    parts = [int(number) for number in numbers if number is not None]
    if days is not None:  # days-hours, with minutes and seconds or without
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    minutes, seconds = [*parts, 0][:2]
    return minutes * 60 + seconds


def memory_mb(text: str | None) -> float | None:
    """The megabytes of --mem: 4000, 4G, 1T."""
    match = re.fullmatch(r"(\d{1,12})([KMGT]?)B?", (text or "").upper())
    if match is None:
        return None
    return int(match[1]) * {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}[match[2]]
