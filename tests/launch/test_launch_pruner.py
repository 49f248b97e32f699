"""The pruner: it notes each rung of a trial, asks poor trials to stop, and sees that a metric is missing."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import pytest

from hpcdl.files import append_json_line, read_json
from hpcdl.launch.pruner import Pruner
from hpcdl.sweeps.settings import SweepSettings
from tests.sweeps.conftest import claims_of, new_sweep

ASHA = SweepSettings(
    name="a",
    over={"model.dropout": "0..0.9"},
    method="asha",
    metric="val_accuracy",
    direction="maximize",
    trials=9,
    epochs=9,
)


class _Plan:
    program = None  # not a script


@pytest.fixture
def paths(tmp_path):
    return new_sweep(tmp_path / "sweep")


def trained(paths, claims, values, settings=ASHA):
    """A trial's pruner after an epoch for each of the values."""
    trial = claims.claim()
    run = paths.trial_run(trial.number)
    (run.root / "run.json").write_text("{}")
    pruner = Pruner(settings, claims, trial.number, run, cast(Any, _Plan()))
    for epoch, value in enumerate(values, 1):
        append_json_line(run.metrics, {"epoch": epoch, "seconds": 1.0, "val_accuracy": value})
    return trial, run, pruner


def test_poor_trial_is_asked_to_stop(paths):
    for number, value in enumerate((0.9, 0.8, 0.7)):
        claims = claims_of(paths, f"1_{number}", 9)
        _, run, pruner = trained(paths, claims, [value])
        pruner.look(0.0, 0)
        claims.note_rung(number, 1, value)

    assert read_json(run.stop) == {"reason": "pruned", "rung": 1}
    assert not paths.trial_run(0).stop.exists()


def test_lower_is_better_for_losses(paths):
    settings = SweepSettings(
        name="a",
        over=ASHA.over,
        method="asha",
        metric="val_accuracy",
        direction="minimize",
        trials=9,
        epochs=9,
    )
    runs = []
    for number, value in enumerate((0.3, 0.2, 0.1)):
        claims = claims_of(paths, f"1_{number}", 9)
        _, run, pruner = trained(paths, claims, [value], settings)
        pruner.look(0.0, 0)
        runs.append(run)

    assert [run.stop.exists() for run in runs] == [False, False, False]
    claims = claims_of(paths, "1_3", 9)
    _, run, pruner = trained(paths, claims, [0.9], settings)
    pruner.look(0.0, 0)
    assert run.stop.exists()


def test_diverged_trial_is_pruned(paths):
    claims = claims_of(paths, "1_0", 9)
    trial, run, pruner = trained(paths, claims, [math.nan])

    pruner.look(0.0, 0)

    assert read_json(run.stop) == {"reason": "pruned", "rung": 1}
    claims.state.refresh(paths)
    assert claims.state.rungs == {1: {trial.number: None}}


def test_quick_trial_notes_rungs(paths):
    """It has ended before the first look: others are compared with it all the same."""
    claims = claims_of(paths, "1_0", 9)
    trial, run, pruner = trained(paths, claims, [0.1, 0.2, 0.3, 0.4])

    pruner.note_rungs()

    claims.state.refresh(paths)
    assert claims.state.rungs == {1: {trial.number: 0.1}, 3: {trial.number: 0.3}}
    assert not run.stop.exists()


def test_missing_metric_stops_trial(paths):
    claims = claims_of(paths, "1_0", 9)
    _, run, pruner = trained(paths, claims, [])
    append_json_line(run.metrics, {"epoch": 1, "seconds": 1.0, "loss": 0.5})

    pruner.look(0.0, 0)

    assert json.loads(run.stop.read_text()) == {"reason": "no_metric"}
