"""What is known of an attempt while it goes on; it adds its own lines to attempts.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.files import append_json_line
from hpcdl.launch import own_jobs
from hpcdl.launch.retry import keep_trying
from hpcdl.launch.task import TaskContext
from hpcdl.planning import Plan
from hpcdl.run import records
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import AttemptEvent, Heartbeat


@dataclass
class Attempt:
    """One attempt, while it goes on.

    Args:
        paths: the run.
        plan: its plan.
        job_id: SLURM's id of the job that this is; None on a machine without SLURM.
        node: this node's name.
        events: the lines of attempts.jsonl, with those that this attempt has written.
        task: the sweep's task that runs it; None for a run that has its own job.
        nodes: the names of the nodes of the job, by rank, if it may have several.
        fault: why these are not known; empty if they are.
    """

    paths: RunPaths
    plan: Plan
    job_id: str | None
    node: str
    events: list[AttemptEvent]
    task: TaskContext | None = None
    nodes: Sequence[str] = ()
    fault: str = ""

    @property
    def number(self) -> int:
        """The number of the attempt that started last: this one's, once it has started."""
        return records.attempts_started(self.events)

    @property
    def ends(self) -> list[AttemptEvent]:
        """How the attempts ended, since the run was last resumed by hand."""
        return records.attempt_ends(self.events)

    def progress(self) -> tuple[int | None, int]:
        """The newest checkpoint's step, and of how many images the features are saved."""
        return _saved_step(self.paths, self.plan), _saved_images(self.paths)

    def write_event(self, line: dict[str, Any]) -> None:
        """Add a line to attempts.jsonl."""

        def append() -> None:
            append_json_line(self.paths.attempts, line)

        keep_trying("attempts.jsonl", append, self.paths)
        event = records.attempt_event(line, self.number)
        if event is not None:
            self.events.append(event)

    def leaves_node(self) -> bool:
        """Whether the job must end now because its node has failed under this run.

        Then the run goes on elsewhere. False if nothing can be done, and the job stays.
        """
        if self.job_id is None or self.task is not None:
            return False
        avoid = own_jobs.failed_nodes(self.ends)
        return own_jobs.move_away(self.paths, self.plan, self.job_id, avoid)

    def status_of_left_job(self) -> int:
        """The exit status of a job whose place another job takes."""
        return 0 if self.plan.policy.requeue else EXIT_STOPPED


def events_so_far(paths: RunPaths) -> list[AttemptEvent]:
    """The lines of attempts.jsonl.

    Raises:
        OSError: the file exists and cannot be read. A run with lines must not pass for a new one.
    """
    with suppress(FileNotFoundError):
        paths.attempts.read_bytes()
    return records.read_attempts(paths)


def _saved_step(paths: RunPaths, plan: Plan) -> int | None:
    """The newest checkpoint's step, of all folds together; None for a script.

    A script keeps its state as it likes.
    """
    if not plan.program.keeps_state:
        return None
    newest = 0
    for part in paths.folds() or [paths]:
        steps = [int(path.stem) for path in part.checkpoints.glob("*.npz") if path.stem.isdigit()]
        newest += max(steps, default=0)
    return newest


def _saved_images(paths: RunPaths) -> int:
    """Of how many images the features are saved, by the last heartbeat.

    A frozen backbone's run may compute them before its first step.
    """
    return Heartbeat.read(paths).saved_images or 0
