"""Who asked for a requeue: the batch script because launch was killed, or somebody outside."""

from __future__ import annotations

import json

import pytest

from hpcdl.files import append_json_line
from hpcdl.launch.attempt import attempt
from hpcdl.run.paths import RunPaths
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
