"""Logs that TensorBoard reads: what metrics.jsonl says of each epoch, as event files.

They have the layout of those of Keras's callback: ``train`` and ``validation`` are two runs whose
curves have the same names and lie over each other. The events are TensorFlow's own;
``tf.summary.scalar`` would need the package tensorboard as well, which images with a newer
TensorFlow lack.
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
_VALIDATION = "val_"  # the prefix of the metrics of validation
# Sources: tensorboard/compat/proto/summary.proto, metadata.py of tensorboard/plugins/scalar
_SCALAR, _TENSOR = 1, 2


def epoch_logs(run_dir: RunDir, folder: str, settings: str) -> Callable[[Dict[str, Any]], None]:
    """A function that logs a line of metrics.jsonl, to be called when it is written.

    The first call of a process writes all epochs so far into a new file, which replaces those of
    earlier attempts: repeated epochs appear once. A full disk does not stop the training: the log
    says so once, and the next epoch begins with a new file again.

    Args:
        run_dir: the run folder.
        folder: where ``train`` and ``validation`` are made.
        settings: the run's, as text to show next to the curves.
    """
    writers: Dict[str, Any] = {}
    faults: List[Exception] = []

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
            if not faults:
                message = "TensorBoard's logs cannot be written: {}; the run goes on without"
                say(message.format(error))
            faults.append(error)

    return log


def _begin(run_dir: RunDir, folder: str, settings: str) -> Dict[str, Any]:
    """Write all epochs of metrics.jsonl to new files; returns their writers, by part.

    The files are written aside and renamed; the writers go on writing to them.
    """
    lines = run_dir.read_metrics()
    name = "events.out.tfevents.{:.0f}.{}".format(time.time(), run_dir.attempt)
    writers = {}
    for part in PARTS:
        curves = [_curves(part, line) for line in lines]
        if not any(curves):
            continue
        started = lines[0]["time"]
        part_folder = os.path.join(folder, part)
        os.makedirs(part_folder, exist_ok=True)
        aside = os.path.join(part_folder, "{}.tmp".format(os.getpid()))
        writer = tf.io.TFRecordWriter(aside)
        version = tf.compat.v1.Event(wall_time=started, file_version="brain.Event:2")
        writer.write(version.SerializeToString())
        if part == "train":
            writer.write(_event(started, 0, [_text("run.json", settings)]))
        for line, values in zip(lines, curves):
            writer.write(_event(line["time"], line["epoch"], values))
        writer.flush()
        os.replace(aside, os.path.join(part_folder, name))
        _remove_others(part_folder, name)
        writers[part] = writer
    return writers


def _remove_others(folder: str, name: str) -> None:
    """Remove all files of a folder but one."""
    for other in os.listdir(folder):
        if other != name:
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(folder, other))


def _curves(part: str, line: Dict[str, Any]) -> List[Any]:
    """The points that a line of metrics.jsonl adds to one part's curves."""
    values = []
    for key, value in line.items():
        of_validation = key.startswith(_VALIDATION)
        if key in _NO_CURVES or of_validation != (part == "validation"):
            continue
        if value is None or not math.isfinite(value):
            continue
        name = key[len(_VALIDATION) :] if of_validation else key
        tensor = tf.make_tensor_proto(float(value))
        values.append(_value("epoch_" + name, "scalars", _SCALAR, tensor))
    return values


def _text(tag: str, text: str) -> Any:
    # Indented, Markdown shows it as it is.
    indented = "".join("    {}\n".format(line) for line in text.splitlines())
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
