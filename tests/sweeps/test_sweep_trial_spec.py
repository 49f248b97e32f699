"""A trial's run.json: what it takes from the sweep's job."""

from __future__ import annotations

import pytest

from hpcdl.contract.spec import DataSpec, DeviceSpec, MlpSpec, RunSpec, TrainSpec
from hpcdl.sweeps.trial_spec import trial_spec

JOB = "name: a\ndata: {path: /data.npz}\nmodel: {name: mlp}\n"
BASE = RunSpec(
    "a", DataSpec(path="/data.npz"), MlpSpec(), TrainSpec(), DeviceSpec(), "0", export=["int8"]
)


@pytest.mark.parametrize(
    ("section", "explain"),
    [
        ("", "none"),
        ("test: {attack: [0.1]}\n", "none"),
        ("test: {explain: saliency}\n", "saliency"),
    ],
)
def test_trial_makes_maps_only_if_asked(section, explain):
    trial = trial_spec(BASE, JOB + section, {"train.epochs": 7}, "/data")

    assert trial.test.explain == explain
    assert trial.train.epochs == 7
    assert trial.export == []
    assert trial.test.attack == ([0.1] if "attack" in section else [])
