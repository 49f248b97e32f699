"""Claims: each trial for one task, whoever races, whatever the disk does."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections import Counter
from functools import partial

import pytest

from hpcdl.errors import RunError
from hpcdl.files import read_json, write_json
from hpcdl.sweeps.claims import offer
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.state import SweepState
from tests.sweeps.conftest import (
    all_events,
    check_accounted_for,
    claims_of,
    in_child,
    new_sweep,
    next_trial,
    status_of,
    train,
    work,
)

WORKERS = 20


def race(function) -> list[int]:
    """The exit statuses of 20 processes that begin at the same moment; each gets its number."""
    read_end, write_end = os.pipe()

    def wait_and_run(worker):
        os.close(write_end)
        os.read(read_end, 1)  # until the parent closes its end
        function(worker)

    processes = [in_child(partial(wait_and_run, worker)) for worker in range(WORKERS)]
    os.close(read_end)
    os.close(write_end)
    return [status_of(process) for process in processes]


def test_race_for_new_trials(paths):
    statuses = race(lambda worker: work(paths, f"9_{worker}", budget=50))

    assert statuses == [0] * WORKERS
    check_accounted_for(paths, 50)


def test_race_for_offered_trials(paths):
    """20 tasks for 5 trials of tasks that are gone: each is taken once, with its parameters."""
    for number in range(5):
        claims_of(paths, f"8_{number}", 5).claim()
    for number in range(5):
        offer(paths, number)

    statuses = race(lambda worker: work(paths, f"9_{worker}", budget=5))

    assert statuses == [0] * WORKERS
    check_accounted_for(paths, 5)
    assert Counter(row["turn"] for row in all_events(paths, "claim")) == {1: 5, 2: 5}
    assert all(str(row["task"]).startswith("9_") for row in all_events(paths, "end"))


def test_budget_is_exact(paths):
    claims = claims_of(paths, "9_0", 1)
    trial = next_trial(claims)

    assert claims_of(paths, "9_1", 1).claim() is None
    assert next_trial(claims_of(paths, "9_1", 2)).number == 1
    train(paths, claims, trial)
    claims.finish(trial)
    assert claims.claim() is None


def test_trial_in_hand_is_the_next_one_again(paths):
    """An attempt ended without a result: the task goes on with the same trial."""
    claims = claims_of(paths, "9_0", 3)
    trial = next_trial(claims)

    assert claims.claim() == trial
    assert claims_of(paths, "9_0", 3).claim() == trial
    assert len(all_events(paths, "claim")) == 1


def test_number_that_is_free_in_the_middle_is_claimed(paths):
    work(paths, "9_0", 2)
    paths.claim(3).symlink_to("9_5")
    claims = claims_of(paths, "9_1", 5)

    assert next_trial(claims).number == 2


def test_stale_listing_costs_a_try_alone(paths, monkeypatch):
    work(paths, "9_0", 3)
    monkeypatch.setattr(SweepPaths, "claimed_numbers", lambda self: [0])

    assert next_trial(claims_of(paths, "9_1", 5)).number == 3


def test_link_that_was_made_without_an_answer_is_its_own(paths, monkeypatch):
    """A file server that is asked twice says that the link exists."""

    def symlink(target, link, real=os.symlink):
        real(target, link)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), link)

    monkeypatch.setattr(os, "symlink", symlink)

    assert next_trial(claims_of(paths, "9_0", 5)).number == 0


def test_stop_lets_own_trials_go_on(paths):
    claims = claims_of(paths, "9_0", 5)
    trial = next_trial(claims)
    paths.stop.touch()

    assert claims_of(paths, "9_1", 5).claim() is None
    assert claims.claim() == trial
    paths.cancelled.touch()
    assert claims.claim() is None


def test_task_that_comes_back_leaves_what_was_taken(paths):
    """Its trial was offered again, as SLURM had called it lost, and another task has it."""
    claims_of(paths, "8_0", 5).claim()
    offer(paths, 0)
    taker = claims_of(paths, "9_0", 5)
    assert next_trial(taker).number == 0

    assert next_trial(claims_of(paths, "8_0", 5)).number == 1


def test_living_task_leaves_what_was_taken(paths):
    claims = claims_of(paths, "8_0", 5)
    next_trial(claims)
    offer(paths, 0)
    assert next_trial(claims_of(paths, "9_0", 5)).number == 0

    assert next_trial(claims).number == 1


def test_task_that_comes_back_leaves_what_is_being_taken(paths):
    """The other task is between the rename and its own link."""
    claims_of(paths, "8_0", 5).claim()
    offer(paths, 0)
    os.rename(paths.offer(0), paths.taken_offer(0, "9_0"))

    assert next_trial(claims_of(paths, "8_0", 5)).number == 1
    assert next_trial(claims_of(paths, "9_0", 5)).number == 0


def test_offered_again_after_a_failure(paths):
    """The end of the turn before no longer counts; the parameters and epochs stay."""
    claims = claims_of(paths, "8_0", 1)
    trial = next_trial(claims)
    write_json(paths.result(0), {"state": "failed", "value": None})
    claims.finish(trial)
    assert claims.claim() is None
    offer(paths, 0)
    offer(paths, 0)

    again = next_trial(claims)

    assert (again.number, again.turn, again.params) == (0, 2, trial.params)
    assert not paths.result(0).exists()
    train(paths, claims, again)
    claims.finish(again)
    check_accounted_for(paths, 1)
    assert [row["state"] for row in all_events(paths, "end")] == ["failed", "done"]


def test_lost_trial_file_is_made_from_the_log(paths):
    claims = claims_of(paths, "9_0", 5)
    before = next_trial(claims)
    paths.trial_file(0).write_text('{"number": 0, "par')

    trial = next_trial(claims_of(paths, "9_0", 5))

    assert (trial.params, trial.turn) == (before.params, 1)
    assert (read_json(paths.trial_file(0)) or {})["params"] == before.params


def test_end_is_noted_once(paths):
    claims = claims_of(paths, "9_0", 5)
    trial = next_trial(claims)
    train(paths, claims, trial)

    claims.finish(trial)
    claims.finish(trial)

    assert len(all_events(paths, "end")) == 1


def test_task_that_died_after_the_result_notes_the_end_alone(paths):
    claims = claims_of(paths, "9_0", 5)
    train(paths, claims, next_trial(claims))

    assert next_trial(claims_of(paths, "9_0", 5)).number == 1
    assert [row["trial"] for row in all_events(paths, "end")] == [0]


def test_finish_without_a_result_is_refused(paths):
    claims = claims_of(paths, "9_0", 5)
    trial = next_trial(claims)

    with pytest.raises(RunError, match=r"result\.json: missing or without the end"):
        claims.finish(trial)


@pytest.mark.parametrize("key", ["", ".", "../x", "a/b", "a b", "9_0\n", "x" * 101])
def test_key_that_is_not_a_file_name_is_refused(paths, key):
    with pytest.raises(ValueError, match="is not a task's key"):
        claims_of(paths, key, 5)


def test_foreign_files_are_not_trials(paths):
    for folder in (paths.claims, paths.open):
        for name in ("x", ".00001", "1", "000001", "00001~", "-0001"):
            (folder / name).touch()

    assert paths.claimed_numbers() == []
    assert paths.offered_numbers() == []
    assert paths.taken_offers() == []
    assert next_trial(claims_of(paths, "9_0", 5)).number == 0


def test_more_than_99_999_trials(paths):
    number = 100_000
    paths.claim(number).symlink_to("9_0")

    assert paths.claimed_numbers() == [number]
    assert paths.owner(number) == "9_0"
    assert paths.owner(7) is None


def work_on_a_full_disk(paths, size):
    """Work where no file may grow above a size; the disk's errors end the task, as they should."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        work(paths, "9_0", budget=3)
    except OSError as error:
        assert error.errno in (errno.EFBIG, errno.ENOSPC)
        assert error.filename is not None
        os._exit(74)


def test_full_disk_is_one_tasks_trouble(paths, tmp_path):
    """At whatever size the disk is full: other tasks go on, and this one when there is room."""
    statuses = []
    for size in range(0, 2700, 90):
        paths = new_sweep(tmp_path / str(size))
        statuses.append(status_of(in_child(lambda: work_on_a_full_disk(paths, size))))  # noqa: B023
        for log in paths.tasks.iterdir():
            assert log.read_bytes()[-1:] in (b"", b"\n")
        assert status_of(in_child(lambda: work(paths, "9_1", 3, most=1))) == 0  # noqa: B023
        assert status_of(in_child(lambda: work(paths, "9_0", 3))) == 0  # noqa: B023
        check_accounted_for(paths, 3)
        state = SweepState()
        state.refresh(paths)
        assert state.damaged == set()
    assert statuses[0] == 74
    assert statuses[-1] == 0
    assert set(statuses) == {0, 74}
