"""predictions.npz: the probabilities of each test row, and pictures of a few of them."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import tensorflow as tf

from hpcdl.contract import run_files
from hpcdl.contract.atomic import replacing
from hpcdl.trainer.dataset.looks import looks
from hpcdl.trainer.dataset.source import Slice, Source, my_share
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.runtime.together import Together, together_of

FILE = run_files.PREDICTIONS
PICTURES = 24  # of mistakes
UNSURE_PICTURES = 8
# A larger image is shrunk to this width and height: pictures are for people, and the file is small
PICTURE_PIXELS = 96


class Predictor:
    """Class probabilities of rows of one source, in the order of the rows, under any strategy.

    The model's metrics are not touched.

    Args:
        logits: whether the model gives logits; else it must give probabilities.
        batch_rows: the most rows at a time.
    """

    def __init__(
        self, model: Any, strategy: Any, source: Source, logits: bool, batch_rows: int
    ) -> None:
        self._model = model
        self._strategy = strategy
        self.source = source
        self.batch_rows = batch_rows
        self._logits = logits
        self.together = together_of(strategy)
        self._step = tf.function(self._batch)

    def _batch(self, item: Any) -> Any:
        outputs = self._strategy.run(self._replica, args=(item,))
        if not self.together.alone:
            return (self._strategy.gather(outputs, axis=0),)
        return self._strategy.experimental_local_results(outputs)

    def _replica(self, item: Any) -> Any:
        images, _ = self.source.take(my_share(item)[0])
        outputs = self._model(images, training=False)
        if not tf.is_tensor(outputs) or outputs.shape.rank != 2:
            return tf.zeros([0, 0])  # not classes: __call__ sees it
        outputs = tf.cast(outputs, tf.float32)
        return tf.nn.softmax(outputs) if self._logits else outputs

    def __call__(
        self,
        rows: Any,
        classes: int,
        after_batch: Callable[[], None],
        on_item: Optional[Callable[[Any], None]] = None,
    ) -> Any:
        """The probabilities of `rows` (row numbers, int32).

        Args:
            rows: in any order.
            classes: how many there are.
            after_batch: called after each batch.
            on_item: called with each item of the source, in the order of the rows.

        Returns:
            float32 (rows, classes), or None if the model does not give probabilities of classes.
        """
        probabilities = np.empty((len(rows), classes), np.float32)
        first = 0
        for item in self.source.each(rows, self.batch_rows):
            parts = np.concatenate([part.numpy() for part in self._step(item)])
            last = first + len(parts)
            if parts.shape[1] != classes or not _are_probabilities(parts):
                return None
            probabilities[first:last] = parts
            first = last
            if on_item is not None:
                on_item(item)
            after_batch()
        return probabilities


class _Looks:
    """What the images of a source look like, item by item."""

    def __init__(self, source: Source, together: Together) -> None:
        self._source = source
        self._together = together
        self._parts: List[Any] = []

    def add(self, item: Any) -> None:
        whole = item if isinstance(item, Slice) else Slice(item, 0, 0)
        with tf.device("CPU:0"):
            images, _ = self._source.take(whole.item)
        own = looks(images.numpy())
        if self._together.alone:
            self._parts.append(own)
            return
        of_batch = np.zeros((whole.rows, *own.shape[1:]), own.dtype)
        of_batch[whole.first : whole.first + len(own)] = own
        self._parts.append(of_batch)

    def array(self) -> Any:
        return self._together.put_together(np.concatenate(self._parts))


def _are_probabilities(values: Any) -> bool:
    add_up = abs(values.sum(axis=1) - 1) < 1e-3
    return bool((values >= 0).all() and add_up.all())  # false for NaN, too


def predicted(
    predictor: Predictor,
    source: Source,
    labels: Any,
    classes: int,
    run_dir: RunDir,
    files: Sequence[str] = (),
) -> Optional[Dict[str, Any]]:
    """What predictions.npz holds about all test rows.

    That is ``labels`` int32 (rows,) and ``probabilities`` float32 (rows, classes), and what the
    images look like, ``looks`` float32 (rows, 5), to be compared with new images. For people there
    are also ``picture_rows`` int32 and ``pictures`` uint8 (rows, height, width, channels): the most
    confident mistakes as the model saw them, so that they can be shown without the data set.
    ``unsure_rows`` and ``unsure_pictures`` are the same of the least confident answers, right or
    wrong. If the images came from files, ``files`` (rows,) are their names, as text.

    Args:
        predictor: gives the probabilities.
        source: the images.
        labels: int32 (rows,), of all rows of the source.
        classes: how many there are.
        run_dir: the run folder, for heartbeats.
        files: the file of each row; empty if not known.

    Returns:
        the arrays by name, or None if the model's output is not probabilities of classes; then the
        log says so.
    """
    every_row = np.arange(len(labels), dtype=np.int32)
    image_looks = _Looks(source, predictor.together)
    sees_images = predictor.source is source  # not features
    on_item = image_looks.add if sees_images else None
    probabilities = predictor(every_row, classes, run_dir.heartbeat, on_item)
    if probabilities is None:
        say("no {}: the model's output is not one probability per class".format(FILE))
        return None
    rows = worst_rows(labels, probabilities)
    unsure = least_certain_rows(probabilities, rows)
    arrays = {"labels": labels, "probabilities": probabilities}
    if not sees_images:
        for item in source.each(every_row, predictor.batch_rows):
            image_looks.add(item)
            run_dir.heartbeat()
    arrays["looks"] = image_looks.array()
    arrays.update(picture_rows=rows, pictures=_pictures(source, rows))
    arrays.update(unsure_rows=unsure, unsure_pictures=_pictures(source, unsure))
    if len(files):
        arrays["files"] = np.array(files, np.str_)
    return arrays


def write_predictions(run_dir: RunDir, arrays: Dict[str, Any]) -> None:
    """Write predictions.npz, which holds these arrays by name. Worker 0 does it for all."""
    if run_dir.rank:
        return
    keep_trying(FILE, lambda: _save_aside(run_dir.path(FILE), arrays))


def worst_rows(labels: Any, probabilities: Any) -> Any:
    """The rows with the most confident mistakes, the most confident one first."""
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[mistakes].max(axis=1), kind="stable")
    return mistakes[order][:PICTURES].astype(np.int32)


def least_certain_rows(probabilities: Any, besides: Any) -> Any:
    """The rows with the least confident answers, the least confident one first.

    Args:
        probabilities: (rows, classes).
        besides: rows that are shown anyway.
    """
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    others = order[~np.isin(order, besides)]
    return others[:UNSURE_PICTURES].astype(np.int32)


def _pictures(source: Source, rows: Any) -> Any:
    # Without a mistake, one image is read anyway: an array without rows needs the right shape
    read_rows = rows if len(rows) else np.zeros(1, np.int32)
    items = source.each_whole(read_rows, len(read_rows))
    images = tf.concat([source.take(item)[0] for item in items], 0)
    images = images[: len(rows)]
    if max(images.shape[1:3]) > PICTURE_PIXELS:
        images = tf.image.resize(
            images, [PICTURE_PIXELS] * 2, preserve_aspect_ratio=True, method="area"
        )
    return np.rint(np.clip(images.numpy(), 0, 1) * 255).astype(np.uint8)


def _save_aside(path: str, arrays: Any) -> None:
    """As `atomic.replace`, without a second copy in memory."""
    with replacing(path) as file:
        np.savez(file, **arrays)
