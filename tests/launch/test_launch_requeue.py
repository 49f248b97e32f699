"""Who asked for a requeue: the batch script because launch was killed, or somebody outside."""

from __future__ import annotations

import json

import pytest

from hpcdl.contract.spec import EXIT_STOPPED
from hpcdl.files import append_json_line
from hpcdl.launch.attempt import attempt
from hpcdl.launch.attempt_end import conclude
from hpcdl.launch.attempt_state import Attempt
from hpcdl.launch.command import read_plan
from hpcdl.launch.ended import Ended
from hpcdl.launch.retry import OutOfPatienceError
from hpcdl.run.causes import Outcome
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import read_attempts
from hpcdl.run.states import OWN_REQUEUE

JOB_ID = "999999999"  # which no SLURM knows that may be on this machine
REQUEUED = (
    "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-28T05:03:44 DUE TO JOB REQUEUE ***"
)


@pytest.fixture
def ended(machine):
    """A script's run whose first attempt left no end: its batch script's output says what came then."""
    run = machine.submit("print('hello')\n")
    machine.hpcdl("wait", run.path)
    paths = RunPaths(run.path)
    paths.result.unlink()
    start = {
        "attempt": 1,
        "event": "start",
        "job_id": JOB_ID,
        "node": "n1",
        "from_step": None,
        "from_images": 0,
    }
    paths.attempts.write_text("")
    append_json_line(paths.attempts, {**start, "time": 1.0})

    def again(*output: str) -> list[str]:
        lines = ["attempt 1 of a on n1", *output, ""]
        (paths.logs / f"slurm-{JOB_ID}.out").write_text("\n".join(lines))
        attempt(paths, None)
        ends = [json.loads(line) for line in paths.attempts.read_text().splitlines()]
        return [row["reason"] for row in ends if row["event"] == "end"]

    return again


@pytest.mark.cases("fault 4")
@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ([REQUEUED], "requeued"),
        ([OWN_REQUEUE, REQUEUED], "killed"),
        ([REQUEUED.replace("JOB REQUEUE", "PREEMPTION")], "preempted"),
        ([], "killed"),
    ],
    ids=["from outside", "by the batch script", "preempted", "no word"],
)
def test_attempt_without_end_gets_reason(ended, output, reason):
    """The next attempt finds the reason in the output of the job."""
    assert ended(*output) == [reason, "done"]


def test_resumed_meanwhile_is_not_hopeless(machine):
    """A run that somebody resumes while an old job ends is not called failed by that job."""
    run = machine.submit("print('hello')\n")
    machine.hpcdl("wait", run.path)
    paths = RunPaths(run.path)
    paths.result.unlink()
    paths.attempts.write_text("")
    for number in (1, 2):
        line = {"attempt": number, "node": "n1", "time": 1.0}
        append_json_line(paths.attempts, {**line, "event": "start"})
        append_json_line(paths.attempts, {**line, "event": "end", "reason": "killed", "status": -9})
    this = Attempt(paths, read_plan(paths), None, "n1", read_attempts(paths))
    ended = Ended(-9, Outcome("killed"))
    append_json_line(paths.attempts, {"event": "resumed", "time": 2.0})

    assert conclude(this, ended) == EXIT_STOPPED
    assert not paths.result.exists()


def test_unreadable_attempts_are_tried_again(machine, monkeypatch):
    """A run with attempts does not pass for a new one while its file system is away."""
    run = machine.submit("print('hello')\n")
    machine.hpcdl("wait", run.path)
    paths = RunPaths(run.path)
    paths.result.unlink()
    monkeypatch.setenv("HPCDL_SAVE_RETRY_S", "0")
    paths.attempts.rename(run.path / "kept")
    paths.attempts.mkdir()

    with pytest.raises(OutOfPatienceError, match=r"attempts\.jsonl"):
        attempt(paths, None)
