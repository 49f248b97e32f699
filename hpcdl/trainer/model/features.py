"""Features of a frozen backbone: computed once for every row, stored, and trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterator, NamedTuple, Optional, Tuple, cast

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from hpcdl.contract import machine
from hpcdl.contract.spec import BackboneSpec
from hpcdl.trainer.dataset.load import Part
from hpcdl.trainer.dataset.source import Source, my_share
from hpcdl.trainer.model import backbone
from hpcdl.trainer.model.feature_files import FeatureFiles, features_key
from hpcdl.trainer.model.one_pass import OnePass
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of constants: a graph is one message of protobuf's, at most 2 GiB
_LARGEST_GRAPH_BYTES = 2**29


class Halves(NamedTuple):
    """A model as two that share its layers: images to features, and features to classes."""

    frozen: Any
    head: Any


def halves_of(session: Session, model: Any) -> Optional[Halves]:
    """The halves of a run's model, if its features are the same in each epoch.

    Otherwise None: the model trains as a whole.
    """
    run = session.run
    if not isinstance(run.model, BackboneSpec) or run.model.features == "off":
        return None
    if run.data.augment or run.train.adversarial is not None:  # other images in each epoch
        return None
    with session.strategy.scope():
        halves = backbone.split(model)
    return None if halves is None else Halves(*halves)


class Features:
    """A source of features: like one of images, but `take` passes these through the frozen half.

    Args:
        source: the images.
        frozen: makes float32 features (rows, ...) of float32 images.
        strategy: the tf.distribute strategy of the run.
    """

    def __init__(self, source: Source, frozen: Callable[[Any], Any], strategy: Any) -> None:
        self.rows = source.rows
        self.feed = source.feed
        self.pull = source.pull
        self.each = source.each
        self.each_whole = source.each_whole
        self.blaming = source.blaming
        self.class_numbers = source.class_numbers
        self._source = source
        self._frozen = frozen
        self._strategy = strategy

    def take(self, item: Any) -> Tuple[Any, Any]:
        """An item's float32 features (rows, ...), and its labels."""
        images, labels = self._source.take(item)
        return self._frozen(images), labels

    def taught(self, answers: Any) -> Features:
        """The same features with a teacher's answers in the labels; see `Source.taught`."""
        return Features(self._source.taught(answers), self._frozen, self._strategy)

    def batches(self, first: int, batch_rows: int) -> Iterator[NDArray[Any]]:
        """The features of all rows from `first` on, a batch at a time, float32 (rows, ...)."""
        if first >= self.rows:
            return
        # Not an attribute: a circle of references would hold the images for longer.
        step = tf.function(self._batch)
        for item in self.each(np.arange(first, self.rows, dtype=np.int32), batch_rows):
            if self._strategy.num_replicas_in_sync == 1:
                yield self.take(item)[0].numpy()
                continue
            parts = self._strategy.experimental_local_results(step(item))
            yield np.concatenate([part.numpy() for part in parts])

    def _batch(self, item: Any) -> Any:
        return self._strategy.run(self._replica, args=(item,))

    def _replica(self, item: Any) -> Any:
        """The features of one replica's share of an item."""
        mine, _ = my_share(item)
        features, _ = self.take(mine)
        return features


class FeatureStore:
    """Puts features in the place of images: in memory if they fit, else computed in each epoch.

    What was computed is in the run folder until the run is done, or in ``model.features_cache``.

    Args:
        session: the training.
        frozen: the frozen half of its model, from images to features.
    """

    def __init__(self, session: Session, frozen: Any) -> None:
        self._session = session
        self._run_dir = session.run_dir.home  # all folds share the features
        self._frozen = frozen
        self._spec = cast(BackboneSpec, session.run.model)

    def features_of(self, train: Source, test: Source) -> Tuple[Any, Any]:
        """Sources of features with the same rows as these sources of images.

        The caller may let go of the sources of images afterwards.

        Raises:
            Stopped: the stop file appeared; what was computed is saved.
        """
        session = self._session
        shape = tuple(self._frozen.output_shape[1:])
        rows = train.rows + test.rows
        size = 4 * rows * int(np.prod(shape))
        if not session.together.alone:
            say("features: computed again in each epoch: the nodes do not share them")
            return self._computing(train, test)
        if not machine.fits(2 * size):  # twice, while TensorFlow takes its own copy
            say(
                "features: {:,.0f} MB for {:,} images do not fit into memory "
                "({:.1f} GB for this run): computed again in each epoch".format(
                    size / 1e6, rows, machine.limit_bytes() / 1024**3
                )
            )
            return self._computing(train, test)
        key = features_key(session, self._frozen, train, test)
        files = FeatureFiles(self._run_dir, self._spec.features_cache, key)
        values = np.empty((rows, *shape), np.float32)
        one_pass = OnePass(session, files, "features", self._spec.backbone)
        one_pass.fill(values, self._computing(train, test))
        dataset = session.dataset
        parts = (
            Part(values[: train.rows], dataset.train.labels, 1.0),
            Part(values[train.rows :], dataset.test.labels, 1.0),
        )
        del values  # so that the parts alone hold them, and release them once TensorFlow has a copy
        return Source(parts[0], session.one_hot), Source(parts[1], session.one_hot)

    def _computing(self, train: Source, test: Source) -> Tuple[Features, Features]:
        """Sources that compute the features when they are taken."""
        strategy = self._session.strategy
        frozen = _function_of(self._frozen, strategy)
        return Features(train, frozen, strategy), Features(test, frozen, strategy)


def _function_of(frozen: Any, strategy: Any) -> Callable[[Any], Any]:
    """A function from images to the features of the frozen half, float32.

    On one device it is one graph for batches of all lengths, with the weights as constants if it
    can hold them. TensorFlow then folds batch normalisation into the convolutions: MobileNetV2
    takes 0.7 times the processor time per image (2.5 ms, not 3.6).
    """

    def plain(images: Any) -> Any:
        return tf.cast(frozen(images, training=False), tf.float32)

    if strategy.num_replicas_in_sync > 1:
        return plain
    function = tf.function(plain, autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec(frozen.input_shape, tf.float32))
    if sum(weight.nbytes for weight in frozen.get_weights()) <= _LARGEST_GRAPH_BYTES:
        graph = convert_variables_to_constants_v2(graph)

    def quick(images: Any) -> Any:
        features = tf.nest.flatten(graph(images))[0]
        return tf.ensure_shape(features, [images.shape[0], *frozen.output_shape[1:]])

    return quick
