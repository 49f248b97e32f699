"""Whether there is another attempt: budgets, the rule against endless loops, the clock. Pure, as tables."""

from __future__ import annotations

import json

import pytest

from hpcdl.launch.clock import Clock
from hpcdl.run.causes import Outcome, hopeless, next_step, of_exit_status
from hpcdl.run.paths import RunPaths


def ends(*rows: tuple[str, int | None, int | None]) -> list[dict[str, object]]:
    return [{"reason": reason, "from_step": first, "steps": last} for reason, first, last in rows]


@pytest.mark.parametrize(
    ("rows", "max_requeues", "state", "cause"),
    [
        ([("time_limit", 0, 10)], 1, "time_limit", None),
        ([("time_limit", 0, 10), ("time_limit", 10, 20)], 1, "failed", "time_limit"),
        ([("time_limit", 0, 10), ("preempted", 10, 20)], 1, "preempted", None),
        ([("preempted", 0, 10)] * 5 + [("time_limit", 50, 60)], 1, "time_limit", None),
        ([("killed", 0, 10), ("killed", 10, 30)], 1, "killed", None),
        ([("killed", 0, 10)], 0, "failed", "internal"),
        ([("time_limit", 0, 10)], 0, "failed", "time_limit"),
        ([("killed", 10, 10), ("killed", 10, 10)], 9, "failed", "internal"),
        ([("killed", 10, 10), ("killed", 10, 11)], 9, "killed", None),
        ([("time_limit", 5, 5), ("time_limit", 5, 5)], 9, "failed", "time_limit"),
        ([("stopped", None, None), ("stopped", None, None)], 9, "stopped", None),
        ([("stopped", None, None), ("stopped", None, None)], 1, "failed", "time_limit"),
        ([("killed", 0, 0), ("failed", 0, 0)], 9, "failed", "data"),
        ([("done", 0, 10)], 0, "done", None),
    ],
)
def test_next_step(rows, max_requeues, state, cause):
    last = Outcome(rows[-1][0], "data" if rows[-1][0] == "failed" else None)
    result = next_step(last, ends(*rows), max_requeues)
    assert (result.state, result.cause) == (state, cause)


def test_no_progress_says_which_step():
    stuck = hopeless(ends(("killed", 40, 40), ("killed", 40, 40)))
    assert stuck is not None
    assert stuck.message == "two attempts in a row made no new step (step 40)"
    assert hopeless(ends(("killed", 40, 40))) is None
    assert hopeless(ends(("killed", 40, 40), ("done", 40, 50))) is None


def test_image_that_went_away_is_no_fault_of_the_user():
    log = "OSError: [Errno 107] Transport endpoint is not connected: '/usr/lib/python3'"
    assert of_exit_status(1, False, True, log).state == "killed"
    assert of_exit_status(1, False, True, "KeyError: 'x'").cause == "user_code"


def test_clock_leaves_time_for_three_saves_and_the_margin(tmp_path):
    paths = RunPaths(tmp_path)
    clock = Clock(paths, end_time=1000.0, margin_s=60.0)
    clock.look(now=939.0)
    assert not paths.stop.exists()
    paths.heartbeat.write_text(json.dumps({"slowest_save_s": 20.0}))
    clock.look(now=879.0)
    assert not paths.stop.exists()
    clock.look(now=880.0)
    assert paths.stop.exists()
    assert clock.near_the_end(lead_s=1.0, now=880.0)


def test_clock_tells_a_preemption_from_a_time_limit(tmp_path):
    clock = Clock(RunPaths(tmp_path), end_time=1000.0, margin_s=60.0)
    assert clock.near_the_end(lead_s=180.0, now=731.0)
    assert not clock.near_the_end(lead_s=180.0, now=729.0)
    assert not Clock(RunPaths(tmp_path), None, 60.0).near_the_end(lead_s=180.0, now=1e12)
