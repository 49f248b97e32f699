"""On the batch host of a run on several nodes: starts a member on each, and folds their ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hpcdl.contract.exit_status import EXIT_DONE, EXIT_STOPPED
from hpcdl.files import read_json, write_json
from hpcdl.launch.meeting import look_anew
from hpcdl.launch.member_end import MemberEnd, decisive_end, fold, read_ends, unmet_end
from hpcdl.launch.process import note_sigterm, wait_for
from hpcdl.launch.processes import die_with_parent, kill_tree
from hpcdl.launch.program_run import ProgramRun, known_here
from hpcdl.launch.retry import keep_trying, say
from hpcdl.launch.stall import stall_s
from hpcdl.launch.stall_of_step import StepWatchdog
from hpcdl.launch.watchers import Watcher
from hpcdl.run.causes import Ending
from hpcdl.run.logs import slurms_words, tail
from hpcdl.run.worker_paths import WorkerPaths, meeting, meetings
from hpcdl.scheduler.step import LEAVE_S, badly_ended, died_of_memory, srun, step_environment

_NEVER = 0
_LATE_S = 60.0  # a network file system may show a file of another node that late
_LATE_AFTER_KILL_S = 5.0  # a killed member has written none
_LOOK_S = 0.5
_LAST_LINES = 30


@dataclass(frozen=True)
class MembersEnd:
    """How the members ended together.

    Args:
        ending: the end of the run's program; None if it was not started.
        decisive: the member's end that this is, or the one that says why nothing was started.
        problem: why not even a member was started; empty if one was.
    """

    ending: Ending | None
    decisive: MemberEnd
    problem: str = ""


class LeftWatcher:
    """Ends a step of which one task has failed, and others go on.

    Of a script nobody knows how long worker 0 may work alone when the others are done, so SLURM
    does not do it.

    Args:
        folder: where the members write their ends.
        count: how many there are.
        output: gives what srun has printed. It alone knows of a member that was killed with its
            program, and has written no end.
    """

    def __init__(self, folder: Path, count: int, output: Callable[[], str]) -> None:
        self._folder = folder
        self._count = count
        self._output = output
        self._failed_at: float | None = None

    def look(self, now: float, pid: int) -> None:
        """End the step if it is time."""
        if not self._has_failed():
            self._failed_at = None  # an end may be seen late
        elif self._failed_at is None:
            self._failed_at = now
        elif now - self._failed_at > LEAVE_S:
            kill_tree(pid)

    def _has_failed(self) -> bool:
        """Whether a member has not ended well."""
        ends = read_ends(self._folder, self._count)
        if not all(end.is_good for end in ends):
            return True
        with_end = {end.rank for end in ends}
        for rank, _ in badly_ended(self._output()):
            # The others wait for one that never came, and then say so themselves
            if rank not in with_end and _has_come(self._folder, rank):
                return True
        return False


def run_members(this: ProgramRun, nodes: Sequence[str]) -> MembersEnd:
    """Run the program on several nodes at once, and wait for all of them.

    Args:
        this: the program's run.
        nodes: the job's nodes, by rank.

    Raises:
        OutOfPatienceError: the run folder cannot be written.
        RunRemovedError: it was removed.
    """
    paths, is_script = this.paths, not this.plan.program.keeps_state
    folder = meeting(paths, this.attempt)
    keep_trying("the folder workers", lambda: _make_empty(this), paths)
    terminated = note_sigterm()
    watchers = this.watchers(with_signal=False)
    if is_script:
        watchers.append(LeftWatcher(folder, len(nodes), lambda: _words(this)))
    words = [sys.executable, "-m", "hpcdl.launch.member", str(paths.root), str(this.attempt)]
    argv = srun(len(nodes), this.plan.size.cpus, words, _NEVER if is_script else LEAVE_S)
    watchdog = StepWatchdog(paths, this.attempt, nodes, stall_s(this.plan))
    if not is_script and stall_s(this.plan) > 0:
        watchers.append(watchdog)
    status = _start_and_wait(argv, watchers)
    ends = _ends(folder, len(nodes), status)
    names = _names(folder, nodes)
    unmet = unmet_end(ends)
    if unmet is not None and not terminated:
        return MembersEnd(None, unmet)
    decisive = decisive_end(ends, names, is_script)
    say(_shown(ends, names, status))
    problem = ""
    if not ends and not any(_has_come(folder, rank) for rank in range(len(nodes))):
        problem = f"no worker has come: srun ended with exit status {status}"
        say(f"{problem}; its own words above say why")
        problem += f", and says why in {_output(this)}"
    _keep_failure_of(this, decisive)
    log = tail(WorkerPaths(paths.root, decisive.rank).log(this.attempt))
    ending = replace(fold(known_here(this, status), ends, names), log=log, stalled=watchdog.message)
    wrote_no_end = all(end.rank != decisive.rank for end in ends)
    if wrote_no_end and died_of_memory(decisive.rank, _words(this)):
        ending = replace(ending, oom_kills=1)
    if terminated and ending.status not in (EXIT_DONE, EXIT_STOPPED):
        ending = replace(ending, status=128 + signal.SIGTERM)
    elif decisive.rank and not decisive.is_good:
        _quote_log(this, decisive, log)
    return MembersEnd(ending, decisive, problem)


def _words(this: ProgramRun) -> str:
    """What srun has printed."""
    return slurms_words(this.paths, this.job_id or "")


def _output(this: ProgramRun) -> str:
    """The job's output, which has what srun prints."""
    return str(this.paths.batch_log).replace("%j", this.job_id or "")


def _make_empty(this: ProgramRun) -> None:
    """An empty folder for the meeting; those of earlier attempts are removed."""
    folder = meeting(this.paths, this.attempt)
    for old in meetings(this.paths).glob("attempt-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _start_and_wait(argv: Sequence[str], watchers: Sequence[Watcher]) -> int:
    """Run srun, whose words go to the job's output, to its end; its exit status.

    Its stdin is a pipe that nobody writes to. When launch ends, all members read its end.
    """
    try:
        child = subprocess.Popen(
            argv,
            env=step_environment(os.environ),
            stdin=subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        say(f"cannot start {argv[0]}: {error.strerror}")
        return 127
    return wait_for(child, watchers)


def _ends(folder: Path, count: int, status: int) -> list[MemberEnd]:
    """The members' ends; waits for those that this node does not see yet.

    Args:
        folder: where they are.
        count: how many members there are.
        status: srun's exit status: the highest of all tasks.
    """
    was_killed = not 0 <= status < 128
    until = time.monotonic() + (_LATE_AFTER_KILL_S if was_killed else _LATE_S)
    while True:
        look_anew(folder)
        ends = read_ends(folder, count)
        came = sum(_has_come(folder, rank) for rank in range(count))
        if len(ends) >= came or time.monotonic() >= until:
            return ends
        time.sleep(_LOOK_S)


def _has_come(folder: Path, rank: int) -> bool:
    return (folder / f"{rank}.json").exists()


def _names(folder: Path, nodes: Sequence[str]) -> list[str]:
    """The nodes by rank, as the members call themselves where they have come."""
    names = []
    for rank, name in enumerate(nodes):
        card = read_json(folder / f"{rank}.json") or {}
        names.append(str(card.get("node") or name))
    return names


def _shown(ends: Sequence[MemberEnd], names: Sequence[str], status: int) -> str:
    """One line about how all ended, for the job's output."""
    by_rank = {end.rank: end for end in ends}
    words = []
    for rank, name in enumerate(names):
        end = by_rank.get(rank)
        words.append(f"worker {rank} on {name}: {'killed' if end is None else end.status}")
    return f"{', '.join(words)} (srun's own exit status: {status})"


def _keep_failure_of(this: ProgramRun, decisive: MemberEnd) -> None:
    """Let the run's failure.json be that of the worker whose end is the run's.

    Worker 0's own says only that it has lost another one.
    """
    if not decisive.rank:
        return
    paths = this.paths
    of_worker = read_json(WorkerPaths(paths.root, decisive.rank).failure)
    if of_worker is None:
        keep_trying("failure.json", lambda: paths.failure.unlink(missing_ok=True), paths)
        return
    who = f"worker {decisive.rank} on {decisive.node}"
    of_worker["message"] = f"{who}: {of_worker.get('message') or 'it ended'}"
    keep_trying("failure.json", lambda: write_json(paths.failure, of_worker), paths)


def _quote_log(this: ProgramRun, decisive: MemberEnd, log: str) -> None:
    """Add the end of the decisive worker's log to the log that people read: worker 0's."""
    path = WorkerPaths(this.paths.root, decisive.rank).log(this.attempt)
    lines = [
        f"hpcdl: worker {decisive.rank} on {decisive.node} ended first,"
        f" with exit status {decisive.status}; its log is {path}:"
    ]
    lines += log.splitlines()[-_LAST_LINES:]

    def append() -> None:
        with this.paths.log(this.attempt).open("a", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")

    with suppress(OSError):
        append()
