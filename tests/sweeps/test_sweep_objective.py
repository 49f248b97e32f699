"""What a trial has reached, by what odd scripts write."""

from __future__ import annotations

import pytest

from hpcdl.sweeps.objective import objective_of
from hpcdl.sweeps.settings import SweepSettings
from tests.sweeps.finished import claim, make_sweep


@pytest.mark.parametrize("epoch", ["-1", "1e300", "1" + "0" * 40])
def test_odd_epoch_is_no_epoch(tmp_path, epoch):
    paths = make_sweep(tmp_path / "sweep")
    claim(paths, 0, {})
    paths.trial_run(0).metrics.write_text(f'{{"epoch": {epoch}, "val_accuracy": 0.5}}\n')

    objective = objective_of(SweepSettings.read(paths), paths.trial_run(0))

    assert (objective.value, objective.epoch) == (0.5, None)
