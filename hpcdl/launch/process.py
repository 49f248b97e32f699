"""Starts the program on the node, waits for it, and tells how it ended."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hpcdl.contract.spec import EXIT_SPEC, EXIT_STOPPED
from hpcdl.files import read_json, write_json
from hpcdl.launch.command import (
    argv_of,
    frozen_programs,
    places_of,
    prepare_home,
    program_of,
    with_modules,
)
from hpcdl.launch.deadline import Clock
from hpcdl.launch.memory import oom_kills, peak_memory_gb
from hpcdl.launch.recorder import Recorder
from hpcdl.launch.retry import SURE_AFTER, RunRemovedError, keep_trying
from hpcdl.launch.stop_signal import StopSignal
from hpcdl.planning import Plan
from hpcdl.run.causes import Ending
from hpcdl.run.logs import tail
from hpcdl.run.paths import RunPaths

_LOOK_S = 1.0  # how often the clock is looked at
_CANCEL_WAIT_S = 45.0  # scancel is quicker where it works
_PR_SET_PDEATHSIG = 1  # prctl(2)


def run_program(
    paths: RunPaths, plan: Plan, attempt: int, job_id: str | None, clock: Clock
) -> Ending:
    """Run the program once, in its container or, where the plan has none, with this Python.

    Raises:
        OutOfPatienceError: the run folder cannot be written.
        RunRemovedError: it was removed.
    """
    terminated, killed_before = _note_sigterm(), oom_kills()
    programs = frozen_programs(paths)
    keep_trying("the run's home", lambda: prepare_home(paths.home, plan.data_root, programs), paths)
    scratch = plan.scratch and os.path.expandvars(plan.scratch)
    tmp = keep_trying(
        "the node's scratch folder", lambda: tempfile.mkdtemp(prefix="hpcdl-", dir=scratch)
    )
    try:
        status, log = _start_and_wait(paths, plan, attempt, tmp, clock, in_slurm=job_id is not None)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    if terminated and status not in (0, EXIT_STOPPED):
        status = 128 + signal.SIGTERM  # a container that is still starting gives another status
    killed = oom_kills()
    return Ending(
        status=status,
        script=plan.script is not None,
        in_slurm=job_id is not None,
        log=log,
        gpus=plan.gpus,
        failure=read_json(paths.failure) or {},
        oom_kills=None if killed is None or killed_before is None else killed - killed_before,
        peak_memory_gb=peak_memory_gb(),
        overtime=clock.overtime,
        asked_to_stop=paths.stop.exists(),
        near_the_end=clock.near_the_end(plan.signal_lead_s, time.time()),
    )


def _start_and_wait(
    paths: RunPaths, plan: Plan, attempt: int, tmp: str, clock: Clock, in_slurm: bool
) -> tuple[int, str]:
    """Run the program, with its output in the logs; its exit status and the end of its output."""
    places = places_of(paths, plan, str(attempt), tmp)
    program = program_of(paths, plan)
    argv, env = argv_of(plan, places, program, in_slurm)
    if not in_slurm:
        argv, env = with_modules(plan, argv, env)
    _end_leftover(program)
    if places.workdir == str(paths.work):
        keep_trying("the working directory", lambda: paths.work.mkdir(exist_ok=True), paths)
    start = _Start(argv, env, places.workdir, places.lifeline)
    stop_signal = StopSignal(plan, paths.stop)
    try:
        if plan.script is None:
            with keep_trying("the log", lambda: _open_log(paths, attempt), paths) as log:
                child = start.with_output(log.fileno(), log.fileno())
                status = _wait(paths, child, clock, stop_signal)
            return status, tail(paths.log(attempt))
        with Recorder(paths, attempt) as recorder:
            child = start.with_output(recorder.stdout, recorder.stderr)
            recorder.start()
            status = _wait(paths, child, clock, stop_signal)
        return status, recorder.end_of_output()
    except _NotStartedError as error:
        message = _why_not_started(plan, argv, error.reason)
        with keep_trying("the log", lambda: _open_log(paths, attempt), paths) as log:
            log.write(f"{message}\n".encode("utf-8", "surrogateescape"))
        failure = {"kind": "spec", "message": message}
        keep_trying("failure.json", lambda: write_json(paths.failure, failure), paths)
        return EXIT_SPEC, message


class _NotStartedError(Exception):
    """The program could not even be started."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True)
class _Start:
    """How the program is started, but for where its output goes."""

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
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise _NotStartedError(error) from error


def _why_not_started(plan: Plan, argv: list[str], error: OSError) -> str:
    message = f"hpcdl: cannot start {argv[0]} on {socket.gethostname()}: {error.strerror}"
    if plan.image and error.filename == argv[0]:
        modules = plan.modules or "none"
        message += f" (the profile's modules are {modules}, its runtime is {plan.runtime})"
    return message


def _wait(
    paths: RunPaths, child: subprocess.Popen[bytes], clock: Clock, stop_signal: StopSignal
) -> int:
    """Wait for the program's end, and look after it meanwhile; its exit status.

    Raises:
        OutOfPatienceError: the run folder cannot be written.
        RunRemovedError: it was removed.
    """
    try:
        return _look_until_end(paths, child, clock, stop_signal)
    except BaseException:
        _kill_tree(child.pid)
        raise


def _look_until_end(
    paths: RunPaths, child: subprocess.Popen[bytes], clock: Clock, stop_signal: StopSignal
) -> int:
    removed_looks = 0
    while True:
        try:
            return child.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            clock.look()
            stop_signal.look(child.pid)
        if clock.overtime or _was_cancelled(paths):
            _kill_tree(child.pid)
        removed_looks = removed_looks + 1 if paths.is_removed() else 0
        if removed_looks >= SURE_AFTER:
            raise RunRemovedError(f"{paths.root} was removed")


def _open_log(paths: RunPaths, attempt: int) -> BinaryIO:
    paths.logs.mkdir(exist_ok=True)  # somebody may have tidied up
    return paths.log(attempt).open("ab")


def _was_cancelled(paths: RunPaths) -> bool:
    """Whether the run was cancelled a while ago, and SLURM has not ended it: it was not told, or is away."""
    try:
        return time.time() - paths.cancelled.stat().st_mtime > _CANCEL_WAIT_S
    except OSError:
        return False


def _note_sigterm() -> list[int]:
    """A list that SIGTERM makes non-empty: SLURM sends it to every process of a job that it ends."""
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    return seen


def _die_with_parent() -> None:
    """In the child: end when launch ends, however that happens. Two trainers must never write one run.

    The kernel forgets this for Apptainer, which changes its credentials: the trainer has its lifeline beside it.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it, macOS has not
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_leftover(program: list[str]) -> None:
    """Kill what an earlier attempt has left here, if its launch was killed: a script's container outlives that."""
    argv = b"".join(os.fsencode(word) + b"\0" for word in program)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_bytes() == argv:
                os.kill(int(process.name), signal.SIGKILL)


def _kill_tree(pid: int) -> None:
    """Kill a process and all that it started: a container's program outlives its starter."""
    try:
        children = [
            pid
            for task in Path(f"/proc/{pid}/task").glob("*/children")
            for pid in task.read_text().split()
        ]
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return
    for child in children:
        _kill_tree(int(child))
