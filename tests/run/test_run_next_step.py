"""Whether there is another attempt: budgets, the rule against endless loops, the clock. Pure, as tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpcdl.launch.deadline import Clock
from hpcdl.run.causes import Ending, Outcome, hopeless, next_step, of_ending
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import attempt_ends


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


def test_chain_ends_with_its_last_job():
    stopped = Outcome("time_limit")
    assert next_step(stopped, ends(("time_limit", 0, 10)), 10, jobs_left=1) is stopped
    last = next_step(stopped, ends(("time_limit", 0, 10)), 10, jobs_left=0)
    assert (last.state, last.cause) == ("failed", "time_limit")
    assert "last job of the chain" in (last.message or "")
    killed = next_step(
        Outcome("killed", "internal", "ended by SIGBUS"), ends(("killed", 0, 10)), 10, jobs_left=0
    )
    assert (killed.state, killed.cause) == ("failed", "internal")
    assert (killed.message or "").startswith("ended by SIGBUS; it was the last job")


def test_ends_since_the_last_resume():
    rows: list[dict[str, Any]] = [
        {"event": "start", "attempt": 1},
        {"event": "start", "attempt": 2},
        {"event": "resumed"},
        {"event": "end", "attempt": 2, "reason": "killed"},  # found out by the third
        {"event": "start", "attempt": 3},
        {"event": "end", "attempt": 3, "reason": "terminated"},
        {"event": "end", "attempt": 3, "reason": "preempted"},
    ]
    assert [end["reason"] for end in attempt_ends(rows)] == ["preempted"]
    assert [
        end["reason"] for end in attempt_ends([row for row in rows if row["event"] != "resumed"])
    ] == [
        "killed",
        "preempted",
    ]


def test_no_progress_says_which_step():
    stuck = hopeless(ends(("killed", 40, 40), ("killed", 40, 40)))
    assert stuck is not None
    assert stuck.message == "two attempts in a row made no new step (step 40)"
    assert hopeless(ends(("killed", 40, 40))) is None
    assert hopeless(ends(("killed", 40, 40), ("done", 40, 50))) is None


def test_features_of_more_images_are_progress():
    def end(before, after):
        return {
            "reason": "time_limit",
            "from_step": 0,
            "steps": 0,
            "from_images": before,
            "images": after,
        }

    assert hopeless([end(0, 4000), end(4000, 8000)]) is None
    assert hopeless([end(0, 4000), end(4000, 4000)]) is None
    assert hopeless([end(4000, 4000), end(4000, 4000)]) is not None
    assert hopeless([end(4000, 0), end(0, 0)]) is not None


def test_image_that_went_away_is_no_fault_of_the_user():
    log = "OSError: [Errno 107] Transport endpoint is not connected: '/usr/lib/python3'"
    assert of_ending(Ending(1, log=log)).state == "killed"
    assert of_ending(Ending(1, log="KeyError: 'x'")).cause == "user_code"


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


def test_clock_tells_when_a_local_run_must_be_killed(tmp_path):
    clock = Clock(RunPaths(tmp_path), end_time=1000.0, margin_s=10.0, kills=True)
    clock.look(now=1009.0)
    assert not clock.overtime
    clock.look(now=1010.0)
    assert clock.overtime
    in_slurm = Clock(RunPaths(tmp_path), end_time=1000.0, margin_s=10.0)
    in_slurm.look(now=2000.0)
    assert not in_slurm.overtime


def test_clock_tells_a_preemption_from_a_time_limit(tmp_path):
    clock = Clock(RunPaths(tmp_path), end_time=1000.0, margin_s=60.0)
    assert clock.near_the_end(lead_s=180.0, now=731.0)
    assert not clock.near_the_end(lead_s=180.0, now=729.0)
    assert not Clock(RunPaths(tmp_path), None, 60.0).near_the_end(lead_s=180.0, now=1e12)
