"""The fold of the tasks' logs: in any order, again, from its index, with torn lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.files import write_json
from hpcdl.sweeps.events import Claimed, Ended, Event, Rung, Stopped, append_event
from hpcdl.sweeps.missing import missing_events
from hpcdl.sweeps.state import DamagedLine, SweepState
from tests.hostile import WORST
from tests.sweeps.conftest import claims_of, new_sweep, next_trial, train, work


def claimed(trial: int, turn: int = 1, task: str = "9_0") -> Claimed:
    return Claimed(trial, {"model.dropout": trial / 10}, task, turn, 1000.0 + turn)


def ended(trial: int, turn: int = 1, task: str = "9_0", state: str = "done") -> Ended:
    parameters = {"model.dropout": trial / 10}
    return Ended(
        trial, state, 0.5, 3, 4, 12.0, parameters, task, turn, 2000.0 + turn,  # type: ignore[arg-type]
    )  # fmt: skip


def folded(paths) -> SweepState:
    state = SweepState()
    state.refresh(paths)
    return state


HISTORY: list[Event] = [
    claimed(0), Rung(0, 1, 0.25, 1.0), Rung(0, 3, None, 2.0), ended(0, state="failed"),
    claimed(0, turn=2, task="12_3"), ended(0, turn=2, task="12_3"),
    claimed(1), claimed(1, turn=2, task="12_0"),
    claimed(2), ended(2, state="pruned"),
]  # fmt: skip


@given(st.permutations(HISTORY), st.lists(st.sampled_from(HISTORY), max_size=5))
def test_order_and_repetition_change_nothing(history, again):
    """Logs are read task by task: what came later may be read first."""
    state, in_order = SweepState(), SweepState()
    for event in [*history, *again]:
        state.add(event)
    for event in HISTORY:
        in_order.add(event)

    assert state.trials == in_order.trials
    assert state.rungs == in_order.rungs == {1: {0: 0.25}, 3: {0: None}}
    assert [state.trials[number].state for number in range(3)] == ["done", "running", "pruned"]
    assert state.trials[0].task == "12_3"
    assert state.trials[1].state == "running"
    assert state.has_ended(2)
    assert 3 not in state.trials


def test_only_what_is_new_is_read(paths, monkeypatch):
    append_event(paths.task_log("9_0"), claimed(0))
    state = folded(paths)
    append_event(paths.task_log("9_1"), claimed(1, task="9_1"))
    opened = []

    def noted_open(path, mode, real=open):
        opened.append(path.name)
        return real(path, mode)

    monkeypatch.setattr("builtins.open", noted_open)

    state.refresh(paths)
    state.refresh(paths)

    assert opened == ["9_1.jsonl"]
    assert sorted(state.trials) == [0, 1]


def test_index_is_the_fold(paths):
    work(paths, "9_0", 3)
    append_event(paths.task_log("9_0"), Stopped("the budget is used up", 1.0))
    state = folded(paths)
    state.save_index(paths)
    claims = claims_of(paths, "9_1", 5)
    claims.claim()

    again = SweepState.load_index(paths)

    assert again.trials == state.trials
    again.refresh(paths)
    assert again.trials == folded(paths).trials
    assert sorted(again.trials) == [0, 1, 2, 3]
    assert again.rungs == state.rungs
    assert again.stops == {"9_0.jsonl": "the budget is used up"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff\xfe", b"null", b'{"version": 1}', b"[" * 5000, None, "cut", "next"],
)
def test_broken_index_is_made_again(paths, content):
    work(paths, "9_0", 2)
    state = folded(paths)
    state.save_index(paths)
    whole = paths.index.read_bytes()
    if content == "cut":
        content = whole[: len(whole) // 2]
    if content == "next":
        content = whole.replace(b'"version":1', b'"version":2')
    if content is None:
        paths.index.unlink()
    else:
        paths.index.write_bytes(content)

    again = SweepState.load_index(paths)
    assert again.trials == {}
    again.refresh(paths)

    assert again.trials == state.trials


def test_missing_log_makes_everything_be_read_again(paths):
    work(paths, "9_0", 1)
    work(paths, "9_1", 2)
    state = folded(paths)
    paths.task_log("9_1").unlink()

    state.refresh(paths)

    assert sorted(state.trials) == [0]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_torn_line_is_left_out_and_healed(paths, cut):
    log = paths.task_log("9_0")
    append_event(log, claimed(0))
    whole = log.read_bytes()
    append_event(log, ended(0))
    log.write_bytes(log.read_bytes()[:-cut])
    state = folded(paths)
    assert state.trials[0].state == "running"
    assert state.damaged == set()  # its task may be writing it

    append_event(log, claimed(1))
    state.refresh(paths)

    assert state.trials[1].state == "running"
    if cut == 1:  # the line's end alone was cut off
        assert state.has_ended(0)
        assert state.damaged == set()
    else:
        assert state.trials[0].state == "running"
        assert state.damaged == {DamagedLine("9_0.jsonl", len(whole))}
        (line,) = state.damaged
        assert f"tasks/9_0.jsonl, byte {len(whole)}: this line is not an event" in str(line)
    assert folded(paths).trials == state.trials


def test_line_that_was_taken_back_is_read_again(paths):
    """A full disk takes back a line that somebody has read already; a longer one follows."""
    log = paths.task_log("9_0")
    append_event(log, claimed(0))
    before = log.read_bytes()
    append_event(log, Rung(0, 1, 0.5, 1.0))
    state = folded(paths)

    log.write_bytes(before)
    append_event(log, ended(0))
    append_event(log, claimed(1))
    state.refresh(paths)

    assert state.has_ended(0)
    assert state.trials[1].state == "running"
    log.write_bytes(before)
    state.refresh(paths)
    append_event(log, claimed(2))
    state.refresh(paths)
    assert state.trials[2].state == "running"


lines = st.sampled_from(
    [
        *(word.encode("utf-8", "surrogatepass") for word in WORST),
        b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 5000, b'{"event": "claim"}', b"\0" * 30,
        b'{"event": "claim", "trial": -1, "params": {}, "task": "a", "turn": 1, "time": 1}',
        b'{"event": "end", "trial": "1"}', b'{"event": "later", "trial": 1}',
        b'{"event": "rung", "trial": 1, "epoch": 1, "value": NaN, "time": 1}',
        b'{"event": "rung", "trial": 1e400, "epoch": 1, "value": 1, "time": 1}',
    ]
)  # fmt: skip


@given(st.lists(lines, max_size=6))
def test_hostile_lines_hide_no_other(tmp_path_factory, hostile_lines):
    paths = new_sweep(tmp_path_factory.mktemp("hostile") / "sweep")
    log = paths.task_log("9_0")
    append_event(log, claimed(0))
    with log.open("ab") as stream:
        stream.write(b"".join(line + b"\n" for line in hostile_lines))
    append_event(log, ended(0))

    state = folded(paths)

    assert list(state.trials) == [0]
    assert state.has_ended(0)
    assert bool(state.damaged) == any(line.strip() for line in hostile_lines)


def test_missing_end_is_made_again(paths):
    """Its task died between the result and the log's line."""
    claims = claims_of(paths, "9_0", 3)
    trial = next_trial(claims)
    train(paths, claims, trial)
    state = folded(paths)
    assert state.trials[0].state == "running"

    for event in missing_events(paths, state):
        state.add(event)

    assert state.has_ended(0)
    assert (state.trials[0].value, state.trials[0].epochs) == (0.0, 3)
    assert missing_events(paths, state) == []


def test_missing_claim_is_made_again(paths):
    """The log's line was lost with a full disk; the trial's folder knows the parameters."""
    claims = claims_of(paths, "9_0", 3)
    claims.claim()
    paths.task_log("9_0").write_bytes(b'{"event": "clai')
    paths.claim(1).symlink_to("9_1")  # killed right after its claim: nothing is known but that
    state = folded(paths)
    assert state.trials == {}

    for event in missing_events(paths, state):
        state.add(event)

    assert list(state.trials) == [0]
    assert state.trials[0].params == {"model.dropout": 0.0}
    assert state.trials[0].state == "running"


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"state": "running"},
        {"state": "done", "value": "x"},
        {"state": ["done"]},
        {"state": "done", "test": {"accuracy": 0.9}},  # the trainer's: the launcher adds a value
    ],
)
def test_result_without_an_end_is_no_end(paths, result):
    claims = claims_of(paths, "9_0", 3)
    claims.claim()
    write_json(paths.result(0), result)

    assert missing_events(paths, folded(paths)) == []


def test_value_that_is_not_finite_is_noted_as_none(paths):
    claims = claims_of(paths, "9_0", 3)
    trial = next_trial(claims)
    claims.note_rung(0, 1, float("nan"))
    paths.result(0).write_text('{"state": "failed", "value": Infinity}')
    claims.finish(trial)

    state = folded(paths)

    assert state.rungs == {1: {0: None}}
    assert (state.trials[0].state, state.trials[0].value) == ("failed", None)
    for line in paths.task_log("9_0").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
