"""Pruning, distillation and adversarial training: what a job file may say, and the reasons why it may not."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from hpcdl.contract.checks import spec_problems
from hpcdl.contract.spec import (
    AdversarialSpec,
    DataSpec,
    DeviceSpec,
    DistillSpec,
    MlpSpec,
    PruneSpec,
    RunSpec,
    TrainSpec,
)


def run_of(**train):
    return RunSpec("a", DataSpec(path="x"), MlpSpec(), TrainSpec(**train), DeviceSpec(), "0")


@pytest.mark.parametrize(
    ("train", "key", "expected"),
    [
        ({"prune": PruneSpec(1)}, "prune.sparsity", "< 1"),
        ({"prune": PruneSpec(0)}, "prune.sparsity", "> 0"),
        ({"prune": PruneSpec(0.5, 0.8, 0.8)}, "prune.begin", "less than end, which is 0.8: "),
        ({"prune": PruneSpec(0.5, 0.2, 1.5)}, "prune.end", "<= 1"),
        ({"adversarial": AdversarialSpec(0)}, "adversarial.epsilon", "> 0"),
        ({"adversarial": AdversarialSpec(8)}, "adversarial.epsilon", "8 of 255 grey levels are 0.0314"),
        ({"adversarial": AdversarialSpec(256)}, "adversarial.epsilon", "black is 0 and white is 1"),
        ({"adversarial": AdversarialSpec(0.1, 0)}, "adversarial.steps", ">= 1"),
        ({"adversarial": AdversarialSpec(0.1, 1, 0.004)}, "adversarial.share", "at least 0.01, a row of"),
        ({"distill": DistillSpec("a", 0)}, "distill.alpha", "> 0"),
        ({"distill": DistillSpec("a", 0.5, 0)}, "distill.temperature", "> 0"),
        ({"distill": DistillSpec([])}, "distill.teacher", "at least 1 entries"),
        ({"distill": DistillSpec("a"), "labels": "one_hot"}, "labels", "whose loss takes class numbers"),
    ],
)  # fmt: skip
def test_mistakes_have_their_reason(train, key, expected):
    (problem,) = spec_problems(run_of(**train))
    assert problem.key == f"train.{key}"
    assert expected in problem.expected


def test_run_json_holds_the_sections():
    run = run_of(
        prune=PruneSpec(0.8), adversarial=AdversarialSpec(0.1, 3, 0.25), distill=DistillSpec(["a"])
    )
    assert spec_problems(run) == []
    assert asdict(RunSpec.from_json(run.to_json())) == asdict(run)
    older = json.loads(run_of().to_json())
    del older["start"]
    for key in ("prune", "adversarial", "distill"):
        del older["train"][key]
    assert RunSpec.from_json(json.dumps(older)) == run_of()
