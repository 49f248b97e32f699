"""Pruning and adversarial training: exact after an interruption, the same on two replicas."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import (
    AdversarialSpec,
    EarlyStoppingSpec,
    MlpSpec,
    OptimizerSpec,
    PruneSpec,
    SavingSpec,
    TrainSpec,
)

MLP = MlpSpec(dense=[6])
BOTH = TrainSpec(
    epochs=3,
    batch_size=20,
    optimizer=OptimizerSpec("sgd", 0.05, momentum=0.9),
    balance="class_weight",
    prune=PruneSpec(0.7),
    adversarial=AdversarialSpec(0.1),
)


@pytest.fixture
def kernels_of(tf):
    """A function that gives the kernels of a training as arrays."""
    from hpcdl.trainer import compat

    def kernels(training):
        variables = [
            compat.tensorflow_variable(kernel) for kernel in compat.kernels(training.model)
        ]
        return [np.asarray(variable) for variable in variables]

    return kernels


def test_pruned_and_attacked_training_is_exact(make_training, kernels_of):
    """Cut in two it ends with the same bits; one and two replicas prune the same weights."""
    whole = make_training(MLP, BOTH, 2, "whole")()
    cut = make_training(MLP, BOTH, 2, "cut", saving=SavingSpec(every_s=1e9, every_steps=1))
    with pytest.raises(Stopped):
        cut(call_s=1e-9, stop_after=7)
    ended = make_training(MLP, BOTH, 2, "cut")()
    for expected, weight in zip(whole.weights(), ended.weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert ended.losses() == whole.losses()

    alone = make_training(MLP, BOTH, 1, "alone")()
    for kernel, of_two in zip(kernels_of(alone), kernels_of(whole), strict=True):
        np.testing.assert_array_equal(kernel == 0, of_two == 0)
        np.testing.assert_allclose(kernel, of_two, atol=1e-5)
    weights = np.concatenate([kernel.ravel() for kernel in kernels_of(alone)])
    assert (weights == 0).sum() == round(0.7 * weights.size)


def test_pruning_starts_with_the_smallest(make_training, kernels_of):
    """Pruned weights are the smallest, of those that had their value before the first pruning."""
    from hpcdl.trainer.fit.pruning import Pruner

    training = make_training(MLP, TrainSpec(batch_size=20), rows=20)
    before = kernels_of(training)
    pruner = Pruner(training.model, PruneSpec(0.5, begin=0, end=1), total=1)
    pruner.after(np.int64(0), pruner.pruned(np.int64(0)))
    weights = np.sort(np.abs(np.concatenate([kernel.ravel() for kernel in before])))
    limit = weights[round(0.5 * weights.size) - 1]
    for old, new in zip(before, kernels_of(training), strict=True):
        np.testing.assert_array_equal(new, np.where(np.abs(old) <= limit, 0, old))


def test_zeros_of_a_start_stay(make_training, kernels_of):
    """What another run has pruned stays 0; an initializer's zeros may train until the pruning."""
    from hpcdl.trainer.fit.pruning import Pruner

    training = make_training(MLP, TrainSpec(batch_size=20), rows=20)
    for kernel in training.model.trainable_weights:
        kernel.assign(0 * kernel)
    for begun, expected in ((True, 0.0), (False, 1.0)):
        pruner = Pruner(training.model, PruneSpec(0.5), total=100, begun=begun)
        pruned = pruner.pruned(np.int64(3))
        for kernel in training.model.trainable_weights:
            kernel.assign(0 * kernel + 1)
        pruner.after(np.int64(3), pruned)
        assert {kernel.mean() for kernel in kernels_of(training)} == {expected}


def test_epochs_before_the_end_of_pruning_do_not_count(make_training, kernels_of):
    """The best epoch is a sparse one, and patience begins there."""
    early = EarlyStoppingSpec("val_loss", patience=1, min_delta=9)
    train = TrainSpec(epochs=8, batch_size=20, early_stopping=early, prune=PruneSpec(0.5, 0, 0.5))
    training = make_training(MLP, train, rows=20)()
    assert training.state["best"]["epoch"] == 4
    assert training.state["step"] == 5
    training.checkpoints.assign_best()
    weights = np.concatenate([kernel.ravel() for kernel in kernels_of(training)])
    assert (weights == 0).mean() == pytest.approx(0.5, abs=1e-3)


def test_each_part_of_a_batch_is_attacked(tf):
    from hpcdl.trainer.fit.adversarial import attacked_places

    assert attacked_places(7, 0.5).tolist() == [0, 2, 4, 6]
    assert attacked_places(8, 0.25).tolist() == [1, 5]
    assert attacked_places(3, 1.0).tolist() == [0, 1, 2]
    assert attacked_places(1, 0.4).tolist() == []
