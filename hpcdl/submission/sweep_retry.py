"""Sends a sweep's trials again that failed, or whose task has ended with them in hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import SchedulerError, UserError
from hpcdl.files import append_json_line
from hpcdl.run import Run, records, remedies, states
from hpcdl.run.remedies import Asked, Decision
from hpcdl.run.result import Result
from hpcdl.submission.living import Tasks, tasks_of
from hpcdl.submission.new_tasks import NewTasks
from hpcdl.submission.sweep import tasks_for
from hpcdl.submission.sweep_tasks import is_requeued
from hpcdl.sweeps.claims import offer
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.followers import Moved
from hpcdl.sweeps.missing import whole_state
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.spent import budget_of
from hpcdl.sweeps.state import SweepState
from hpcdl.sweeps.submitted import SweepSubmitted
from hpcdl.text import hpcdl_command, with_run

_WITH_CHANGES = (remedies.MORE_MEMORY, remedies.ANOTHER_NODE)


@dataclass(frozen=True)
class TrialRetry:
    """What is done about one trial.

    Args:
        number: the trial's.
        decision: whether it is sent again.
        avoid: the nodes that it must not run on.
    """

    number: int
    decision: Decision
    avoid: Sequence[str] = ()


@dataclass(frozen=True)
class SweepRetry:
    """What is done about a sweep, decided and not done yet.

    Args:
        paths: the sweep's.
        trials: those that are not done, pruned or running, by number.
        never_begun: how many trials of the budget nobody has claimed, and no task is left for.
        offered: how many are offered already, and no task is left for.
        options: sbatch's options for the new tasks.
        words: on these, for the user.
    """

    paths: SweepPaths
    trials: Sequence[TrialRetry]
    never_begun: int = 0
    offered: int = 0
    options: Sequence[str] = field(default_factory=list)
    words: str = ""

    @property
    def sent(self) -> list[TrialRetry]:
        """The trials that are sent again."""
        return [trial for trial in self.trials if trial.decision.sends]

    @property
    def count(self) -> int:
        """How many trials the new tasks are for."""
        return len(self.sent) + self.never_begun + self.offered


def decide_sweep_retry(
    paths: SweepPaths, asked: Asked, numbers: Sequence[int] = (), memory_gb: float | None = None
) -> SweepRetry:
    """Decide what is done about a sweep. Nothing is sent or written.

    Args:
        paths: the sweep's.
        asked: which trials the user wants to be sent again.
        numbers: only these trials; empty for all.
        memory_gb: the memory that the user names, in GB of 1024^3 bytes.

    Raises:
        UserError: it is somebody else's, or was stopped; there is no such trial; the memory cannot
            be had.
        SchedulerError: SLURM does not answer.
    """
    Run(paths.root).require_owner("retry")
    _require_going(paths, asked)
    settings = SweepSettings.read(paths)
    tasks = tasks_of(paths)  # first: what a task wrote before it ended is then seen
    state = whole_state(paths)
    claimed = paths.claimed_numbers()
    for number in numbers:
        if number not in claimed:
            have = f"{len(claimed)} have begun, from 0 on"
            raise UserError(f"--trial {number}: this trial has not begun; {have}")
    trials = []
    for number in numbers or claimed:
        trial = _decide_trial(paths, state, tasks, number, asked)
        if trial is not None:
            trials.append(trial)
    retry = SweepRetry(paths, trials)
    if not tasks.living:
        is_whole = not numbers and not asked.failed and asked.cause in (None, states.CANCELLED)
        left = 0
        if is_whole:
            budget = budget_of(settings, SweepSubmitted.read(paths))
            left = max(0, budget - len(claimed))
        retry = SweepRetry(paths, trials, left, len(paths.offered_numbers()))
    return _with_options(retry, asked, memory_gb)


def _require_going(paths: SweepPaths, asked: Asked) -> None:
    """Make sure that new tasks would find something to do.

    Raises:
        UserError: the sweep was cancelled or stopped.
    """
    if paths.cancelled.exists() and asked.cause != states.CANCELLED:
        raise UserError(
            f"{paths.root} was cancelled; if it is to go on after all: "
            f"{hpcdl_command('retry', paths.root, '--cause', 'cancelled')}"
        )
    if paths.stop.exists() and not asked.force:
        why = paths.stop.read_text(encoding="utf-8", errors="replace").strip()
        raise UserError(
            f"{paths.root} was stopped{f' ({why})' if why else ''}, so that no trial begins: "
            f"{hpcdl_command('retry', paths.root, '--force')} lets it go on, with what is left"
        )


def _decide_trial(
    paths: SweepPaths, state: SweepState, tasks: Tasks, number: int, asked: Asked
) -> TrialRetry | None:
    """What is done about a trial; None if it is done, pruned, running or offered already."""
    if number in paths.offered_numbers():
        return None
    run = Run(paths.trial(number))
    cause: str | None
    if state.has_ended(number):
        ended = state.trials[number].state
        if ended != states.FAILED:
            return None
        result = Result.read(run.paths)
        cause = None if result is None else result.cause
        word = states.CANCELLED if cause == states.CANCELLED else states.FAILED
    else:
        owners = [key for taken, key in paths.taken_offers() if taken == number]
        owners.append(paths.owner(number) or "")
        if not all(tasks.has_ended(key) for key in owners):
            return None
        word, cause = _why_orphaned(paths, run)
    events = records.read_attempts(run.paths)
    decision = remedies.decide(word, cause, remedies.sent_before(events), asked)
    if decision.sends and tasks.living and decision.action in _WITH_CHANGES and not asked.force:
        wait = f"wait: {len(tasks.living)} tasks still run, and would take it as they are"
        decision = Decision(False, wait, decision.cause)
    avoid = {node for event in events for node in event.avoid}
    ends = [event for event in events if event.node]
    if decision.action == remedies.ANOTHER_NODE and ends:
        avoid.add(str(ends[-1].node))
    return TrialRetry(number, decision, sorted(avoid))


def _why_orphaned(paths: SweepPaths, run: Run) -> tuple[str, str | None]:
    """The state and the cause of a trial whose task has ended with it in hand."""
    if paths.cancelled.exists() or run.paths.cancelled.exists():
        return states.CANCELLED, states.CANCELLED
    status = run.status()
    if status.state == states.FAILED:  # SLURM says why the task ended
        return states.FAILED, status.cause
    return states.LOST, None


def _with_options(retry: SweepRetry, asked: Asked, memory_gb: float | None) -> SweepRetry:
    """The same with sbatch's options for the new tasks: of the last array, and what causes ask."""
    paths = retry.paths
    if not retry.count or not paths.run.script.exists():
        return retry
    from hpcdl.scheduler.ask_site import read_site
    from hpcdl.scheduler.clusters import on_cluster
    from hpcdl.scheduler.excluded_nodes import with_own_excluded
    from hpcdl.submission.memory import more_memory

    plan = records.plan(paths.run)
    submitted = SweepSubmitted.read(paths)
    arrays = submitted.arrays if submitted is not None else []
    options = list(arrays[-1].options) if arrays else []
    words = ""
    actions = {trial.decision.action for trial in retry.sent}
    if memory_gb is not None or remedies.MORE_MEMORY in actions:
        try:
            with on_cluster(Run(paths.root).slurm_cluster()):
                more = more_memory(plan, options, read_site(), memory_gb)
        except UserError as error:
            if not asked.force or memory_gb is not None:
                message = with_run(str(error), paths.root)
                raise UserError(f"{paths.root}: {message}") from error
        else:
            options = _replaced(options, more.option)
            words = more.words
    avoid = sorted({node for trial in retry.sent for node in trial.avoid})
    if avoid:
        options = _replaced(options, f"--exclude={with_own_excluded(plan, avoid)}")
    return SweepRetry(
        paths, retry.trials, retry.never_begun, retry.offered, options=options, words=words
    )


def _replaced(options: Sequence[str], option: str) -> list[str]:
    """Options with one of them put in, or changed."""
    key = option.partition("=")[0]
    kept = [other for other in options if other.partition("=")[0] != key]
    return [*kept, option]


def tasks_of_retry(retry: SweepRetry, cluster: Cluster | None = None) -> NewTasks:
    """The tasks that are sent for the trials.

    Args:
        retry: what was decided; of one trial at least.
        cluster: the profile; None to go by SLURM's limits alone.
    """
    paths = retry.paths
    settings = SweepSettings.read(paths)
    tasks, at_once = tasks_for(settings, retry.count, is_requeued(paths))
    return NewTasks(paths, retry.count, tasks, at_once, retry.options, cluster)


def send_sweep_retry(retry: SweepRetry, cluster: Cluster | None = None) -> list[Moved]:
    """Offer the trials again, and send tasks for them.

    Args:
        retry: what was decided; of one trial at least.
        cluster: the profile; None to go by SLURM's limits alone.

    Returns:
        the runs that come after the sweep: they wait for its new tasks.

    Raises:
        UserError: the profile's budget of GPU-hours does not allow them; nothing was done.
        SchedulerError: SLURM refused the tasks; the trials stay offered.
        OSError: the sweep's folder cannot be written.
    """
    new_tasks = tasks_of_retry(retry, cluster)
    with new_tasks.within_budget():
        _offer(retry)
        try:
            return new_tasks.send()
        except SchedulerError as error:
            raise SchedulerError(
                f"{error}\nThe trials are offered; tasks for them are sent with: "
                f"{hpcdl_command('retry', retry.paths.root)}"
            ) from error


def _offer(retry: SweepRetry) -> None:
    """Offer the trials to the next free task, and let the sweep go on."""
    paths = retry.paths
    for marker in (paths.cancelled, paths.stop):
        marker.unlink(missing_ok=True)
    for trial in retry.sent:
        run = paths.trial_run(trial.number)
        if run.root.exists():
            why = {"cause": trial.decision.cause, "avoid": list(trial.avoid)}
            resumed = {"event": states.RESUMED, "time": time.time(), **why}
            append_json_line(run.attempts, resumed)
            run.cancelled.unlink(missing_ok=True)
            run.stop.unlink(missing_ok=True)
        offer(paths, trial.number)
