"""How a sweep reads in a terminal: its size, where it went, a trial that has ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hpcdl.formats import duration, several
from hpcdl.job import format_time
from hpcdl.run.usage import Request
from hpcdl.text import one_line

if TYPE_CHECKING:
    from hpcdl.run.estimate import Estimate
    from hpcdl.submission.sweep import SweepSubmission
    from hpcdl.sweeps.folder import SweepPaths
    from hpcdl.sweeps.settings import SweepSettings
    from hpcdl.sweeps.state import TrialState


def size_lines(prepared: SweepSubmission, trial: Estimate | None) -> list[str]:
    """How large the sweep is.

    Args:
        prepared: the sweep.
        trial: what one trial takes; None if nobody knows.
    """
    settings, size = prepared.settings, prepared.submission.plan.size
    best_is = {"maximize": "highest", "minimize": "lowest"}[settings.direction]
    by_metric = f"{settings.method} by {settings.metric}, the {best_is} is best"
    lines = [f"{settings.trials} trials of {settings.name}: {by_metric}"]
    if trial is not None:
        lines.append(f"a trial takes {trial}{_all_trials(prepared, trial)}")
    if prepared.submission.backend == "local":
        return [*lines, f"on this machine, {prepared.at_once} at a time"]
    request = Request(nodes=size.nodes, gpus=size.gpus, time_limit_s=size.time_limit_s)
    lines.append(tasks_line(prepared.tasks, prepared.at_once, request))
    if prepared.submission.plan.policy.requeue and settings.trials_per_task is None:
        lines.append("a task goes on after its time limit, until no trial is left")
    if settings.gpu_hours is not None:
        lines.append(f"no trial begins after {settings.gpu_hours:g} GPU-hours")
    return lines


def tasks_line(tasks: int, at_once: int, request: Request) -> str:
    """How many tasks are sent, and what they cost if they take all their time.

    Args:
        tasks: how many.
        at_once: how many of them run at the same time.
        request: what each of them asks for.
    """
    limit = format_time(request.time_limit_s)
    line = f"{several(tasks, 'task')}, {at_once} at once, up to {limit} each"
    if request.gpus == 0:
        return f"{line}, without GPUs"
    return f"{line}: up to {tasks * request.reserved_gpu_hours:.2f} GPU-hours in one go"


def _all_trials(prepared: SweepSubmission, trial: Estimate) -> str:
    """What all trials take, if each of them trains to its end."""
    if not trial.gpu_hours:
        return ""
    settings = prepared.settings
    gpu_hours = settings.trials * trial.gpu_hours / settings.trials_per_gpu
    return f"; all of them at most {gpu_hours:.2g} GPU-hours"


def sent_line(paths: SweepPaths, cluster: str) -> str:
    """Where the tasks were sent."""
    from hpcdl.sweeps.submitted import SweepSubmitted

    submitted = SweepSubmitted.read(paths)
    if submitted is None or not submitted.job_ids:
        return "started on this machine"
    return f"submitted as job array {', '.join(submitted.job_ids)} on {cluster}"


def trial_line(trial: TrialState, settings: SweepSettings) -> str:
    """A trial that has ended, in one line."""
    parts = [f"trial {trial.number}", trial.state]
    if trial.value is not None:
        parts.append(f"{settings.metric} {trial.value:.4f}")
    for key in sorted(trial.params):
        value = trial.params[key]
        parts.append(f"{key.rpartition('.')[2]} {_value_text(value)}")
    parts.append(duration(trial.seconds))
    return "  ".join(parts)


def _value_text(value: Any) -> str:
    """A parameter's value as a job file has it, numbers with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and value.strip() == value != "":
        return one_line(value)
    return json.dumps(value, ensure_ascii=False)
