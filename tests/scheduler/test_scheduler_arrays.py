"""Job arrays: ids of tasks there and back, and arrays that the limits allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.scheduler.arrays import (
    LARGEST_INDEX,
    ArrayLimits,
    Piece,
    TaskIds,
    expression_of,
    parse_task_ids,
    parse_tasks,
    split,
)
from tests.hostile import WORST

indices = st.integers(0, 2000) | st.integers(0, LARGEST_INDEX)
limit = st.none() | st.integers(1, 3000)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("123", TaskIds("123")),
        ("123_4", TaskIds("123", (4,))),
        ("354_[2-5%2]", TaskIds("354", (2, 3, 4, 5), 2)),
        ("123_[4-6,12%2]", TaskIds("123", (4, 5, 6, 12), 2)),
        ("4_[1%1]", TaskIds("4", (1,), 1)),
        ("123_[0-12:4]", TaskIds("123", (0, 4, 8, 12))),
        ("123_[1,3,5,...]", TaskIds("123", (1, 3, 5), None, False)),
        ("123_[1,3,5,...%7]", TaskIds("123", (1, 3, 5), 7, False)),
        ("123_[0-3%0]", TaskIds("123", (0, 1, 2, 3))),
    ],
)
def test_ids_as_slurm_prints_them(text, ids):
    assert parse_task_ids(text) == ids


def test_task_is_among_its_array():
    ids = parse_task_ids("123_[4-6%2]")

    assert "123_4" in ids
    assert "123_7" not in ids
    assert "124_4" not in ids
    assert "123_" not in ids
    assert "123" not in ids
    assert "123" in parse_task_ids("123")


@given(st.sets(indices, min_size=1, max_size=60), st.none() | st.integers(1, 500))
def test_expression_there_and_back(tasks, at_once):
    expression = expression_of(tasks, at_once)

    assert parse_tasks(expression) == (tuple(sorted(tasks)), at_once, True)
    assert parse_task_ids(f"7_[{expression}]") == TaskIds("7", tuple(sorted(tasks)), at_once)


def test_neighbours_are_one_range():
    assert expression_of([6, 4, 5, 12, 10, 9]) == "4-6,9-10,12"


@given(st.text(max_size=40) | st.sampled_from(WORST) | st.text("0123456789-_,%:[].", max_size=20))
def test_hostile_ids_are_refused_in_words(text):
    try:
        ids = parse_task_ids(text)
    except ValueError as error:
        assert "expected" in str(error)
    else:
        assert text.startswith(ids.job_id)
        assert ids.job_id.isascii()


@pytest.mark.parametrize(
    "text", ["123_[]", "123_[5-4]", "123_[0-4:0]", "12_[4000001]", "1_[1%]", "1_[1,,2]", "1+0", "٣"]
)
def test_malformed_ids_are_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_task_ids(text)


@pytest.mark.parametrize("tasks", [[], [-1], [LARGEST_INDEX + 1]])
def test_impossible_tasks_have_no_expression(tasks):
    with pytest.raises(ValueError, match=r"at least one task|not a task's number"):
        expression_of(tasks)


@given(st.integers(1, 20_000), st.integers(1, 300), limit, limit, limit)
def test_split_keeps_every_limit(tasks, at_once, size, submitted, longest):
    limits = ArrayLimits(size, submitted, longest)

    answer = split(tasks, at_once, limits)

    lengths = [piece.tasks for piece in answer.pieces]
    assert sum(lengths) + answer.left_over == tasks
    assert sum(lengths) <= (submitted or tasks)
    assert all(1 <= length <= min(size or tasks, longest or tasks) for length in lengths)
    assert max(lengths) - min(lengths) <= 1
    throttles = [piece.at_once for piece in answer.pieces]
    assert all(1 <= throttle <= length for throttle, length in zip(throttles, lengths, strict=True))
    assert sum(throttles) <= at_once
    for piece in answer.pieces:
        numbers, _, _ = parse_tasks(piece.expression)
        assert numbers == tuple(range(piece.tasks))


def test_split_around_max_array_size():
    answer = split(2500, 8, ArrayLimits(max_array_size=1001))

    assert answer.pieces == (Piece(834, 3), Piece(833, 3), Piece(833, 2))
    assert answer.pieces[0].expression == "0-833%3"
    assert answer.left_over == 0


def test_max_jobs_only_throttles():
    """It keeps no task out of the queue; SLURM starts no more than it allows."""
    answer = split(30, 8, ArrayLimits(max_running=3))

    assert (answer.pieces, answer.left_over) == ((Piece(30, 3),), 0)
    answer = split(3000, 8, ArrayLimits(max_array_size=1001, max_running=2))
    assert (answer.pieces, answer.left_over) == ((Piece(1000, 1),) * 3, 0)


def test_workers_that_all_run_at_once_need_no_throttle():
    assert split(8, 8, ArrayLimits(1001)).pieces[0].expression == "0-7"


def test_nothing_may_be_submitted():
    answer = split(10, 2, ArrayLimits(max_submitted=0))

    assert answer.pieces == ()
    assert answer.left_over == 10


@pytest.mark.parametrize(
    ("tasks", "at_once", "limits"),
    [(0, 1, ArrayLimits()), (1, 0, ArrayLimits()), (1, 1, ArrayLimits(0))],
)
def test_split_of_nothing_is_refused(tasks, at_once, limits):
    with pytest.raises(ValueError, match=r"at least 1|switched off"):
        split(tasks, at_once, limits)
