"""What SLURM's accounting knows of jobs: each attempt that sacct lists, as values.

Source of the fields: https://slurm.schedmd.com/sacct.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpcdl.scheduler import command

_MOST_JOBS = 500  # of one question, so that the command line stays short
_CLOCKS_S = 60.0  # how far this machine's clock and SLURM's may be apart
# Which of these a SLURM has, `sacct -e` says
_FIELDS = (
    *("JobIDRaw", "JobID", "State", "Submit", "Eligible", "Start", "End"),
    *("ElapsedRaw", "TimelimitRaw", "AllocCPUS", "NNodes", "NTasks", "TotalCPU"),
    *("ReqMem", "MaxRSS", "AllocTRES", "TRESUsageInMax", "ConsumedEnergyRaw"),
)
_UNITS_KIB = {"": 1 / 1024, "K": 1, "M": 1024, "G": 1024**2, "T": 1024**3, "P": 1024**4}
_SIZE = re.compile(r"([0-9.]+)([KMGTP]?)([nc]?)")
_TIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")

Row = Mapping[str, str]


@dataclass(frozen=True)
class JobRecord:
    """One attempt of a job, as accounting knows it; a requeued job has several.

    Args:
        job_id: the job's id, of a task of an array such as ``123_4``.
        state: in SLURM's own word.
        elapsed_s: how long it ran.
        time_limit_s: how long it might run; None without a limit.
        nodes: how many nodes it had.
        cpus: how many CPUs it had, on all nodes.
        gpus: how many GPUs it had, on all nodes.
        cpu_s: CPU seconds that its processes used; None while it runs.
        asked_memory_kib: what it asked for, on all nodes; None if it asked for nothing.
        used_memory_kib: the largest memory of a task, times the tasks of that step; None if SLURM
            did not measure it.
        gpu_use: the highest use of its GPUs that was measured, in percent; None if none was.
        energy_j: joules; None if SLURM did not measure them.
        eligible: when it might have started (unix time).
        start: when it started; None if it has not.
    """

    job_id: str
    state: str
    elapsed_s: int = 0
    time_limit_s: int | None = None
    nodes: int = 1
    cpus: int = 1
    gpus: int = 0
    cpu_s: float | None = None
    asked_memory_kib: float | None = None
    used_memory_kib: float | None = None
    gpu_use: float | None = None
    energy_j: float | None = None
    eligible: float | None = None
    start: float | None = None


def job_records(job_ids: Sequence[str], since: float = 0.0) -> list[JobRecord]:
    """All attempts of jobs, in SLURM's order, from one sacct for each 500 jobs.

    Args:
        job_ids: the jobs; an array's id stands for all its tasks.
        since: when the oldest of them was submitted (unix time). SLURM may use a number again
            after years: older jobs are left out.

    Raises:
        SchedulerError: there is no sacct here, or it did not answer.
    """
    records = []
    fields = _fields_here()
    # Without --duplicates sacct shows the last attempt only
    options = ["--duplicates", "--noheader", "--parsable2", "--noconvert"]
    options.append(f"--format={','.join(fields)}")
    for first in range(0, len(job_ids), _MOST_JOBS):
        asked = ",".join(job_ids[first : first + _MOST_JOBS])
        text = command.call(["sacct", *options, f"--jobs={asked}"])
        records += records_of(text, fields, since)
    return records


def _fields_here() -> list[str]:
    """The fields that this SLURM has, of those that are of use."""
    offered = {name.lower() for name in command.call(["sacct", "--helpformat"]).split()}
    return [name for name in _FIELDS if name.lower() in offered]


def records_of(text: str, fields: Sequence[str], since: float = 0.0) -> list[JobRecord]:
    """The attempts that sacct printed; each is a line of the job and the lines of its steps.

    Args:
        text: what sacct printed, with ``--parsable2``.
        fields: their names, in order.
        since: attempts that were submitted earlier (unix time) are left out.
    """
    groups: list[list[Row]] = []
    for line in text.splitlines():
        row = dict(zip(fields, line.split("|"), strict=False))
        is_step = "." in row.get("JobIDRaw", "")
        if not is_step:
            groups.append([row])
        elif groups:
            groups[-1].append(row)
    records = []
    for group in groups:
        submitted = _moment(group[0].get("Submit", ""))
        if submitted is None or submitted >= since - _CLOCKS_S:
            records.append(_record(group[0], group[1:]))
    return records


def _record(job: Row, steps: Sequence[Row]) -> JobRecord:
    state = (job.get("State") or "UNKNOWN").split()[0]  # without the rest of "CANCELLED by 1000"
    runs = state in ("RUNNING", "PENDING", "SUSPENDED", "COMPLETING")
    limit_min = _number(job.get("TimelimitRaw", ""))
    allocated = _tres(job.get("AllocTRES", ""))
    nodes = int(_number(job.get("NNodes", "")) or 1)
    cpus = int(_number(job.get("AllocCPUS", "")) or 1)
    return JobRecord(
        job_id=job.get("JobID") or job.get("JobIDRaw", ""),
        state=state,
        elapsed_s=int(_number(job.get("ElapsedRaw", "")) or 0),
        time_limit_s=None if limit_min is None else int(limit_min * 60),
        nodes=nodes,
        cpus=cpus,
        gpus=_gpus(allocated),
        cpu_s=None if runs else _cpu_s(job, steps),
        asked_memory_kib=_asked_memory(job.get("ReqMem", ""), nodes, cpus),
        used_memory_kib=_used_memory(steps),
        gpu_use=_gpu_use(steps),
        energy_j=_energy_j(job, steps),
        eligible=_moment(job.get("Eligible", "")),
        start=_moment(job.get("Start", "")),
    )


def _cpu_s(job: Row, steps: Sequence[Row]) -> float | None:
    """CPU seconds of all steps; of a job without steps its own."""
    seconds = []
    for row in steps or [job]:
        value = cpu_seconds(row.get("TotalCPU", ""))
        if value is not None:
            seconds.append(value)
    return sum(seconds) if seconds else None


def _used_memory(steps: Sequence[Row]) -> float | None:
    """Memory as seff counts it: the step with the largest task, times its tasks, in KiB.

    Source: contribs/seff/seff of SLURM 22.05.
    """
    largest = used = 0.0
    for step in steps:
        size = memory_kib(step.get("MaxRSS", "")) or 0.0
        if size > largest:
            largest = size
            used = size * (_number(step.get("NTasks", "")) or 1)
    return used or None


def _asked_memory(text: str, nodes: int, cpus: int) -> float | None:
    """Memory that a job asked for, in KiB; older SLURMs give it per node (n) or per CPU (c)."""
    size = memory_kib(text)
    if not size:
        return None
    if text.endswith("n"):
        return size * nodes
    if text.endswith("c"):
        return size * cpus
    return size


def _energy_j(job: Row, steps: Sequence[Row]) -> float | None:
    """Joules of the job or, if these are not summed up, of its steps; None without a sensor."""
    total = _number(job.get("ConsumedEnergyRaw", "")) or 0.0
    if not total:
        for step in steps:
            if not step.get("JobIDRaw", "").endswith(".extern"):  # it lasts as long as the others
                total += _number(step.get("ConsumedEnergyRaw", "")) or 0.0
    return total or None


def _gpu_use(steps: Sequence[Row]) -> float | None:
    values = []
    for step in steps:
        value = _tres(step.get("TRESUsageInMax", "")).get("gres/gpuutil")
        if value is not None:
            values.append(_number(value) or 0.0)
    return max(values, default=None)


def _gpus(tres: Mapping[str, str]) -> int:
    """The GPUs of ``gres/gpu=2``, or of their types if those alone are listed."""
    if "gres/gpu" in tres:
        return int(_number(tres["gres/gpu"]) or 0)
    total = 0
    for name, value in tres.items():
        if name.startswith("gres/gpu:"):
            total += int(_number(value) or 0)
    return total


def _tres(text: str) -> dict[str, str]:
    """``cpu=2,gres/gpu=1`` by name."""
    values = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals:
            values[name] = value
    return values


def memory_kib(text: str) -> float | None:
    """``214504K``, ``4Gn`` or ``0`` in KiB; None if it is not such a size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    number = _number(match[1])
    return None if number is None else number * _UNITS_KIB[match[2]]


def cpu_seconds(text: str) -> float | None:
    """``00:06.159``, ``01:02:03`` or ``1-02:03:04`` in seconds; None if it is not such a time."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match[4])


def records_by_job(records: Iterable[JobRecord]) -> dict[str, list[JobRecord]]:
    """Attempts by their job's id, in order; those of all tasks of an array by the array's."""
    by_job: dict[str, list[JobRecord]] = {}
    for record in records:
        by_job.setdefault(record.job_id.partition("_")[0], []).append(record)
    return by_job


def _number(text: str) -> float | None:
    """A number; None for ``UNLIMITED``, ``Partition_Limit`` or nothing."""
    try:
        return float(text)
    except ValueError:
        return None


def _moment(text: str) -> float | None:
    """A time of SLURM's in this machine's zone, as unix time; None for ``Unknown`` or ``None``."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None
