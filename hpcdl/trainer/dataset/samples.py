"""Writes samples.png for people: a few training images, and below them as augmented."""

from __future__ import annotations

from typing import Any, Dict, Sequence

import tensorflow as tf

from hpcdl.contract import run_files
from hpcdl.contract.atomic import replace
from hpcdl.trainer.dataset import augment
from hpcdl.trainer.dataset.load import epoch_order
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import say

FILE = run_files.SAMPLES
SAMPLES = 8
_PIXELS = 96  # a smaller image is enlarged to this, a larger one shrunk
_GAP = 4


def write_samples(
    source: Source, rows: Any, entries: Sequence[Dict[str, Any]], seed: int, run_dir: RunDir
) -> None:
    """Write the first images of the first epoch: a row before augmentation, and a row after.

    Args:
        source: of the training images.
        rows: the first epoch's rows (row numbers, int32), not yet in its order.
        entries: of data.augment.
        seed: the run's.
        run_dir: where the file is written.
    """
    if run_dir.rank:
        return  # worker 0 writes it
    first = epoch_order(rows, seed, 0)[:SAMPLES]
    images, _ = source.take(next(source.each_whole(first, SAMPLES)))
    numbers = augment.draw(len(rows), seed, 0)[:SAMPLES]
    both = tf.concat([images, augment.augmented(images, numbers, entries)], axis=0)
    scale = _PIXELS / max(both.shape[1:3])
    size = [max(1, round(pixels * scale)) for pixels in both.shape[1:3]]
    tiles = tf.image.resize(both, size, method="nearest" if scale > 1 else "area")
    tiles = tf.pad(tiles, [[0, 0], [0, _GAP], [0, _GAP], [0, 0]], constant_values=1.0)
    before, after = (tf.concat(tf.unstack(half), axis=1) for half in tf.split(tiles, 2))
    page = tf.clip_by_value(tf.concat([before, after], axis=0), 0.0, 1.0)
    content = tf.io.encode_png(tf.cast(tf.round(page * 255), tf.uint8)).numpy()
    keep_trying(FILE, lambda: replace(run_dir.path(FILE), content))
    say("{}: {} training images, and below them as augmented".format(FILE, len(first)))
