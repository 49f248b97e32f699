"""What new tasks of a sweep that is on disk may cost, and whether the site lets them be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.cli import options
from hpcdl.cli.sweep_lines import tasks_line
from hpcdl.errors import UserError

if TYPE_CHECKING:
    from hpcdl.run.estimate import Estimate
    from hpcdl.submission.new_tasks import NewTasks


def outlook_lines(new_tasks: NewTasks) -> list[str]:
    """How many tasks these are, and what they may cost; before that, what a trial takes."""
    lines = []
    trial = new_tasks.trial_estimate()
    if trial is not None:
        lines.append(f"a trial takes {trial}{_all_trials(new_tasks, trial)}")
    if not new_tasks.in_slurm:
        return [*lines, f"on this machine, {new_tasks.at_once} at a time"]
    request = new_tasks.request
    lines.append(tasks_line(new_tasks.tasks, new_tasks.at_once, request))
    most = new_tasks.gpu_hours()
    if most < new_tasks.tasks * request.reserved_gpu_hours:
        lines.append(f"the sweep has {most:.2f} GPU-hours left (sweep.gpu_hours)")
    return lines


def _all_trials(new_tasks: NewTasks, trial: Estimate) -> str:
    if not trial.gpu_hours:
        return ""
    return f"; {new_tasks.trials} of them {new_tasks.trials * trial.gpu_hours:.2g} GPU-hours"


def require_allowed(new_tasks: NewTasks) -> None:
    """Make sure that the site and the profile's budget allow the tasks, as for a new sweep.

    What the user should know besides is a line.

    Raises:
        UserError: they do not.
    """
    if not new_tasks.in_slurm:
        return
    from hpcdl.preflight import Note
    from hpcdl.preflight.sweep import task_findings
    from hpcdl.sweeps.settings import SweepSettings

    can_be_fewer = SweepSettings.read(new_tasks.paths).trials_per_task is None
    limits = new_tasks.limits()
    for finding in task_findings(limits, new_tasks.tasks, new_tasks.at_once, can_be_fewer):
        if isinstance(finding, Note):
            options.say(finding.text)
        elif finding.blocks:
            raise UserError(f"{new_tasks.paths.root}: {finding.cause}; {finding.fix}")
        else:
            options.say(f"{finding.cause}; {finding.fix}")
    with new_tasks.within_budget():
        pass
