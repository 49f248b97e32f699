"""Whether there is another attempt: budgets, and the rule against endless loops."""

from __future__ import annotations

import pytest

from hpcdl.run.causes import Ending, Outcome, of_ending
from hpcdl.run.next_step import hopeless, next_step
from hpcdl.run.records import AttemptEvent, attempt_ends


def ends(*rows: tuple[str, int | None, int | None]) -> list[AttemptEvent]:
    events = []
    for reason, first, last in rows:
        events.append(AttemptEvent("end", reason=reason, from_step=first, steps=last))
    return events


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
        ([("stalled", 0, 10)], 9, "stalled", None),
        ([("stalled", 0, 10), ("stalled", 10, 20)], 9, "failed", "stall"),
        ([("stalled", 0, 10), ("time_limit", 10, 20), ("stalled", 20, 30)], 9, "stalled", None),
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
    events = [
        AttemptEvent("start", attempt=1),
        AttemptEvent("start", attempt=2),
        AttemptEvent("resumed"),
        AttemptEvent("end", attempt=2, reason="killed"),  # found out by the third
        AttemptEvent("start", attempt=3),
        AttemptEvent("end", attempt=3, reason="terminated"),
        AttemptEvent("end", attempt=3, reason="preempted"),
    ]
    assert [end.reason for end in attempt_ends(events)] == ["preempted"]
    del events[2]
    assert [end.reason for end in attempt_ends(events)] == ["killed", "preempted"]


def test_missing_progress_names_the_step():
    stuck = hopeless(ends(("killed", 40, 40), ("killed", 40, 40)))
    assert stuck is not None
    assert stuck.message == "two attempts in a row made no new step (step 40)"
    assert hopeless(ends(("killed", 40, 40))) is None
    assert hopeless(ends(("killed", 40, 40), ("done", 40, 50))) is None


def test_more_features_are_progress():
    def end(before, after):
        return AttemptEvent(
            "end", reason="time_limit", from_step=0, steps=0, from_images=before, images=after
        )

    assert hopeless([end(0, 4000), end(4000, 8000)]) is None
    assert hopeless([end(0, 4000), end(4000, 4000)]) is None
    assert hopeless([end(4000, 4000), end(4000, 4000)]) is not None
    assert hopeless([end(4000, 0), end(0, 0)]) is not None


def test_lost_image_is_not_user_error():
    log = "OSError: [Errno 107] Transport endpoint is not connected: '/usr/lib/python3'"
    assert of_ending(Ending(1, log=log)).state == "killed"
    assert of_ending(Ending(1, log="KeyError: 'x'")).cause == "user_code"
