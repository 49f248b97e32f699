"""Measures what was exported: does it answer as the trained model, how well, and how fast."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional

import numpy as np
import tensorflow as tf

from hpcdl.trainer.dataset.source import Source

MOST_ROWS = 2000
_FEW_ROWS = 100  # where a call takes one image and is slow
_SLOW_S = 0.02
_MOST_BYTES = 1 << 29  # of the images that are held
_BATCH = 100
_TIMED = 50  # calls

# From float32 images in [0, 1] with their rows to float32 probabilities (rows, classes)
Answer = Callable[[Any], Any]


@dataclass
class TestImages:
    """Test rows, spread evenly over the test part, and what the trained model said of them.

    images: float32 (rows, height, width, channels) in [0, 1].
    labels: int32 (rows,).
    trained: float32 (rows, classes), the probabilities of the trained model.
    """

    images: Any
    labels: Any
    trained: Any

    @classmethod
    def read(cls, source: Source, labels: Any, trained: Any) -> TestImages:
        """Read the images of some rows.

        Args:
            source: the images of the test part.
            labels: int32, of all its rows.
            trained: float32 (rows, classes), of all its rows.
        """
        first = next(source.each_whole(np.zeros(1, np.int32), 1))
        row_bytes = 4 * int(np.prod(source.take(first)[0].shape))
        most = max(_FEW_ROWS, min(MOST_ROWS, _MOST_BYTES // row_bytes))
        rows = np.arange(len(labels), dtype=np.int32)
        if len(rows) > most:
            rows = np.linspace(0, len(rows) - 1, most).astype(np.int32)
        parts = [source.take(item)[0].numpy() for item in source.each_whole(rows, _BATCH)]
        return cls(np.concatenate(parts), labels[rows], trained[rows])

    def first(self, count: int) -> TestImages:
        """That many rows, spread evenly over these."""
        places = np.linspace(0, len(self.labels) - 1, min(count, len(self.labels))).astype(int)
        return TestImages(self.images[places], self.labels[places], self.trained[places])


def measure(answer: Answer, batch_rows: Optional[int], test: TestImages) -> Dict[str, Any]:
    """Hold the answers of an exported model against the labels and the trained model's answers.

    Args:
        answer: the exported model.
        batch_rows: images in a call; None if it takes as many as it gets.
        test: the images.

    Returns:
        ``rows`` (how many images), ``accuracy`` on these, ``agreement`` (the share of them that
        have the trained model's answer), ``difference`` (the largest one of a probability) and
        ``ms``, the median of a call with one image.
    """
    ms = _call_ms(answer, test.images)
    if batch_rows == 1 and ms > 1000 * _SLOW_S:
        test = test.first(_FEW_ROWS)
    step = batch_rows or _BATCH
    parts = []
    for first in range(0, len(test.images), step):
        parts.append(answer(test.images[first : first + step]))
    found = np.concatenate(parts)
    answers, trained = found.argmax(axis=1), test.trained.argmax(axis=1)
    return {
        "rows": len(test.labels),
        "accuracy": float((answers == test.labels).mean()),
        "agreement": float((answers == trained).mean()),
        "difference": float(abs(found - test.trained).max()),
        "ms": ms,
    }


def _call_ms(answer: Answer, images: Any) -> float:
    """The median time of a call with one image, in milliseconds; a slow one is called less."""
    answer(images[:1])  # allocates and traces
    times_s = []
    for place in range(_TIMED):
        place %= len(images)
        started = time.perf_counter()
        answer(images[place : place + 1])
        times_s.append(time.perf_counter() - started)
        if sum(times_s) > _TIMED * _SLOW_S:
            break
    return 1000 * float(np.median(times_s))


def threads_of_tensorflow() -> int:
    """How many threads an operation of TensorFlow's may take; 0 if TensorFlow chooses."""
    return int(tf.config.threading.get_intra_op_parallelism_threads())
