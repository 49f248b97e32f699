"""Logs that TensorBoard reads: what metrics.jsonl says of each epoch, as event files.

They are laid out as those of Keras's callback: ``train`` and ``validation`` are two runs whose curves have the same
names and lie over each other. The events are TensorFlow's own; ``tf.summary.scalar`` would want the package
tensorboard as well, which images with a newer TensorFlow lack.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from typing import Any, Callable, Dict, List

import tensorflow as tf

from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import say

PARTS = ("train", "validation")
_NO_CURVES = ("epoch", "steps", "time")
# What TensorBoard goes by. Sources: tensorboard/compat/proto/summary.proto, metadata.py of tensorboard/plugins/scalar
_SCALAR, _TENSOR = 1, 2


def epoch_logs(run_dir: RunDir, folder: str, settings: str) -> Callable[[Dict[str, Any]], None]:
    """A function that logs a line of metrics.jsonl, to be called when it is written.

    The first call of a process writes all epochs so far into a new file, which takes the place of those of earlier
    attempts: an epoch that was trained twice is there once. A disk that takes nothing stops no training: the log says
    so once, and the next epoch begins with a new file again.

    Args:
        folder: where ``train`` and ``validation`` are made.
        settings: the run's, as text to show beside the curves.
    """
    writers: Dict[str, Any] = {}
    lost: List[Exception] = []

    def log(line: Dict[str, Any]) -> None:
        try:
            if not writers:
                writers.update(_begin(run_dir, folder, settings))
                return
            for part, writer in writers.items():
                writer.write(_event(line["time"], line["epoch"], _curves(part, line)))
                writer.flush()
        except (OSError, tf.errors.OpError) as error:
            writers.clear()
            if not lost:
                say(
                    "TensorBoard's logs cannot be written: {}; the run goes on without".format(
                        error
                    )
                )
            lost.append(error)

    return log


def _begin(run_dir: RunDir, folder: str, settings: str) -> Dict[str, Any]:
    """Write new files of all epochs in metrics.jsonl, aside and renamed; their writers go on writing there."""
    lines = run_dir.read_metrics()
    name = "events.out.tfevents.{:.0f}.{}".format(time.time(), run_dir.attempt)
    writers = {}
    for part in PARTS:
        curves = [(line, _curves(part, line)) for line in lines]
        if not any(values for _, values in curves):
            continue
        place = os.path.join(folder, part)
        os.makedirs(place, exist_ok=True)
        aside = os.path.join(place, "{}.tmp".format(os.getpid()))
        writer = tf.io.TFRecordWriter(aside)
        writer.write(
            tf.compat.v1.Event(
                wall_time=lines[0]["time"], file_version="brain.Event:2"
            ).SerializeToString()
        )
        if part == "train":
            writer.write(_event(lines[0]["time"], 0, [_text("run.json", settings)]))
        for line, values in curves:
            writer.write(_event(line["time"], line["epoch"], values))
        writer.flush()
        os.replace(aside, os.path.join(place, name))
        for old in os.listdir(place):
            if old != name:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(os.path.join(place, old))
        writers[part] = writer
    return writers


def _curves(part: str, line: Dict[str, Any]) -> List[Any]:
    """The points that a line of metrics.jsonl adds to one part's curves."""
    values = []
    for key, value in line.items():
        validates = key.startswith("val_")
        if (
            key in _NO_CURVES
            or value is None
            or not math.isfinite(value)
            or validates != (part == "validation")
        ):
            continue
        values.append(
            _value(
                "epoch_" + key[4 * validates :],
                "scalars",
                _SCALAR,
                tf.make_tensor_proto(float(value)),
            )
        )
    return values


def _text(tag: str, text: str) -> Any:
    indented = "".join(
        "    {}\n".format(line) for line in text.splitlines()
    )  # Markdown shows it as it is
    return _value(tag, "text", _TENSOR, tf.make_tensor_proto(indented))


def _value(tag: str, plugin: str, data_class: int, tensor: Any) -> Any:
    v1 = tf.compat.v1
    about = v1.SummaryMetadata(
        plugin_data=v1.SummaryMetadata.PluginData(plugin_name=plugin), data_class=data_class
    )
    return v1.Summary.Value(tag=tag, metadata=about, tensor=tensor)


def _event(wall_time: float, step: int, values: List[Any]) -> bytes:
    event = tf.compat.v1.Event(
        wall_time=wall_time, step=step, summary=tf.compat.v1.Summary(value=values)
    )
    return bytes(event.SerializeToString())
