"""One worker of a sweep: takes trials one after the other until nothing is left, or its time is."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.errors import RunError
from hpcdl.files import write_text
from hpcdl.launch.attempt import attempt
from hpcdl.launch.command import read_plan
from hpcdl.launch.pruner import Pruner
from hpcdl.launch.retry import keep_trying, say
from hpcdl.launch.served import served_trials
from hpcdl.launch.sweep_end import notify_if_over
from hpcdl.launch.task import OtherWorker, TaskContext, TaskStop
from hpcdl.launch.trial_end import lacking_metric, write_failed
from hpcdl.launch.trial_start import TrialStart
from hpcdl.planning import Training
from hpcdl.run import records, states
from hpcdl.run.paths import TrialPaths
from hpcdl.run.result import Result
from hpcdl.scheduler import slurm
from hpcdl.sweeps import keeping
from hpcdl.sweeps.claims import Claims, Proposal, offer
from hpcdl.sweeps.events import Stopped, append_event
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.knowledge import knew_of, known_trials
from hpcdl.sweeps.missing import TrialFile, missing_events
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.spent import budget_of, used_gpu_hours
from hpcdl.sweeps.state import SweepState
from hpcdl.sweeps.submitted import SweepSubmitted
from hpcdl.sweeps.suggest import sampler_of, suggest

_START_S = 60.0  # a trial that cannot run for this long is not begun
_WITHOUT_METRIC = 3  # trials in a row, after which the sweep stops


class Worker:
    """Runs a sweep's trials in one task, or in one slot of a task.

    Args:
        paths: the sweep's.
        settings: the sweep's.
        task: the task's key; SLURM's id of it, if it has one.
        key: the worker's own: that of the task, and the slot's number.
    """

    def __init__(self, paths: SweepPaths, settings: SweepSettings, task: str, key: str) -> None:
        self._paths = paths
        self._settings = settings
        self._task = task
        self._key = key
        self._job_id = None if task.startswith("local") else task
        self._plan = keep_trying("plan.json", lambda: read_plan(paths.run), paths.run)
        self._claims = Claims(paths, key, settings.trials, self._propose)
        self._end_time = self._time_of_end()
        in_slurm = self._job_id is not None
        self._served = served_trials(self._plan, paths.root, in_slurm, settings.fork_server)
        self._start = TrialStart(paths, settings, self._plan)
        self._terminated = False
        self._ended = 0  # trials that this task has brought to their end

    def run(self) -> int:
        """Run trials until nothing is left for this worker.

        Returns:
            the exit status: 0 if nothing is left, 75 if the task is to be requeued.

        Raises:
            OutOfPatienceError: the sweep's folder cannot be read or written.
            RunRemovedError: it was removed.
        """
        try:
            return self._run_trials()
        finally:
            if self._served is not None:
                self._served.close()

    def _run_trials(self) -> int:
        while True:
            signal.signal(signal.SIGTERM, self._note_sigterm)  # an attempt has its own handler
            if self._is_stopped():
                return self._status_of_stop()
            trial = self._next_trial()
            if trial is None:
                say("nothing is left to do for this task")
                notify_if_over(self._paths, self._plan)
                return 0
            status = self._run_trial(trial)
            if status is not None:
                return status

    def _is_stopped(self) -> bool:
        """Whether no other trial can begin in this task."""
        if self._terminated or self._paths.task_stop(self._task).exists():
            return True
        needed_s = _START_S + self._plan.policy.stop_margin_s
        is_late = time.time() + needed_s > self._end_time
        return self._has_had_its_trials() or (self._ended > 0 and is_late)

    def _has_had_its_trials(self) -> bool:
        """Whether the task has run as many trials as one task is to run."""
        per_task = self._settings.trials_per_task
        return per_task is not None and self._ended >= per_task

    def _status_of_stop(self) -> int:
        """The exit status of a task that ends while there may be more to do."""
        if self._terminated:
            return 128 + signal.SIGTERM
        in_hand = keep_trying("the claims", self._claims.trials_in_hand, self._paths.run)
        if self._plan.policy.requeue and (in_hand or self._leaves_trials()):
            return EXIT_STOPPED
        for number in in_hand:
            self._offer(number)
        notify_if_over(self._paths, self._plan)
        return 0

    def _leaves_trials(self) -> bool:
        """Whether there are trials for this task to run when it is requeued."""
        if self._has_had_its_trials():
            return False
        return keep_trying("the claims", self._is_anything_left, self._paths.run)

    def _is_anything_left(self) -> bool:
        """Whether the budget leaves a trial, or one is offered again."""
        claimed = len(self._paths.claimed_numbers())
        return claimed < self._budget() or bool(self._paths.offered_numbers())

    def _offer(self, number: int) -> None:
        keep_trying("the offer", lambda: offer(self._paths, number), self._paths.run)

    def _next_trial(self) -> TrialFile | None:
        self._claims.budget = self._budget()
        trial = keep_trying("the claim of a trial", self._claims.claim, self._paths.run)
        if trial is not None:
            keep_trying("the trial's files", lambda: self._start.prepare(trial), self._paths.run)
        return trial

    def _budget(self) -> int:
        """How many trials there may be."""
        submitted = keep_trying("submitted.json", self._read_submitted, self._paths.run)
        if self._is_gpu_time_used():
            say(f"the sweep's {self._settings.gpu_hours:g} GPU-hours are used")
            return 0
        return budget_of(self._settings, submitted)

    def _read_submitted(self) -> SweepSubmitted | None:
        with suppress(FileNotFoundError):
            self._paths.submitted.read_bytes()  # a file that cannot be read is not a damaged one
        return SweepSubmitted.read(self._paths)

    def _is_gpu_time_used(self) -> bool:
        if self._settings.gpu_hours is None:
            return False
        used = used_gpu_hours(self._settings, self._claims.state, time.time())
        return used >= self._settings.gpu_hours

    def _propose(self, number: int, state: SweepState) -> Proposal:
        """The parameters of a new trial."""
        settings = self._settings
        known = []
        if settings.method == "bayes":
            for event in missing_events(self._paths, state):
                state.add(event)
            known = known_trials(state, settings.direction)
        params = suggest(settings.space, settings.method, settings.seed, number, known)
        return Proposal(params, knew_of(known), sampler_of(settings.method))

    def _run_trial(self, trial: TrialFile) -> int | None:
        """Run one attempt of a trial.

        Returns:
            the status with which the task ends; None if it goes on.
        """
        paths = self._paths.trial_run(trial.number)
        if Result.read(paths) is None or not self._has_failed_early(paths):
            keep_trying("the stop file", lambda: paths.stop.unlink(missing_ok=True), paths)
            pruner = Pruner(self._settings, self._claims, trial.number, paths, self._plan)
            status = attempt(paths, self._job_id, self._context(paths, pruner))
            if paths.cancelled.exists():
                self._note_cancelled(paths)
            elif status == EXIT_STOPPED:
                return self._after_stop(trial, paths)
            elif Result.read(paths) is None:
                return status  # SLURM has ended the task, and knows why
            keep_trying("the trial's rungs", pruner.note_rungs, paths)
        keep_trying("the end of a trial", lambda: self._finish(trial, paths), paths)
        self._ended += 1
        keep_trying("old files", lambda: self._keep_best(trial), paths)
        self._stop_without_metric()
        return None

    def _finish(self, trial: TrialFile, paths: TrialPaths) -> None:
        """Note the trial's end; a result that nobody can use is a failure, and the task goes on."""
        try:
            self._claims.finish(trial)
        except RunError as error:
            say(f"trial {trial.number}: {error}")
            write_failed(paths, self._settings, "internal", str(error))
            self._claims.finish(trial)

    def _has_failed_early(self, paths: TrialPaths) -> bool:
        """Whether the trial's values could not be used, and nothing was started."""
        return not paths.spec.exists() and isinstance(self._plan.program, Training)

    def _context(self, paths: TrialPaths, pruner: Pruner) -> TaskContext:
        task_stop = TaskStop(self._paths.task_stop(self._task), paths)
        watchers = (OtherWorker(paths), task_stop, pruner)
        return TaskContext(self._settings, self._end_time, watchers, self._served)

    def _after_stop(self, trial: TrialFile, paths: TrialPaths) -> int | None:
        """What follows if a trial has saved its state, or was killed, and is to go on."""
        ends = records.attempt_ends(records.read_attempts(paths))
        reason = ends[-1].reason if ends else None
        if reason == states.UNFIT:
            # Not here again, and the other trials would fare no better
            self._offer(trial.number)
            self._say_stop(f"{os.uname().nodename} is not fit for this sweep's trials")
            return 1
        task_is_stopped = self._paths.task_stop(self._task).exists() or self._terminated
        is_late = time.time() + self._plan.policy.stop_margin_s + _START_S > self._end_time
        if not task_is_stopped and not is_late:
            return None  # it was killed: this task goes on with it
        if self._job_id is not None and self._plan.policy.requeue:
            return EXIT_STOPPED
        if self._job_id is None and not is_late:
            return EXIT_STOPPED
        self._offer(trial.number)
        self._say_stop("its time is up, and its trial is offered to another task")
        return 0

    def _note_cancelled(self, paths: TrialPaths) -> None:
        """Write the result of a trial that the user has cancelled."""
        if Result.read(paths) is None:
            message = "the user cancelled this trial"

            def write() -> None:
                write_failed(paths, self._settings, states.CANCELLED, message)

            keep_trying("result.json", write, paths)

    def _keep_best(self, trial: TrialFile) -> None:
        """Remove what a trial that has ended does not need any more."""
        self._claims.state.refresh(self._paths)
        keeping.remove_state(self._paths.trial_run(trial.number))
        keeping.keep_best(self._paths, self._claims.state, self._settings, trial.number)

    def _stop_without_metric(self) -> None:
        """Stop the sweep if one trial after the other does not report the metric."""
        if self._paths.stop.exists():
            return
        message = lacking_metric(self._paths, self._claims.state, _WITHOUT_METRIC)
        if message is not None:
            reason = f"{_WITHOUT_METRIC} trials in a row: {message}"
            run = self._paths.run
            keep_trying("the marker", lambda: write_text(self._paths.stop, reason + "\n"), run)
            self._say_stop(reason)

    def _say_stop(self, reason: str) -> None:
        say(reason)
        event = Stopped(reason, time.time())
        log = self._paths.task_log(self._key)
        keep_trying("the task's log", lambda: append_event(log, event), self._paths.run)

    def _time_of_end(self) -> float:
        """When the task reaches its time limit (unix time). SLURM knows it better."""
        end_time = time.time() + self._plan.size.time_limit_s
        if self._job_id is None:
            return float("inf")  # each trial on this machine has the whole limit
        return slurm.end_time(self._job_id) or end_time

    def _note_sigterm(self, number: int, frame: object) -> None:
        self._terminated = True
