"""A run's status from its files and SLURM's answer: each row is evidence -> state and cause."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.files import append_json_line, write_json
from hpcdl.run import Run, states
from hpcdl.run.causes import (
    Ending,
    of_ending,
    of_slurm_state,
    reason_of_slurm_state,
    slurm_state_of_words,
)
from hpcdl.run.evidence import Evidence, read
from hpcdl.run.paths import RunPaths
from hpcdl.run.process_start import process_start
from hpcdl.run.records import AttemptEvent, Heartbeat, Submitted
from hpcdl.run.result import Result
from hpcdl.run.state import status_of
from hpcdl.scheduler import job_answers
from hpcdl.scheduler.jobinfo import JobInfo


def start(number=1, at=10.0):
    return AttemptEvent("start", attempt=number, time=at, node="n1")


def end(reason="done", number=1, at=20.0):
    return AttemptEvent("end", attempt=number, time=at, node="n1", reason=reason)


SENT = Evidence(submitted=Submitted(backend="slurm", job_id="7", time=5.0))
RUNS = replace(SENT, attempts=[start()])
STOPPED = replace(SENT, attempts=[start(), end("stopped")])
KILLED = replace(SENT, attempts=[start(), end("terminated")])
DONE = replace(SENT, attempts=[start(), end()], result=Result("done"))
FAILED = replace(
    SENT,
    attempts=[start(), end("failed")],
    result=Result("failed", cause="data", message="m"),
)
HALF = replace(
    RUNS, result=Result("done")
)  # the trainer wrote its result; launch had no time to finish it
HERE = replace(RUNS, submitted=Submitted(backend="local"))


def says(state, at=100.0, reason="", start=""):
    return JobInfo(state, at, reason, "", start)


STATES = {
    "nothing-sent": (Evidence(), None, "created", None),
    "sent": (SENT, None, "queued", None),
    "sent-pending": (SENT, says("PENDING", reason="Priority"), "queued", None),
    "sent-running": (
        SENT,
        says("RUNNING"),
        "queued",
        None,
    ),  # the batch script is on its way to launch
    "sent-cancelled-in-slurm": (SENT, says("CANCELLED"), "cancelled", "cancelled"),
    "sent-failed": (SENT, says("FAILED"), "failed", "internal"),
    "sent-boot-fail": (SENT, says("BOOT_FAIL"), "failed", "node_failure"),
    "sent-completed": (SENT, says("COMPLETED"), "lost", None),
    "runs": (RUNS, None, "running", None),
    "runs-running": (RUNS, says("RUNNING"), "running", None),
    "runs-completing": (RUNS, says("COMPLETING"), "running", None),
    "runs-asked-to-stop": (replace(RUNS, stopping=True), None, "stopping", None),
    "runs-timeout": (RUNS, says("TIMEOUT"), "failed", "time_limit"),
    "runs-deadline": (RUNS, says("DEADLINE"), "failed", "time_limit"),
    "runs-out-of-memory": (RUNS, says("OUT_OF_MEMORY"), "failed", "out_of_memory"),
    "runs-node-fail": (RUNS, says("NODE_FAIL"), "failed", "node_failure"),
    "runs-scancel": (RUNS, says("CANCELLED"), "cancelled", "cancelled"),
    "runs-pending-again": (RUNS, says("PENDING", reason="BeginTime"), "requeued", None),
    "runs-old-word": (
        RUNS,
        says("PENDING", at=9.0),
        "running",
        None,
    ),  # asked before the attempt began
    "stopped": (STOPPED, None, "requeued", None),
    "stopped-pending": (STOPPED, says("PENDING"), "requeued", None),
    "stopped-runs-again": (
        replace(STOPPED, attempts=[*STOPPED.attempts, start(2, 30.0)]),
        None,
        "running",
        None,
    ),
    "terminated": (KILLED, None, "stopping", None),
    "terminated-requeued": (KILLED, says("PENDING"), "requeued", None),
    "terminated-timeout": (KILLED, says("TIMEOUT"), "failed", "time_limit"),
    "terminated-cancelled": (KILLED, says("CANCELLED"), "cancelled", "cancelled"),
    "terminated-preempted": (KILLED, says("PREEMPTED"), "stopping", None),
    "runs-but-submit-was-killed": (replace(RUNS, submitted=None), None, "running", None),
    "runs-batch-script-failed": (RUNS, says("FAILED"), "failed", "internal"),
    "stopped-not-requeued": (STOPPED, says("FAILED"), "failed", "internal"),
    "runs-slurm-knows-nothing": (RUNS, says("UNKNOWN"), "unknown", None),
    "queued-slurm-knows-nothing": (SENT, says("UNKNOWN"), "unknown", None),
    "terminated-word-in-log": (
        replace(KILLED, slurm_end_state="TIMEOUT"),
        None,
        "failed",
        "time_limit",
    ),
    "runs-word-in-log": (
        replace(RUNS, slurm_end_state="CANCELLED"),
        None,
        "cancelled",
        "cancelled",
    ),
    "word-in-log-requeued-since": (
        replace(RUNS, slurm_end_state="CANCELLED"),
        says("PENDING"),
        "requeued",
        None,
    ),
    "done-word-in-log": (replace(DONE, slurm_end_state="TIMEOUT"), None, "done", None),
    "done": (DONE, None, "done", None),
    "done-slurm-says-failed": (DONE, says("FAILED"), "done", None),  # files are the truth
    "failed": (FAILED, None, "failed", "data"),
    "failed-slurm-says-completed": (FAILED, says("COMPLETED"), "failed", "data"),
    "half-done": (HALF, None, "running", None),
    "half-done-timeout": (HALF, says("TIMEOUT"), "done", None),
    "half-done-process-gone": (
        replace(HALF, submitted=Submitted(backend="local"), process_gone=True),
        None,
        "done",
        None,
    ),
    "cancelled": (replace(RUNS, cancelled=True), None, "cancelled", "cancelled"),
    "cancelled-before-start": (
        replace(SENT, cancelled=True),
        says("PENDING"),
        "cancelled",
        "cancelled",
    ),
    "cancelled-slurm-timeout": (
        replace(RUNS, cancelled=True),
        says("TIMEOUT"),
        "cancelled",
        "cancelled",
    ),
    "local-runs": (HERE, None, "running", None),
    "local-gone": (replace(HERE, process_gone=True), None, "lost", None),
    "local-gone-before-start": (replace(HERE, attempts=[], process_gone=True), None, "lost", None),
}


@pytest.mark.parametrize(("seen", "scheduler", "state", "cause"), STATES.values(), ids=STATES)
def test_state_from_run_files_and_slurm(seen, scheduler, state, cause):
    status = status_of(seen, scheduler)

    assert (status.state, status.cause) == (state, cause)
    assert status.final == (state in states.FINAL)


def test_status_shows_progress():
    seen = replace(
        RUNS,
        attempts=[start(), end("stopped"), start(2, 30.0)],
        heartbeat=Heartbeat(epochs=5, phase="training"),
        metrics=[{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}],
    )

    status = status_of(seen)

    assert (status.attempt, status.epoch, status.epochs, status.phase) == (2, 2, 5, "training")
    assert (status.job_id, status.node, status.started, status.ended) == ("7", "n1", 10.0, None)
    assert status.metrics["loss"] == 0.5


def test_waiting_shows_reason_and_start():
    status = status_of(SENT, says("PENDING", reason="Priority", start="2026-01-01T14:05:00"))

    assert status.note == "Priority, about 2026-01-01 14:05:00 (SLURM's estimate)"


def test_failed_job_without_end_is_explained():
    """A job that SLURM did not requeue is not taken for one that never started."""
    assert "hpcdl resume" in status_of(STOPPED, says("FAILED")).note
    assert "before the program started" in status_of(SENT, says("FAILED")).note


def test_chain_state_is_of_unfinished_job(tmp_path, monkeypatch):
    """The first job of the chain that has not ended gives the state of the run."""
    paths = RunPaths(tmp_path)
    write_json(paths.manifest, {})
    write_json(
        paths.submitted,
        {"backend": "slurm", "job_id": "7", "job_ids": ["7", "8", "9"], "time": 5.0},
    )
    append_json_line(paths.attempts, {"event": "start", "attempt": 1, "time": 10.0})
    words = {"7": says("UNKNOWN"), "8": says("RUNNING"), "9": says("PENDING")}
    monkeypatch.setattr(job_answers, "latest", lambda *asked: job_answers.Answers(jobs=words))

    assert Run(tmp_path).status().state == "running"

    words["8"] = words["9"] = says("UNKNOWN")
    assert Run(tmp_path).status().state == "unknown"


def test_empty_folder_is_created(tmp_path):
    assert status_of(read(RunPaths(tmp_path))).state == "created"


def test_half_written_files_read(tmp_path):
    paths = RunPaths(tmp_path)
    write_json(paths.submitted, {"backend": "slurm", "job_id": "7"})
    append_json_line(paths.attempts, {"event": "start", "attempt": 1, "time": 10.0})
    paths.heartbeat.write_text('{"epochs": ')
    paths.metrics.write_text('{"epoch": 1}\n{"epo')

    status = status_of(read(paths))

    assert (status.state, status.epoch, status.epochs) == ("running", 1, None)


OOM_CUDA = "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[9]"
ENOTCONN = "Transport endpoint is not connected"
GONE = f"OSError: [Errno 107] {ENOTCONN}: '/usr/lib/python3.11'"
ENDINGS = {
    "done": (Ending(0), "done", None),
    "stopped-by-itself": (Ending(75, script=True), "stopped", None),
    "stopped-for-the-limit": (
        Ending(75, asked_to_stop=True, near_the_end=True),
        "time_limit",
        None,
    ),
    "stopped-for-another-job": (Ending(75, asked_to_stop=True), "preempted", None),
    "stopped-here": (Ending(75, asked_to_stop=True, in_slurm=False), "stopped", None),
    "user-code": (Ending(1), "failed", "user_code"),
    "spec": (Ending(64), "failed", "spec"),
    "data": (Ending(65), "failed", "data"),
    "device": (Ending(69), "failed", "device"),
    "internal": (Ending(70), "failed", "internal"),
    "internal-other": (Ending(3), "failed", "internal"),
    "script": (Ending(1, script=True), "failed", "user_code"),
    "script-65": (Ending(65, script=True), "failed", "user_code"),
    "script-255": (Ending(255, script=True), "failed", "user_code"),
    "terminated": (Ending(-signal.SIGTERM), "terminated", None),
    "terminated-script": (Ending(128 + signal.SIGTERM, script=True), "terminated", None),
    "terminated-here": (
        Ending(-signal.SIGTERM, script=True, in_slurm=False),
        "failed",
        "user_code",
    ),
    "killed-nobody-counts": (Ending(-signal.SIGKILL), "killed", "out_of_memory"),
    "killed-for-memory": (
        Ending(-signal.SIGKILL, oom_kills=1, peak_memory_gb=3.9),
        "killed",
        "out_of_memory",
    ),
    "killed-by-somebody": (Ending(-signal.SIGKILL, oom_kills=0), "killed", "internal"),
    "killed-script": (
        Ending(128 + signal.SIGKILL, script=True, oom_kills=2),
        "failed",
        "out_of_memory",
    ),
    "overtime": (Ending(-signal.SIGKILL, in_slurm=False, overtime=True), "failed", "time_limit"),
    "segfault": (Ending(-signal.SIGSEGV), "killed", "internal"),
    "segfault-script": (Ending(128 + signal.SIGSEGV, script=True), "failed", "user_code"),
    "bus-error": (Ending(128 + signal.SIGBUS), "killed", "internal"),
    "bus-error-script": (Ending(-signal.SIGBUS, script=True), "failed", "internal"),
    "image-gone": (Ending(70, log=GONE), "killed", "internal"),
    "image-gone-script": (Ending(1, script=True, log=GONE), "failed", "internal"),
    "library-gone": (
        Ending(70, log=f"ImportError: a.so: cannot open shared object file: {ENOTCONN}"),
        "killed",
        "internal",
    ),
    "socket-gone-script": (
        Ending(1, script=True, log=f"OSError: [Errno 107] {ENOTCONN}"),
        "failed",
        "user_code",
    ),
    "realtime-signal": (Ending(-(signal.SIGRTMIN + 1), script=True), "failed", "user_code"),
    "signal-without-a-name": (Ending(128 + 33, script=True), "failed", "user_code"),
    "no-container": (
        Ending(255, script=True, log="FATAL:   could not open image /i.sif"),
        "failed",
        "spec",
    ),
    "gpu-memory": (Ending(70, failure_kind="out_of_memory"), "failed", "out_of_memory"),
    "gpu-memory-script": (Ending(1, script=True, log=OOM_CUDA), "failed", "out_of_memory"),
    "host-memory-script": (
        Ending(1, script=True, log="Traceback:\nMemoryError"),
        "failed",
        "out_of_memory",
    ),
    "numpy-memory-script": (
        Ending(
            1,
            script=True,
            log="numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB",
        ),
        "failed",
        "out_of_memory",
    ),
    "word-in-a-sentence": (
        Ending(1, script=True, log="caught a MemoryError earlier"),
        "failed",
        "user_code",
    ),
    "gpu-lost": (Ending(70, log="failed: CUDA_ERROR_ECC_UNCORRECTABLE"), "failed", "device"),
    "gpu-lost-script": (
        Ending(1, script=True, log="CUDA_ERROR_NO_DEVICE: no device"),
        "failed",
        "device",
    ),
}


@pytest.mark.parametrize(("ending", "state", "cause"), ENDINGS.values(), ids=ENDINGS)
def test_cause_of_ending(ending, state, cause):
    outcome = of_ending(ending)

    assert (outcome.state, outcome.cause) == (state, cause)
    assert (outcome.message is None) == (state not in ("failed", "killed"))


# As slurmstepd 22.05 wrote them on the test bed.
WORDS = {
    "requeue": (
        "slurmstepd-n1: error: *** JOB 8 ON n1 CANCELLED AT 2026-11-21T09:13:35 DUE TO JOB REQUEUE ***",
        "REQUEUED",
    ),
    "node": (
        "slurmstepd-n4: error: *** JOB 9 ON n4 CANCELLED AT 2026-11-21T09:13:36 DUE TO NODE FAILURE, SEE SLURMCTLD LOG"
        " FOR DETAILS ***",
        "NODE_FAIL",
    ),
    "preemption": (
        "slurmstepd-n3: error: *** JOB 11 ON n3 CANCELLED AT 2026-11-21T09:13:35 DUE TO PREEMPTION ***",
        "PREEMPTED",
    ),
    "limit": (
        "slurmstepd-n1: error: *** JOB 5 ON n1 CANCELLED AT 2026-11-21T09:13:35 DUE TO TIME LIMIT ***",
        "TIMEOUT",
    ),
    "scancel": (
        "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-21T09:13:35 ***",
        "CANCELLED",
    ),
    "nothing": ("attempt 1 of /runs/a on n1", None),
}


@pytest.mark.parametrize(("text", "state"), WORDS.values(), ids=WORDS)
def test_slurm_messages_in_log(text, state):
    assert slurm_state_of_words(text) == state


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("PREEMPTED", "preempted"),
        ("NODE_FAIL", "node_failure"),
        ("REQUEUED", "requeued"),
        ("FAILED", None),
        ("", None),
    ],
)
def test_reason_of_slurm_state(word, reason):
    assert reason_of_slurm_state(word) == reason


@pytest.mark.parametrize(
    ("word", "state", "cause"),
    [
        ("TIMEOUT", "failed", "time_limit"),
        ("OUT_OF_MEMORY", "failed", "out_of_memory"),
        ("NODE_FAIL", "failed", "node_failure"),
        ("CANCELLED", "cancelled", "cancelled"),
        ("FAILED", "failed", "internal"),
        ("COMPLETED", "lost", None),
    ],
)
def test_cause_of_slurm_state(word, state, cause):
    outcome = of_slurm_state(word)

    assert outcome is not None
    assert (outcome.state, outcome.cause) == (state, cause)


@pytest.mark.parametrize(
    "word",
    ["PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED", "SUSPENDED", "PREEMPTED", "?"],
)
def test_slurm_states_that_end_nothing(word):
    assert of_slurm_state(word) is None


def test_process_known_while_it_lives():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        first, again = process_start(process.pid), process_start(process.pid)
        assert first is not None
        assert first == again
        process.kill()
        while ") Z " not in Path(f"/proc/{process.pid}/stat").read_text():
            time.sleep(0.01)
        assert process_start(process.pid) is None, "a zombie has ended"
    assert process_start(process.pid) is None


def test_process_of_another_name():
    """A program's name may hold brackets and spaces, which stat(5) does not quote."""
    program = (
        "import ctypes; ctypes.CDLL(None).prctl(15, b'a) R 1 (b'); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ticks = process_start(process.pid)
        process.kill()
    assert ticks is not None
    assert int(ticks) >= int(process_start(os.getpid()) or 0)


@pytest.mark.parametrize(
    ("submitted", "gone"),
    [
        ({"backend": "slurm", "job_id": "7"}, False),
        ({"backend": "local", "host": "elsewhere", "pid": 1, "pid_start": "0"}, False),
        ({"backend": "local", "pid": os.getpid(), "pid_start": process_start(os.getpid())}, False),
        (
            {"backend": "local", "pid": os.getpid(), "pid_start": "0"},
            True,
        ),  # the pid is another process's by now
        ({"backend": "local", "pid": 2**22 + 1, "pid_start": "1"}, True),
    ],
    ids=["slurm", "other-host", "lives", "pid-used-again", "ended"],
)
def test_process_gone(tmp_path, submitted, gone):
    paths = RunPaths(tmp_path)
    write_json(paths.submitted, {"host": socket.gethostname(), **submitted})

    assert read(paths).process_gone is gone
