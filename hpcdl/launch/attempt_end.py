"""What the end of an attempt means for its run: another attempt, or the run's result."""

from __future__ import annotations

from contextlib import suppress

from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.launch import own_jobs
from hpcdl.launch.attempt_state import Attempt
from hpcdl.launch.ended import Ended
from hpcdl.launch.notify import notify_end
from hpcdl.launch.result import finish
from hpcdl.launch.retry import keep_trying, say
from hpcdl.launch.task import require_own
from hpcdl.launch.trial_end import end_keys, judged
from hpcdl.run import records, states
from hpcdl.run.causes import Outcome
from hpcdl.run.next_step import next_step
from hpcdl.sweeps.objective import objective_of


def conclude(this: Attempt, ended: Ended) -> int:
    """Decide whether there is another attempt; write the result of a run that is over.

    Returns:
        the status to end with.

    Raises:
        RunError: another worker has begun to run the sweep's trial.
    """
    paths, plan = this.paths, this.plan
    if this.task is not None:
        require_own(paths)
    if paths.is_cancelled():
        notify_end(paths, plan, states.CANCELLED, "cancelled", None)
        return 0
    # Somebody may have resumed the run meanwhile, or another job of it may have started
    this.events = records.read_attempts(paths) or this.events
    jobs_left = None
    if this.task is not None:
        jobs_left = 1  # if its task may not go on with it, another task does
    elif this.job_id is not None and not plan.policy.requeue:
        jobs_left = own_jobs.jobs_left(paths, this.job_id)
    outcome = next_step(ended.outcome, this.ends, plan.policy.max_requeues, jobs_left)
    if outcome.state == states.UNFIT and this.leaves_node():
        return this.status_of_left_job()
    words = f"attempt {this.number} ended: {outcome.state}, exit status {ended.status}"
    if outcome.state in states.AGAIN:
        say(f"{words}; it will run again")
        return EXIT_STOPPED
    say(words)
    if outcome.state in (states.DONE, states.PRUNED, states.FAILED, states.CANCELLED):
        outcome = _write_result(this, outcome)
    return _status_of_end(outcome, ended.status)


def _status_of_end(outcome: Outcome, status: int) -> int:
    """The status to end with when a run is over; never 75, with which it would run again."""
    if outcome.state == states.PRUNED:
        return 0  # the program saved and stopped, as it was asked to
    is_failure = outcome.state in (states.FAILED, states.CANCELLED)
    if is_failure and (status <= 0 or status == EXIT_STOPPED):
        return 1
    return status


def _write_result(this: Attempt, outcome: Outcome) -> Outcome:
    """Write the result of a run that is over; how it ended."""
    paths, plan, task = this.paths, this.plan, this.task
    if task is None:
        keep_trying("result.json", lambda: finish(paths, plan, outcome, this.events), paths)
        own_jobs.cancel_rest(paths)
        notify_end(paths, plan, outcome.state, outcome.cause, outcome.message)
        return outcome
    objective = objective_of(task.settings, paths)
    of_trial = judged(outcome, objective, task.settings)
    lacks_metric = of_trial is not outcome
    keys = end_keys(objective, of_trial, this.events, paths, lacks_metric)
    keep_trying("result.json", lambda: finish(paths, plan, of_trial, this.events, keys), paths)
    with suppress(OSError):  # a sweep has many trials, and file systems count files
        paths.devices.unlink()
    return of_trial
