"""Other numbers of replicas: a training goes on with them, and each row is some replica's."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpcdl.contract.spec import CnnSpec, SavingSpec, TrainSpec
from hpcdl.trainer.dataset.load import Part
from hpcdl.trainer.dataset.reader import Reader

pytestmark = pytest.mark.tensorflow

TRAIN = TrainSpec(epochs=3, batch_size=20)


@pytest.mark.parametrize("replicas", [(1, 2, 1), (2, 1, 2)], ids=["1-2-1", "2-1-2"])
def test_training_goes_on_with_other_replicas(make_training, replicas):
    """The metrics of an epoch in its midst, too: they are the sums over all replicas."""
    model = CnnSpec(filters=[4], dense=[8])
    saving = SavingSpec(every_s=1e9, every_steps=1)
    whole = make_training(model, TRAIN, name="whole", rows=64)()
    for count, stop_after in zip(replicas, (2, 3, 10**9), strict=True):
        training = make_training(model, TRAIN, replicas=count, rows=64, saving=saving)
        try:
            training(call_s=0, stop_after=stop_after)
        except Exception as error:
            assert "stopped on request" in str(error)

    np.testing.assert_allclose(training.losses(), whole.losses(), rtol=1e-4)
    for found, expected in zip(training.weights(), whole.weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_own_variables_are_shared_out(tf):
    from hpcdl.trainer.files.own_copies import shared_out

    sums = [np.array([1, 2], np.float32), np.array([10, 20], np.float32)]
    shared = shared_out(sums, 3, of_model=False)
    np.testing.assert_array_equal(shared, [[11, 22], [0, 0], [0, 0]])
    assert {array.dtype for array in shared} == {np.dtype(np.float32)}
    counts = shared_out([np.array(2**62), np.array(1)], 1, of_model=False)
    np.testing.assert_array_equal(counts, [2**62 + 1])
    means = shared_out(sums, 1, of_model=True)
    np.testing.assert_array_equal(means, [[5.5, 11]])
    states = shared_out([np.array([7, 0]), np.array([7, 1])], 2, of_model=True)
    np.testing.assert_array_equal(states, [[7, 0], [7, 0]])


def test_older_checkpoint_is_read(tf, strategies, tmp_path):
    """It does not say of how many replicas it is, and its fingerprint counted the GPUs."""
    from hpcdl.trainer.compat import Variable
    from hpcdl.trainer.files.checkpoint import Checkpoints
    from hpcdl.trainer.files.checkpoint_file import write_snapshot

    strategy = strategies[2]
    with strategy.scope():
        shared = tf.Variable([1.0, 2.0])
        own = tf.Variable(
            0.0,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
            trainable=False,
        )
    copies = strategy.experimental_local_results(own)
    for number, local in enumerate(copies):
        local.assign(float(number + 5))
    variables = [Variable("shared", shared, False, True), Variable("own", own, True, False)]
    snapshot = Checkpoints(str(tmp_path), variables, strategy, ["older"], 2).copy(3, {})
    about = json.loads(snapshot.text)
    assert about.pop("replicas") == 2
    snapshot = snapshot._replace(text=json.dumps(about).encode())
    write_snapshot(str(tmp_path / "00000003.npz"), snapshot)
    for variable in (shared, *copies):
        variable.assign(tf.zeros_like(variable))

    assert Checkpoints(str(tmp_path), variables, strategy, ["new", "other"], 2).restore() is None
    state = Checkpoints(str(tmp_path), variables, strategy, ["new", "older"], 2).restore()

    assert state is not None
    assert state["step"] == 3
    assert shared.numpy().tolist() == [1, 2]
    assert [float(local.numpy()) for local in copies] == [5, 6]


class Numbers(Reader):
    """Images of one pixel, which is the row's number; notes what is read."""

    def __init__(self, rows):
        super().__init__(np.arange(rows, dtype=np.int32), (1, 1, 1), [], [])
        self.read = []

    def single(self, rows):
        import tensorflow as tf

        self.read += rows.tolist()
        return tf.data.Dataset.from_tensor_slices(rows.astype(np.uint8).reshape(-1, 1, 1, 1))


def rows_of(tf, source, monkeypatch, item, together):
    """The rows that each replica of a worker has of an item, with those of weight 0 left out."""
    from hpcdl.trainer.dataset import source as batches

    rows = []
    for replica in range(together.from_replica, together.from_replica + together.here):
        monkeypatch.setattr(
            batches,
            "my_rows",
            lambda count, mine=replica: batches.share(count, together.replicas, mine),
        )
        mine, weight = batches.my_share(item)
        images, labels = source.take(mine)
        np.testing.assert_array_equal(images.numpy().ravel(), labels.numpy())
        if weight:
            rows += labels.numpy().tolist()
    return rows


@pytest.mark.parametrize("held", [False, True], ids=["streamed", "held"])
@pytest.mark.parametrize(
    ("workers", "here", "rows", "batch_rows"),
    [(2, 1, 23, 4), (2, 2, 23, 7), (3, 1, 23, 5), (2, 3, 61, 20), (4, 2, 9, 3)],
)
def test_workers_read_each_row_once(tf, monkeypatch, workers, here, rows, batch_rows, held):
    """In training and in scoring, by the worker whose replica has it, and in order."""
    from hpcdl.trainer.dataset.source import Source

    order = np.random.default_rng(1).permutation(rows).astype(np.int32)
    fed, scored, read = [], [], []
    for rank in range(workers):
        together: Any = SimpleNamespace(
            alone=False, replicas=workers * here, here=here, from_replica=rank * here
        )
        reader = Numbers(rows)
        images = np.arange(rows, dtype=np.uint8).reshape(-1, 1, 1, 1)
        part = Part(images, reader.labels, 1.0)
        if not held:
            part = Part(images[:0], reader.labels, 1.0, reader, held=False, shape=reader.shape)
        source = Source(part, together=together)
        feed = source.feed(order, batch_rows)
        for first in range(0, rows - rows % batch_rows, batch_rows):
            item = source.pull(feed, tf.constant(order[first : first + batch_rows]))
            fed += rows_of(tf, source, monkeypatch, item, together)
        read += reader.read
        for item in source.each(order, batch_rows):
            scored.append((item.first, rows_of(tf, source, monkeypatch, item, together)))

    assert sorted(fed) == sorted(order[: rows - rows % batch_rows].tolist())
    assert sorted(row for _, some in scored for row in some) == list(range(rows))
    if not held and batch_rows >= workers * here:
        assert sorted(read) == sorted(fed)  # nobody reads the rows of others
