"""Faults of all kinds that this machine lets happen, at seeded moments; benchmarks/chaos.py makes many more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from chaos import possible, set_stage, torment
from faults import KINDS
from victim import LossError, Shape, Victim

pytestmark = pytest.mark.tensorflow

FAULTS = {
    "plain": [
        ("trainer killed", "starting"),
        ("trainer terminated", "saving"),
        ("checkpoint torn", "training"),
        ("stop file", "training"),
        ("all terminated", "training"),
        ("all killed", "saving"),
        ("launcher killed", "evaluating"),
    ],
    "disk": [
        ("no inodes", "training"),
        ("read-only for long", "training"),
        ("killed on full disk", "training"),
        ("disk full", "saving"),
        ("read-only", "training"),
        ("full for long", "training"),
    ],
    "quota": [("over quota", "training"), ("over quota", "evaluating")],
    "limit": [("time limit", "training")],
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A run to which nothing happens."""
    return set_stage(tmp_path_factory.mktemp("chaos"), Shape(epochs=6, steps=60, save_every=15))


def test_every_fault_loses_nothing(stage):
    kinds = possible(list(KINDS), stage.folder, container=False)
    plans = {
        setting: [(KINDS[n], m) for n, m in faults if KINDS[n] in kinds]
        for setting, faults in FAULTS.items()
    }
    chosen = [
        setting
        for setting, plan in plans.items()
        if plan and (setting in ("plain", "limit") or len(plan) > 1)
    ]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(
            pool.map(lambda s: torment(stage, s, s, plans[s], Random(f"1 {s}")), chosen)
        )
    assert [outcome.lost for outcome in outcomes] == [""] * len(outcomes)
    happened = [fault.kind.name for outcome in outcomes for fault in outcome.faults]
    assert set(happened) == {kind.name for kind in kinds}
    assert len(happened) >= sum(map(len, plans.values())) - 3  # one that comes too late is left out


def test_done_run_is_not_resumed(stage):
    done = Victim(stage.folder / "reference", stage.shape, stage.folder / "reference/runs")
    with pytest.raises(LossError, match=r"hpcdl resume ended with 2: .*it is done"):
        done.hpcdl("resume", next(done.runs.glob("victim/*")))
