"""What the workers of a training tell each other; a worker that is alone asks nobody."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Iterable, List, Sequence, Tuple

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = 8  # bytes of a number that is added up


class Together:
    """The replicas of a tf.distribute strategy: of one worker or, over several nodes, of many.

    Each method that talks to the others must be called by all workers, in the same order: those
    that came wait for those that have not.

    Args:
        strategy: of the run.

    Attributes:
        strategy: the same.
        workers: how many workers there are.
        rank: the number of this one, from 0.
        replicas: how many replicas there are on all workers.
        here: how many of them this worker has.
        from_replica: the number of the first of these, from 0.
    """

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.workers, self.rank = _workers_of(strategy)
        self.replicas = int(strategy.num_replicas_in_sync)
        self.here = self.replicas // self.workers
        self.from_replica = self.rank * self.here
        signature = [tf.TensorSpec([None], tf.int64)]
        self._sums = tf.function(self._sums_in_graph, input_signature=signature, autograph=False)

    @property
    def first(self) -> bool:
        """Whether this is worker 0, which decides for all and writes the run's files."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other worker."""
        return self.workers == 1

    def first_says(self, values: Sequence[float]) -> List[float]:
        """Worker 0's values; those of the others are not used.

        For all that comes from clocks, files and luck: another number of steps on one worker, and
        all of them wait for ever.
        """
        if self.alone:
            return list(values)
        array = np.array(values, np.float64)
        if not self.first:
            array = np.zeros_like(array)
        of_first: NDArray[Any] = self._add_up([array])[0]
        return [float(value) for value in of_first]

    def any_says(self, value: bool) -> bool:
        """Whether it is so on any worker."""
        if self.alone:
            return value
        marks = np.zeros(self.workers, np.int64)
        marks[self.rank] = value
        return bool(self._add_up([marks])[0].any())

    def wait_for_all(self) -> None:
        """Return when all workers have come here."""
        self.first_says([0])

    def all_copies(self, variables: Iterable[Any]) -> List[List[NDArray[Any]]]:
        """The value of each variable on each replica, those of other workers too, bit for bit."""
        local = []
        for variable in variables:
            copies = self.strategy.experimental_local_results(variable)
            local.append([copy.numpy() for copy in copies])
        if self.alone:
            return local
        arrays = []
        for copies in local:
            array = np.zeros((self.replicas, *copies[0].shape), copies[0].dtype)
            array[self.from_replica : self.from_replica + self.here] = copies
            arrays.append(array)
        return [list(array) for array in self._add_up(arrays)]

    def put_together(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array of all workers, each of which has filled other rows and left zeros elsewhere.

        Args:
            array: of the same shape and type on all workers.
        """
        return array if self.alone else self._add_up([array])[0]

    def _add_up(self, arrays: Sequence[NDArray[Any]]) -> List[NDArray[Any]]:
        """The sums of the workers' arrays, of whose elements all but one worker have zeros.

        The bits are added up as whole numbers, so that the sum has the bits of that one worker's.
        """
        content = b"".join(array.tobytes() for array in arrays)
        if not content:  # of no number at all, the sum ends TensorFlow 2.21 by a segmentation fault
            return list(arrays)
        padded = content + bytes(-len(content) % _WORD)
        sums = self._sums(tf.constant(np.frombuffer(padded, np.int64))).numpy().tobytes()
        totals = []
        first = 0
        for array in arrays:
            part = np.frombuffer(sums[first : first + array.nbytes], array.dtype)
            totals.append(part.reshape(array.shape))
            first += array.nbytes
        return totals

    def _sums_in_graph(self, words: Any) -> Any:
        """The sums of the workers' int64 words: the first replica of each worker brings them."""

        def replica(of_worker: Any) -> Any:
            context = tf.distribute.get_replica_context()
            place = int(tf.get_static_value(context.replica_id_in_sync_group)) % self.here
            # Not the argument itself, which is on no device: all_reduce refuses it
            mine = of_worker * (1 if place == 0 else 0)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        sums = self.strategy.run(replica, args=(words,))
        return self.strategy.experimental_local_results(sums)[0]

    def of_each_worker(self, values: Any) -> Any:
        """In the graph: the values of all workers.

        Args:
            values: float64 (values,), this worker's.

        Returns:
            float64 (workers, values).
        """
        mine = tf.one_hot(self.rank, self.workers, dtype=tf.int64)[:, tf.newaxis]
        words = tf.reshape(mine * tf.bitcast(values, tf.int64)[tf.newaxis], [-1])
        sums = tf.reshape(self._sums_in_graph(words), [self.workers, values.shape[0]])
        return tf.bitcast(sums, tf.float64)


def _workers_of(strategy: Any) -> Tuple[int, int]:
    """How many workers a strategy has, and the number of this one."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1, 0
    resolver = strategy.cluster_resolver
    return len(resolver.cluster_spec().as_dict().get("worker", [None])), int(resolver.task_id or 0)


@functools.lru_cache(maxsize=1)
def together_of(strategy: Any) -> Together:
    """What the replicas of a strategy tell each other: one for a strategy, and its graphs."""
    return Together(strategy)
