"""Workers killed at each of their file operations in turn: nothing is lost, nothing is twice."""

from __future__ import annotations

import os

import pytest

from hpcdl.sweeps.claims import offer
from hpcdl.sweeps.state import SweepState
from tests.sweeps.conftest import check_accounted_for, in_child, new_sweep, status_of, work

OPERATIONS = (
    "open", "symlink", "write", "fsync", "rename", "replace", "unlink", "mkdir", "chmod",
    "ftruncate", "close",
)  # fmt: skip
KILLED, SURVIVED = 137, 0
BUDGET = 2


def die_at(operation_number: int) -> None:
    """End this process before its n-th file operation, as SIGKILL would; some writes are torn."""
    count = 0

    def hooked(name, real):
        def operation(*arguments, **options):
            nonlocal count
            count += 1
            if count == operation_number:
                if name == "write" and operation_number % 2:
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os._exit(KILLED)
            return real(*arguments, **options)

        return operation

    for name in OPERATIONS:
        setattr(os, name, hooked(name, getattr(os, name)))


def victim(paths, key, operation_number):
    die_at(operation_number)
    work(paths, key, BUDGET)


def failed_sweep(root):
    """A sweep whose trial 0 has failed in another task and is offered again."""
    paths = new_sweep(root)
    assert status_of(in_child(lambda: work(paths, "8_0", BUDGET, most=1))) == 0
    for path in (paths.result(0), paths.task_log("8_0")):
        path.write_text(path.read_text().replace('"done"', '"failed"'))
    (paths.trial(0) / "metrics.jsonl").write_text('{"epoch": 1, "value": 0.0}\n')
    offer(paths, 0)
    return paths


@pytest.mark.parametrize("make", [new_sweep, failed_sweep])
def test_killed_at_each_operation(tmp_path, make):
    for operation_number in range(1, 1000):
        paths = make(tmp_path / str(operation_number))
        status = status_of(in_child(lambda: victim(paths, "9_0", operation_number)))  # noqa: B023
        assert status in (KILLED, SURVIVED)
        for key, most in (("9_1", 1), ("9_0", 1000), ("9_1", 1000)):
            assert status_of(in_child(lambda: work(paths, key, BUDGET, most))) == 0  # noqa: B023
        check_accounted_for(paths, BUDGET)
        if status == SURVIVED:
            assert operation_number > 40
            return


def test_killed_twice_at_each_operation(tmp_path):
    """The task that comes back is killed, too, where it settles what its first life left."""
    for operation_number in range(1, 40):
        paths = failed_sweep(tmp_path / str(operation_number))
        for _ in range(2):
            status_of(in_child(lambda: victim(paths, "9_0", operation_number)))  # noqa: B023
        assert status_of(in_child(lambda: work(paths, "9_0", BUDGET))) == 0  # noqa: B023
        check_accounted_for(paths, BUDGET)


def test_dead_taker_of_an_offer_is_replaced(tmp_path):
    """A task took an offer and never comes back: the trial is offered once more."""
    for operation_number in range(1, 20):
        paths = failed_sweep(tmp_path / str(operation_number))
        status_of(in_child(lambda: victim(paths, "9_0", operation_number)))  # noqa: B023
        state = SweepState()
        state.refresh(paths)
        for number in paths.claimed_numbers():
            if paths.owner(number) in ("8_0", "9_0") and not state.has_ended(number):
                offer(paths, number)
        if not state.has_ended(0) or state.trials[0].state == "failed":
            offer(paths, 0)
        assert status_of(in_child(lambda: work(paths, "9_1", BUDGET))) == 0  # noqa: B023
        check_accounted_for(paths, BUDGET)
