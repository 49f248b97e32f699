"""What `compat` corrects in versions of Keras between those of the two images.

`make compat` runs these versions for real.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.errors import DeviceError

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore"),
]  # what TensorFlow warns of is not ours


@pytest.mark.parametrize(
    ("version", "share"), [("2.15.0", 1.0), ("3.2.1", 0.5), ("3.7.0", 0.5), ("3.8.0", 1.0)]
)
def test_gradients_of_replicas_are_averaged(tf, monkeypatch, version, share):
    from hpcdl.trainer import compat
    from hpcdl.trainer.compat import versions

    applied: list[Any] = []
    optimizer = SimpleNamespace(
        apply=lambda grads, variables=None: applied.extend(grads), _all_reduce_sum_gradients=0
    )
    monkeypatch.setattr(versions, "keras_version", lambda: version)

    compat.add_up_gradients(optimizer, 2)
    optimizer.apply([tf.constant([4.0, 2.0]), None], [])

    np.testing.assert_array_equal(applied[0], np.array([4.0, 2.0]) * share)
    assert applied[1] is None


def test_gradients_are_summed_across_replicas(tf, strategies, monkeypatch):
    """Keras 3.2 to 3.4 asks for their sum there, and its own way to add them up does nothing."""
    from hpcdl.trainer import compat
    from hpcdl.trainer.compat import versions

    optimizer = SimpleNamespace(apply=None, _all_reduce_sum_gradients=lambda pairs: pairs)
    monkeypatch.setattr(versions, "keras_version", lambda: "3.3.3")
    compat.add_up_gradients(optimizer, 2)
    with strategies[2].scope():
        variable, other = tf.Variable([0.0, 0.0]), tf.Variable(0.0)

    def step():
        context = tf.distribute.get_replica_context()
        grad = tf.constant([1.0, 2.0]) * tf.cast(context.replica_id_in_sync_group + 1, tf.float32)
        return context.merge_call(
            lambda _, pairs: [sums for sums, _ in optimizer._all_reduce_sum_gradients(pairs)],
            args=([(grad, variable), (None, other)],),
        )

    (sums,) = tf.function(lambda: strategies[2].run(step))()
    for mine in strategies[2].experimental_local_results(sums):
        np.testing.assert_array_equal(mine, [3.0, 6.0])


class MetricVariable:
    """As Keras 3.7 to 3.9 makes them: a replica's write becomes the sum over all replicas."""

    name = "total"

    def __init__(self, tf):
        self._value = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)

    @property
    def value(self):
        return self._value


def add_one(variable):
    variable.value.assign(variable.value + 1.0)


@pytest.mark.cases("fault 0")
@pytest.mark.parametrize("version", ["3.7.0", "3.9.2"])
def test_each_replica_keeps_its_own_sums(tf, strategies, monkeypatch, version):
    from hpcdl.trainer import compat
    from hpcdl.trainer.compat import versions

    monkeypatch.setattr(versions, "keras_version", lambda: version)
    with strategies[2].scope():
        total = MetricVariable(tf)
    metric = SimpleNamespace(variables=[total])
    model = SimpleNamespace(metrics=[metric], test_step=lambda _: None, reset_metrics=lambda: None)

    compat.build_metrics(model, strategies[2], None, None)
    count = tf.function(lambda: strategies[2].run(add_one, args=(total,)))
    for _ in range(3):
        count()

    assert total.value.numpy() == 6.0


@pytest.mark.cases("fault 0")
def test_keras_3_7_random_states_work(tf, strategies, monkeypatch):
    """TensorFlow refuses the mean of whole numbers, for which Keras 3.7 asks."""
    from hpcdl.trainer import compat
    from hpcdl.trainer.compat import versions

    mean = tf.VariableAggregation.MEAN
    with strategies[2].scope():
        monkeypatch.setattr(versions, "keras_version", lambda: "3.8.0")
        with pytest.raises(ValueError, match="non-floating dtype"), compat.whole_numbers_apart():
            tf.Variable([1, 0], dtype="int64", aggregation=mean)
        monkeypatch.setattr(versions, "keras_version", lambda: "3.7.0")
        with compat.whole_numbers_apart():
            state = tf.Variable([1, 0], dtype="int64", aggregation=mean)
            weight = tf.Variable([1.0], dtype="float32", aggregation=mean)

    assert (state.aggregation, weight.aggregation) == (tf.VariableAggregation.NONE, mean)


def test_keras_without_gradient_sums_is_refused(monkeypatch):
    """Such a Keras would train each replica for itself."""
    from hpcdl.trainer import compat
    from hpcdl.trainer.compat import optimizers, versions

    for module in (versions, optimizers):
        monkeypatch.setattr(module, "keras_version", lambda: "3.1.1")

    with pytest.raises(
        DeviceError, match=r"Keras 3.1.1 does not add up the gradients of several replicas"
    ):
        compat.add_up_gradients(SimpleNamespace(), 2)


@pytest.mark.parametrize(
    ("package", "version", "is_3"), [("keras", "3.0.5", True), ("tf_keras", "2.21.0", False)]
)
def test_keras_without_own_version(tf, monkeypatch, package, version, is_3):
    """The package says it: Keras 3.0 in TensorFlow 2.16, and tf_keras."""
    from hpcdl.trainer import compat
    from hpcdl.trainer.compat import versions

    model = type("Model", (), {"__module__": f"{package}.src.models.model"})
    monkeypatch.setattr(versions, "tf", SimpleNamespace(keras=SimpleNamespace(Model=model)))
    monkeypatch.setitem(sys.modules, package, SimpleNamespace(__version__=version))

    assert compat.keras_version() == version
    assert compat.is_keras_3() == is_3
