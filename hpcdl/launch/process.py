"""Starts the program on the node, waits for it, and returns how it ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, NamedTuple

from hpcdl.container import plain
from hpcdl.contract.exit_status import EXIT_SPEC, EXIT_STOPPED
from hpcdl.files import write_json
from hpcdl.launch.command import (
    argv_of,
    frozen_programs,
    places_of,
    prepare_home,
    program_of,
    with_modules,
)
from hpcdl.launch.memory import oom_kills, peak_memory_gb
from hpcdl.launch.processes import die_with_parent, kill_leftover, kill_tree
from hpcdl.launch.program_run import ProgramRun, known_here
from hpcdl.launch.recorder import Recorder
from hpcdl.launch.retry import keep_trying
from hpcdl.launch.sampler import sampler_of
from hpcdl.launch.served_trainer import ServedTrainer
from hpcdl.launch.stall import Alone, append_lines, variables_after_stall, watchdog_of
from hpcdl.launch.watchers import Watcher
from hpcdl.planning import Plan
from hpcdl.run.causes import Ending
from hpcdl.run.logs import tail
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Failure

_LOOK_S = 1.0  # how often the watchers look


def run_program(this: ProgramRun) -> Ending:
    """Run the program once, in its container or, if the plan has none, with this Python.

    Raises:
        OutOfPatienceError: the run folder cannot be written.
        RunRemovedError: it was removed.
    """
    paths, plan = this.paths, this.plan
    terminated, killed_before = note_sigterm(), oom_kills()
    programs = frozen_programs(paths)
    if not plan.program.on_host:
        prepare = partial(prepare_home, paths.home, plan.data_root, programs)
        keep_trying("the run's home", prepare, paths)
    scratch = plan.scratch and os.path.expandvars(plan.scratch)
    if this.served is not None:
        scratch = str(this.served.tmp)
    tmp = keep_trying(
        "the node's scratch folder", lambda: tempfile.mkdtemp(prefix="hpcdl-", dir=scratch)
    )
    judge = this.judge or Alone(paths.heartbeat.parent)
    watchdog = watchdog_of(paths, this.plan_here, this.attempt, judge)
    try:
        node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        with closing(sampler_of(paths, this.plan_here, this.attempt, node)) as sampler:
            watchers = [*this.watchers(), sampler, *([watchdog] if watchdog else [])]
            status, log, memory_gb = _start_and_wait(this, tmp, watchers)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    if terminated and status not in (0, EXIT_STOPPED):
        status = 128 + signal.SIGTERM  # a container that is still starting gives another status
    killed_after = oom_kills()
    killed = None
    if killed_before is not None and killed_after is not None:
        killed = killed_after - killed_before
    return replace(
        known_here(this, status),
        log=log,
        failure_kind=Failure.read(paths).kind,
        oom_kills=killed,
        peak_memory_gb=memory_gb,
        stalled=watchdog.message if watchdog else "",
    )


class _Ended(NamedTuple):
    """The program's exit status, the end of its output, and the most memory it had, in GiB."""

    status: int
    log: str
    memory_gb: float


def _start_and_wait(this: ProgramRun, tmp: str, watchers: Sequence[Watcher]) -> _Ended:
    """Run the program, with its output in the logs."""
    paths, plan, attempt = this.paths, this.plan, this.attempt
    after_stall = variables_after_stall(paths, plan)
    if after_stall:
        words = " ".join(f"{name}={value}" for name, value in after_stall.items())
        append_lines(paths.log(attempt), [f"hpcdl: the last attempt stalled; now with {words}"])
    variables = {**after_stall, **this.workers}
    places = replace(
        places_of(paths, plan, str(attempt), tmp),
        workers=variables,
        end_time=None if plan.program.keeps_state else this.deadline.end_time,
    )
    program = program_of(paths, plan)
    argv, env = argv_of(plan, places, program, this.in_slurm)
    if not this.in_slurm:
        argv, env = with_modules(plan, argv, env)
    kill_leftover(program, plain(places.stop_file), attempt)
    if places.workdir == str(paths.work):
        keep_trying("the working directory", lambda: paths.work.mkdir(exist_ok=True), paths)
    start = _Start(argv, env, plain(places.workdir), places.lifeline)
    try:
        if plan.program.keeps_state:
            with keep_trying("the log", lambda: _open_log(paths, attempt), paths) as log:
                trainer = this.served and this.served.start(paths, attempt, places)
                child = trainer or start.with_output(log.fileno(), log.fileno())
                status = wait_for(child, watchers)
            memory_gb = trainer.peak_memory_gb if trainer else None
            return _Ended(status, tail(paths.log(attempt)), memory_gb or peak_memory_gb())
        with Recorder(paths, attempt) as recorder:
            child = start.with_output(recorder.stdout, recorder.stderr)
            recorder.start()
            status = wait_for(child, watchers)
        return _Ended(status, recorder.end_of_output(), peak_memory_gb())
    except _NotStartedError as error:
        message = _why_not_started(plan, argv, error.reason)
        with keep_trying("the log", lambda: _open_log(paths, attempt), paths) as log:
            log.write(f"{message}\n".encode("utf-8", "surrogateescape"))
        failure = {"kind": "spec", "message": message}
        keep_trying("failure.json", lambda: write_json(paths.failure, failure), paths)
        return _Ended(EXIT_SPEC, message, peak_memory_gb())


class _NotStartedError(Exception):
    """The program could not even be started."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True)
class _Start:
    """How the program is started, except where its output goes."""

    argv: list[str]
    env: dict[str, str]
    workdir: str
    lifeline: bool

    def with_output(self, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """Start it.

        Raises:
            _NotStartedError: the command, or the working directory, is not there.
        """
        stdin = subprocess.PIPE if self.lifeline else subprocess.DEVNULL
        try:
            return subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=self.workdir,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            raise _NotStartedError(error) from error


def _why_not_started(plan: Plan, argv: list[str], error: OSError) -> str:
    message = f"hpcdl: cannot start {argv[0]} on {socket.gethostname()}: {error.strerror}"
    if plan.container is not None and error.filename == argv[0]:
        modules = plan.modules.modules or "none"
        message += (
            f" (the profile's modules are {modules}, its runtime is {plan.container.runtime})"
        )
    return message


def wait_for(child: subprocess.Popen[bytes] | ServedTrainer, watchers: Sequence[Watcher]) -> int:
    """Wait for the program's end; each watcher looks once a second. The program's exit status.

    Raises:
        OutOfPatienceError: the run folder cannot be written.
        RunRemovedError: it was removed.
    """
    try:
        while True:
            try:
                return child.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                now = time.time()
            for watcher in watchers:
                watcher.look(now, child.pid)
    except BaseException:
        kill_tree(child.pid)
        raise
    finally:
        if isinstance(child, subprocess.Popen) and child.stdin is not None:
            child.stdin.close()


def _open_log(paths: RunPaths, attempt: int) -> BinaryIO:
    paths.logs.mkdir(exist_ok=True)  # somebody may have tidied up
    return paths.log(attempt).open("ab")


def note_sigterm() -> list[int]:
    """A list that SIGTERM fills: SLURM sends it to every process of a job that it ends."""
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    return received
