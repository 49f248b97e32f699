"""What `compat` makes up for in versions of Keras between those of the two images; `make compat` runs them for real."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpcdl.trainer.errors import DeviceError

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]  # what TensorFlow warns of is not ours


@pytest.mark.parametrize(("version", "share"), [("2.15.0", 1.0), ("3.2.1", 0.5), ("3.7.0", 0.5), ("3.8.0", 1.0)])
def test_sum_of_the_replicas_gradients_is_their_mean(tf, monkeypatch, version, share):
    from hpcdl.trainer import compat

    applied: list[Any] = []
    optimizer = SimpleNamespace(apply=lambda grads, variables=None: applied.extend(grads))
    monkeypatch.setattr(compat, "keras_version", lambda: version)

    compat.add_up_gradients(optimizer, 2)
    optimizer.apply([tf.constant([4.0, 2.0]), None], [])

    np.testing.assert_array_equal(applied[0], np.array([4.0, 2.0]) * share)
    assert applied[1] is None


def test_keras_that_adds_no_gradients_up_trains_no_replicas(monkeypatch):
    from hpcdl.trainer import compat

    monkeypatch.setattr(compat, "keras_version", lambda: "3.1.1")

    with pytest.raises(DeviceError, match=r"Keras 3.1.1 does not add up the gradients of several replicas"):
        compat.add_up_gradients(SimpleNamespace(), 2)


def test_keras_without_a_version_of_its_own(tf, monkeypatch):
    from hpcdl.trainer import compat

    monkeypatch.setattr(compat, "tf", SimpleNamespace(keras=SimpleNamespace()))
    monkeypatch.setattr("importlib.metadata.version", {"keras": "3.0.5"}.__getitem__)

    assert compat.keras_version() == "3.0.5"
    assert compat.is_keras_3()
