"""What the short run of a size measured, read from its folder."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcdl.errors import RunError
from hpcdl.run import Run, records, states
from hpcdl.run.device_samples import Devices, Sample
from hpcdl.run.device_summary import DeviceSummary, summary_of_nodes
from hpcdl.run.node_samples import all_samples
from hpcdl.run.paths import RunPaths
from hpcdl.scaling.folder import ScalePaths, ScaleRecord, ScaleRun
from hpcdl.scaling.sentences import Setting
from hpcdl.scaling.sizes import Measured, Whole
from hpcdl.scaling.verdict import Verdict, judge
from hpcdl.text import hpcdl_command

_FEWEST_EPOCHS = 2  # the first one also traces the graph and fills caches
_SAVE_EVERY_S = 300.0
_UNSENT = "its run was not sent; hpcdl scale JOB measures all sizes anew"
# The parts of the start in result.json's timing, and how they are called
_PARTS = {
    "import_s": "TensorFlow",
    "data_s": "data",
    "build_s": "model",
    "features_s": "features",
    "teacher_s": "teacher's answers",
}


@dataclass(frozen=True)
class ScaleReport:
    """A scaling report: what is compared, and what it says."""

    paths: ScalePaths
    record: ScaleRecord
    whole: Whole | None
    is_emulated: bool
    verdict: Verdict


def read_report(paths: ScalePaths) -> ScaleReport:
    """Read what the runs have measured so far, and judge it.

    Raises:
        RunError: scale.json is missing or damaged.
    """
    record = ScaleRecord.read(paths)
    whole, is_emulated = read_whole(record), are_emulated(record)
    setting = Setting(
        per_gpu=record.per_gpu,
        is_emulated=is_emulated,
        reads_again=_read_again(record),
        sets=record.sets,
        steps=record.steps,
        names_nodes=record.names_nodes,
    )
    verdict = judge(read_measured(record), whole, setting)
    return ScaleReport(paths, record, whole, is_emulated, verdict)


def read_measured(record: ScaleRecord) -> list[Measured]:
    """What the run of each size measured, in the record's order."""
    return [_measured(run) for run in record.runs]


def read_whole(record: ScaleRecord) -> Whole | None:
    """The whole job, by the first run that tells its rows; None if it is not known."""
    if not record.passes:
        return None
    for run in record.runs:
        if not run.folder:
            continue
        paths = RunPaths(Path(run.folder))
        rows = _result_of(paths).get("data", {}).get("rows_train")
        if rows:
            saving = records.spec(paths).get("saving")
            every_s = saving.get("every_s") if isinstance(saving, dict) else None
            if not isinstance(every_s, int | float) or every_s <= 0:
                every_s = _SAVE_EVERY_S
            return Whole(rows, record.passes, float(every_s))
    return None


def are_emulated(record: ScaleRecord) -> bool:
    """Whether CPU devices stood in for the GPUs of a run."""
    for run in record.runs:
        if run.folder and records.plan(RunPaths(Path(run.folder))).get("emulate_gpus"):
            return True
    return False


def _read_again(record: ScaleRecord) -> bool:
    """Whether the runs read their images again in each epoch."""
    for run in record.runs:
        if run.folder:
            data = records.spec(RunPaths(Path(run.folder))).get("data", {})
            return bool(data.get("cache") == "none")
    return False


def _result_of(paths: RunPaths) -> dict[str, Any]:
    try:
        return Run(paths.root).result() or {}
    except RunError:
        return {}


def _measured(run: ScaleRun) -> Measured:
    if not run.folder:
        return Measured(run.gpus, run.nodes, problem=_UNSENT)
    try:
        status = Run(run.folder).status()
    except RunError:
        return Measured(run.gpus, run.nodes, problem=f"its run {run.folder} is gone")
    if status.state != states.DONE:
        problem = f"its run is {status.state}"
        if status.cause and status.cause != status.state:
            problem += f", {status.cause}"
        if status.state not in (states.QUEUED, states.RUNNING, states.CANCELLED):
            problem += f"; this tells why: {hpcdl_command('result', run.folder)}"
        return Measured(run.gpus, run.nodes, problem=problem)
    paths = RunPaths(Path(run.folder))
    epochs = _whole_epochs(paths)
    if len(epochs) < _FEWEST_EPOCHS:
        return Measured(run.gpus, run.nodes, problem="its run has no epoch after the first one")
    return _of_epochs(run, paths, epochs)


def _whole_epochs(paths: RunPaths) -> list[dict[str, Any]]:
    """The first epoch, and those after it in which no attempt began.

    An attempt traces the graph anew in the epoch that it goes on with.
    """
    epochs = [row for row in records.epochs(paths) if _is_usable(row)]
    begins = [event.time for event in records.read_attempts(paths) if event.is_start]
    whole, before = epochs[:1], epochs[:1]
    for epoch in epochs[1:]:
        since = before[-1]["time"]
        if not any(since < begin <= epoch["time"] for begin in begins if begin is not None):
            whole.append(epoch)
        before.append(epoch)
    return whole


def _is_usable(epoch: dict[str, Any]) -> bool:
    """Whether an epoch tells its time and its speed."""
    for key in ("time", "seconds", "images_per_s"):
        value = epoch.get(key)
        if value is None or not math.isfinite(value) or value <= 0:
            return False
    return True


def _of_epochs(run: ScaleRun, paths: RunPaths, epochs: Sequence[dict[str, Any]]) -> Measured:
    first, later = epochs[0], epochs[1:]
    result = _result_of(paths)
    timing = result.get("timing", {})
    saves, blocked_s = timing.get("saves"), timing.get("save_blocked_s")
    save_s = None
    if saves and blocked_s is not None:
        save_s = blocked_s / saves
    start_s, parts = _start(paths, first, later, timing)
    devices, summary = _devices(paths, first["time"], later[-1]["time"])
    batch_rows = records.spec(paths).get("train", {}).get("batch_size")
    return Measured(
        gpus=run.gpus,
        nodes=run.nodes,
        rates=[float(row["images_per_s"]) for row in later],
        batch_rows=batch_rows if isinstance(batch_rows, int) else 0,
        start_s=start_s,
        start_parts=parts,
        save_s=save_s,
        input_rate=timing.get("input_images_per_s") or None,
        all_reduce_s=timing.get("all_reduce_s") or None,
        gpu_use_percent=summary.gpu_use_percent,
        cpus_busy=summary.cpus_busy,
        cpus=devices.cpus or records.plan(paths).get("cpus", 0),
        epoch_s=statistics.median(row["seconds"] for row in later),
        seconds=timing.get("total_s", 0.0),
    )


def _devices(paths: RunPaths, begin: float, end: float) -> tuple[Devices, DeviceSummary]:
    """What a run has of its first node, and what all nodes did between two moments (unix time)."""
    nodes = []
    for node in all_samples(paths):
        samples = _between(node.samples, begin, end)
        if samples:
            nodes.append(replace(node, samples=samples))
    if not nodes:
        return Devices(), DeviceSummary()
    return nodes[0].devices, summary_of_nodes(nodes)


def _start(
    paths: RunPaths,
    first: dict[str, Any],
    later: Sequence[dict[str, Any]],
    timing: dict[str, float],
) -> tuple[float | None, dict[str, float]]:
    """The seconds from the start of the job to full speed, and of their parts.

    The first epoch's time beyond that of a later one is a part of them.
    """
    events = [event for event in records.read_attempts(paths) if event.is_start]
    usual_s = statistics.median(row["seconds"] for row in later)
    slow_s = max(0.0, first["seconds"] - usual_s)
    if not events or events[-1].time is None:
        return None, {}
    until_first_step_s = first["time"] - first["seconds"] - events[-1].time
    if until_first_step_s < 0:  # the last attempt began later than that
        return None, {}
    start_s = until_first_step_s + slow_s
    parts = {}
    for key, name in _PARTS.items():
        if timing.get(key):
            parts[name] = timing[key]
    parts["first steps"] = slow_s
    parts["container and the rest"] = max(0.0, start_s - sum(parts.values()))
    return start_s, parts


def _between(samples: Sequence[Sample], first: float, last: float) -> list[Sample]:
    """The samples that lie wholly between two moments."""
    inside = []
    for sample in samples:
        if sample.time - sample.seconds >= first and sample.time <= last:
            inside.append(sample)
    return inside
