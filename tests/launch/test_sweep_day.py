"""A short day of a sweep: workers are killed, lost and warned at random, and every trial ends once."""

from __future__ import annotations

import os

import pytest
from sweep_day import Day, audit, simulate

from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.launch.trials import Worker
from hpcdl.sweeps.claims import Claims


def test_every_trial_ends_once(tmp_path):
    day = Day(tmp_path, trials=300, workers=12, minute_s=0.002, faults_per_hour=12)

    simulate(day)

    assert audit(day) == []
    assert day.faults["killed"] > 0
    assert day.faults["lost"] > 0


@pytest.mark.parametrize("was_offered", [False, True], ids=["claimed", "taken"])
def test_task_stopped_before_it_goes_on(tmp_path, was_offered):
    """It is requeued: the trial of its life before is in its hands alone."""
    day = Day(tmp_path, trials=1, workers=1, minute_s=0.001, faults_per_hour=1)
    os.symlink("local_0", day.paths.claim(0))
    if was_offered:
        day.paths.taken_offer(0, "local_0").touch()
    day.paths.task_stop("local_0").touch()

    worker = Worker(day.paths, day.settings, "local_0", "local_0")
    assert worker.run() == EXIT_STOPPED


def test_claims_without_exclusive_links_are_noticed(tmp_path, monkeypatch):
    """The day's audit can fail: here a trial that has an owner is taken all the same."""

    def take(claims, number):
        path = claims._paths.claim(number)
        aside = path.with_name(f".{number}.{claims._key}")
        os.symlink(claims._key, aside)
        os.replace(aside, path)
        return True

    monkeypatch.setattr(Claims, "_link", take)
    day = Day(tmp_path, trials=12, workers=6, minute_s=0.002, faults_per_hour=0.001)

    simulate(day)

    assert any("twice" in problem or "ended" in problem for problem in audit(day))
