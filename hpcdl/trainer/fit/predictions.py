"""predictions.npz: what the trained model says of each test row, and pictures of its most confident mistakes."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

import numpy as np
import tensorflow as tf

from hpcdl.contract import run_files
from hpcdl.contract.atomic import replacing
from hpcdl.trainer.dataset.source import Source, my_share
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import say

FILE = run_files.PREDICTIONS
PICTURES = 24
PICTURE_PIXELS = 96  # a larger image is shrunk to this width and height: pictures for people, and for a small file


class Predictor:
    """Class probabilities of rows of one source, in the order of the rows, under any strategy.

    The model's metrics are not touched.

    Args:
        logits: whether the model gives logits; else it must give probabilities.
        batch_rows: at most so many rows at a time.
    """

    def __init__(
        self, model: Any, strategy: Any, source: Source, logits: bool, batch_rows: int
    ) -> None:
        self._model = model
        self._strategy = strategy
        self._source = source
        self._logits = logits
        self._batch_rows = batch_rows
        self._step = tf.function(self._batch)

    def _batch(self, item: Any) -> Any:
        outputs = self._strategy.run(self._replica, args=(item,))
        return self._strategy.experimental_local_results(outputs)

    def _replica(self, item: Any) -> Any:
        images, _ = self._source.take(my_share(item)[0])
        outputs = self._model(images, training=False)
        if not tf.is_tensor(outputs) or outputs.shape.rank != 2:
            return tf.zeros([0, 0])  # no classes: __call__ finds it out
        outputs = tf.cast(outputs, tf.float32)
        return tf.nn.softmax(outputs) if self._logits else outputs

    def __call__(self, rows: Any, classes: int, after_batch: Callable[[], None]) -> Any:
        """The probabilities of `rows` (row numbers, int32).

        Returns:
            float32 (rows, classes), or None where the model gives something else than classes' probabilities.
        """
        found = np.empty((len(rows), classes), np.float32)
        first = 0
        for item in self._source.each(rows, self._batch_rows):
            parts = np.concatenate([part.numpy() for part in self._step(item)])
            last = first + len(parts)
            if parts.shape[1] != classes or not _are_probabilities(parts):
                return None
            found[first:last] = parts
            first = last
            after_batch()
        return found


def _are_probabilities(values: Any) -> bool:
    return bool(
        (values >= 0).all() and (abs(values.sum(axis=1) - 1) < 1e-3).all()
    )  # NaN is neither


def write_predictions(
    predictor: Predictor,
    source: Source,
    labels: Any,
    classes: int,
    run_dir: RunDir,
    files: Sequence[str] = (),
) -> Optional[str]:
    """Write predictions.npz: ``labels`` int32 (rows,) and ``probabilities`` float32 (rows, classes) of all test rows.

    Besides, for people, ``picture_rows`` int32 and ``pictures`` uint8 (rows, height, width, channels): the most
    confident mistakes as the model saw them, so that they can be shown without the data set. Where the images
    came from files, ``files`` (rows,) are their names, as text.

    Args:
        labels: int32 (rows,), of all rows of the source.
        files: the file of each row; none if not known.

    Returns:
        the file's name, or None where the model's output is no class probabilities; the log says so.
    """
    probabilities = predictor(np.arange(len(labels), dtype=np.int32), classes, run_dir.heartbeat)
    if probabilities is None:
        say("no {}: the model's output is not one probability per class".format(FILE))
        return None
    rows = worst_rows(labels, probabilities)
    arrays = {"labels": labels, "probabilities": probabilities}
    arrays.update(picture_rows=rows, pictures=_pictures(source, rows))
    if len(files):
        arrays["files"] = np.array(files, np.str_)
    keep_trying(FILE, lambda: _save_aside(run_dir.path(FILE), arrays))
    return FILE


def worst_rows(labels: Any, probabilities: Any) -> Any:
    """The rows that the model gets wrong with the highest probability for its answer, the worst first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order][:PICTURES].astype(np.int32)


def _pictures(source: Source, rows: Any) -> Any:
    some = (
        rows if len(rows) else np.zeros(1, np.int32)
    )  # without a mistake, of the right shape all the same
    images = tf.concat([source.take(item)[0] for item in source.each(some, len(some))], 0)[
        : len(rows)
    ]
    if max(images.shape[1:3]) > PICTURE_PIXELS:
        images = tf.image.resize(
            images, [PICTURE_PIXELS] * 2, preserve_aspect_ratio=True, method="area"
        )
    return np.rint(np.clip(images.numpy(), 0, 1) * 255).astype(np.uint8)


def _save_aside(path: str, arrays: Any) -> None:
    """As `atomic.replace`, without a second copy in memory."""
    with replacing(path) as file:
        np.savez(file, **arrays)
