"""What a run cost and what to ask for next: from attempts and accounting, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hpcdl.run.cost import Ending, cost_of
from hpcdl.run.next_request import Needs, percentile, suggested_time_s, suggestion
from hpcdl.run.records import AttemptEvent
from hpcdl.run.usage import Request, Turn, Usage, queue_s, turns_of
from hpcdl.scheduler.accounting import JobRecord

GIB_KIB = 1024**2
REQUEST = Request(gpus=2, cpus=10, memory_gb=40.0, time_limit_s=3600, names_memory=True)
TURN = Turn(1, "7", started=100.0, seconds=1800.0, reason="done")
USAGE = Usage(REQUEST, [TURN], queue_s=5.0, job_ids=["7"])
RECORD = JobRecord(
    "7",
    "COMPLETED",
    elapsed_s=1802,
    time_limit_s=3600,
    cpus=10,
    gpus=2,
    cpu_s=3604.0,
    asked_memory_kib=40.0 * GIB_KIB,
    used_memory_kib=4.0 * GIB_KIB,
    eligible=90.0,
    start=99.0,
)
DONE = Ending("done")


def start(number, at, job_id="7"):
    return AttemptEvent("start", attempt=number, time=at, job_id=job_id)


def end(number, at, seconds=None, reason="done"):
    return AttemptEvent("end", attempt=number, time=at, seconds=seconds, reason=reason)


def test_hours_of_own_files():
    """At once, and without SLURM."""
    cost = cost_of(USAGE, None, DONE, "sacct is not on this machine")

    assert cost.gpu_hours == 1.0
    assert cost.cpu_hours == 5.0
    assert cost.queue_s == 5.0
    assert cost.time is not None
    assert cost.time.efficiency == 0.5
    assert (cost.cpu, cost.memory, cost.energy_j) == (None, None, None)
    assert cost.unknown[0].endswith("sacct is not on this machine")


def test_all_nodes_count():
    usage = replace(USAGE, request=replace(REQUEST, nodes=3))

    assert usage.gpu_hours == 3.0
    assert usage.cpu_hours == 15.0


def test_shares_of_accounting():
    cost = cost_of(USAGE, [RECORD], DONE)

    assert cost.cpu is not None
    assert cost.cpu.efficiency == pytest.approx(0.2)
    assert cost.memory is not None
    assert cost.memory.efficiency == pytest.approx(0.1)
    assert cost.queue_s == 9.0
    assert cost.unknown == ("the use of the GPUs is not known: this SLURM does not measure it",)


def test_requeued_attempts_add_up():
    again = replace(RECORD, elapsed_s=902, cpu_s=9020.0, eligible=200.0, start=230.0)
    first = replace(RECORD, state="REQUEUED")
    usage = replace(USAGE, turns=[TURN, replace(TURN, number=2, seconds=900.0)])

    cost = cost_of(usage, [first, again], DONE)

    assert cost.gpu_hours == 1.5
    assert cost.queue_s == 39.0
    assert cost.cpu is not None
    assert cost.cpu.efficiency == pytest.approx((3604 + 9020) / (10 * (1802 + 902)))


def test_energy_only_where_measured():
    assert cost_of(USAGE, [RECORD], DONE).energy_j is None
    assert cost_of(USAGE, [replace(RECORD, energy_j=5.0), RECORD], DONE).energy_j == 5.0


def test_reason_for_each_missing_figure():
    runs = replace(RECORD, state="RUNNING", cpu_s=None, used_memory_kib=None)
    short = replace(RECORD, elapsed_s=0)
    rarely = replace(RECORD, used_memory_kib=None)
    large = replace(USAGE, turns=[replace(TURN, peak_memory_gb=0.5)])

    assert "when an attempt has ended" in cost_of(USAGE, [runs], Ending("running")).unknown[0]
    assert "less than a second" in cost_of(USAGE, [short], DONE).unknown[0]
    assert "not heard of its job yet" in cost_of(USAGE, [], DONE).unknown[0]
    assert "SLURM looked at its job too seldom" in cost_of(large, [rarely], DONE).unknown[0]
    assert "without SLURM" in cost_of(replace(USAGE, is_local=True), None, DONE).unknown[0]


def test_largest_process_beats_rare_looks():
    usage = replace(USAGE, turns=[replace(TURN, peak_memory_gb=6.0)])

    memory = cost_of(usage, [RECORD], DONE).memory

    assert memory is not None
    assert (memory.used, memory.asked) == (6.0, 40.0)


def test_run_that_has_not_started():
    cost = cost_of(Usage(REQUEST), [], Ending("queued"))

    assert (cost.gpu_hours, cost.time, cost.unknown) == (0.0, None, ())


def test_unwritten_end_by_accounting():
    """launch was killed: SLURM knows when."""
    lost = replace(TURN, seconds=10.0, is_measured=False)

    cost = cost_of(replace(USAGE, turns=[lost]), [RECORD], Ending("lost"))

    assert cost.gpu_hours == pytest.approx(2 * (99 + 1802 - 100) / 3600)
    assert not any("nobody wrote down" in sentence for sentence in cost.unknown)


def test_unwritten_end_by_last_sign():
    events = [start(1, 100.0), end(1, 90_000.0, reason="killed"), start(2, 90_000.0)]

    turns = turns_of(events, now=90_060.0, last_sign=lambda number: 160.0, time_limit_s=3600)

    assert [(turn.seconds, turn.is_measured) for turn in turns] == [(60.0, False), (60.0, True)]


def test_unwritten_end_within_time_limit():
    turns = turns_of([start(1, 100.0)], None, lambda number: 90_000.0, 3600)

    assert turns[0].seconds == 3600.0


def test_later_record_of_an_attempt_counts():
    events = [start(1, 0.0), end(1, 9.0, 9.0, "terminated"), end(1, 20.0, 9.0, "preempted")]

    (turn,) = turns_of(events, None, lambda number: 0.0, 60)

    assert turn.reason == "preempted"


def test_queue_by_own_files():
    events = [start(1, 130.0), end(1, 200.0, 70.0), start(2, 260.0)]
    resumed = [*events, end(2, 300.0), AttemptEvent("resumed", time=1000.0), start(3, 1005.0)]

    assert queue_s(events, 100.0) == 90.0
    assert queue_s(resumed, 100.0) == 95.0
    assert queue_s([], 100.0) == 0.0


def test_next_request_of_one_run():
    needed = cost_of(USAGE, [RECORD], DONE).needs

    wanted = suggestion(REQUEST, [needed])

    assert (wanted.time_s, wanted.memory_gb, wanted.cpus) == (45 * 60, 5, 3)
    assert wanted.notes == ()


def test_run_out_of_memory_needs_more():
    """What was measured before the kill is not what it needed."""
    killed = replace(RECORD, state="OUT_OF_MEMORY")
    failed = Ending("failed", "out_of_memory")

    by_slurm = cost_of(USAGE, [killed], Ending("failed")).needs
    by_launch = cost_of(USAGE, None, failed).needs

    assert suggestion(REQUEST, [by_slurm]).memory_gb == 50
    assert suggestion(REQUEST, [by_launch]).memory_gb == 50


def test_run_at_time_limit_needs_all():
    usage = replace(
        USAGE,
        turns=[replace(TURN, seconds=3500.0, reason="time_limit"), replace(TURN, seconds=1000.0)],
    )

    assert suggestion(REQUEST, [cost_of(usage, None, DONE).needs]).time_s == 90 * 60


def test_failed_run_tells_no_time():
    wanted = suggestion(REQUEST, [cost_of(USAGE, [RECORD], Ending("failed")).needs])

    assert wanted.time_s is None
    assert "no run of it shows how long it takes" in wanted.notes[0]


def test_memory_that_comes_with_cpus():
    """Fewer CPUs would take the memory away: 4 GB each, and 15 GB were used."""
    request = replace(REQUEST, names_memory=False)

    wanted = suggestion(request, [Needs(60.0, memory_gb=15.0, busy_cpus=1.0)])
    unknown = suggestion(request, [Needs(60.0, memory_gb=None, busy_cpus=1.0)])

    assert (wanted.memory_gb, wanted.cpus) == (None, 5)
    assert unknown.cpus is None
    assert "its use is not known" in unknown.notes[0]


@given(
    seconds=some.lists(some.floats(0, 1e6), min_size=1, max_size=60),
    memory_gb=some.floats(0.001, 500),
    busy=some.floats(0.001, 200),
)
def test_never_below_what_was_used(seconds, memory_gb, busy):
    needs = [Needs(each, memory_gb, busy) for each in seconds]

    wanted = suggestion(replace(REQUEST, cpus=128), needs)

    assert wanted.time_s is not None
    assert wanted.memory_gb is not None
    assert wanted.cpus is not None
    assert wanted.time_s >= max(seconds)
    assert wanted.time_s % 900 == 0
    assert wanted.memory_gb >= memory_gb
    assert wanted.cpus >= min(busy, 128)


def test_slowest_of_many_has_no_room():
    """Of 40 runs, two were twice as slow: theirs is enough, without room above it."""
    assert suggested_time_s([3600.0] * 38 + [7100.0, 7200.0]) == 7200
    assert suggested_time_s([3600.0] * 3) == 4500
    assert percentile(list(range(1, 101)), 0.95) == 95
