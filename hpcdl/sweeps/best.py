"""The winner of a sweep as a job file, with comments that say where its values come from."""

from __future__ import annotations

import time
from collections import Counter

from hpcdl.errors import RunError
from hpcdl.job import load_job
from hpcdl.job.text import job_text
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.keeping import best_numbers
from hpcdl.sweeps.missing import whole_state
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState, TrialState
from hpcdl.sweeps.trial_job import TrialJobs
from hpcdl.text import hpcdl_command, one_line


def best_job_text(paths: SweepPaths) -> str:
    """A job file: the sweep's job with the values of its best trial, and comments in front.

    Raises:
        RunError: no trial is done yet with a value of the metric; the folder is damaged.
        JobError: a file that the job names is no longer there.
        OSError: the folder cannot be read.
    """
    settings = SweepSettings.read(paths)
    state = whole_state(paths)
    best = best_numbers(state, settings, 1)
    if not best:
        raise RunError(
            f"{paths.root}: no trial is done with a value of {settings.metric} yet"
            f" ({counts_text(state)}); see: {hpcdl_command('status', paths.root)}"
        )
    trial = state.trials[best[0]]
    job = TrialJobs(load_job(paths.run.job)).job_of(trial.params)
    lines = _origin(paths, settings, state, trial)
    if job.functions:
        lines.append("Keep it next to the Python files of its functions.")
    comments = "".join(f"# {one_line(line)}\n" for line in lines)
    return comments + job_text(job)


def _origin(
    paths: SweepPaths, settings: SweepSettings, state: SweepState, trial: TrialState
) -> list[str]:
    """Where the values come from."""
    epoch = f" in epoch {trial.epoch}" if trial.epoch is not None else ""
    when = ""
    if trial.ended_at is not None:
        when = f", {time.strftime('%Y-%m-%d %H:%M', time.localtime(trial.ended_at))}"
    values = ", ".join(f"{key}: {value!r}" for key, value in sorted(trial.params.items()))
    return [
        f"The best of {len(state.trials)} trials ({counts_text(state)}) of the sweep {paths.root}",
        f"Trial {trial.number}: {settings.metric} {trial.value:.6g}{epoch} ({settings.direction},"
        f" {settings.method}){when}",
        f"Its values: {values}",
    ]


def counts_text(state: SweepState) -> str:
    """How many trials are in which state: ``18 done, 2 failed``."""
    counts = Counter(trial.state for trial in state.trials.values())
    if not counts:
        return "no trial has begun"
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
