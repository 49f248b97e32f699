"""Whether figures of several runs can be compared, and if not, why, in a few words.

A reason is empty if the figures can be compared. Only trainings by hpcdl that are done take part:
hpcdl does not know the data and the loss of a script.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpcdl.formats import count
from hpcdl.report.facts import Facts
from hpcdl.report.settings import settings
from hpcdl.run import states

_DATA_KEYS = ("data.name", "data.path", "data.function", "data.args")
# What a loss depends on, besides the model's answers
_LOSS_KEYS = (
    "train.label_smoothing",
    "train.balance",
    "train.labels",
    "model.output",
    "model.l1",
    "model.l2",
    "model.function",
)
_ONLY_IN_TRAINING = ("data.augment", "model.dropout")  # they change the loss in training alone
_HEADER = 10  # bytes of an .npy file before the text of its header, in version 1


def takes_part(run: Facts) -> bool:
    """Whether a run's figures can be compared at all."""
    return run.status.state == states.DONE and not run.is_script


def why_not(kind: str, runs: Sequence[Facts]) -> str:
    """Why figures of a kind cannot be compared; empty if they can.

    Args:
        kind: test, test_loss, validation, validation_loss, training, training_loss, speed, time
            (of the same work), or nothing: figures that can always be compared.
        runs: those that take part.
    """
    if kind == "":
        return ""
    if kind in ("speed", "time"):
        reason = _other_hardware(runs) or _other_folds(runs) or _other_data(runs)
        if not reason and kind == "time":
            reason = _other_work(runs)
        return reason
    reason = _other_folds(runs) or _other_data(runs)
    if not reason and kind.startswith("validation"):
        reason = _other_validation(runs)
    if not reason and kind.endswith("_loss"):
        reason = _first_difference(runs, _LOSS_KEYS)
    if not reason and kind.startswith("training"):
        reason = _first_difference(runs, _ONLY_IN_TRAINING)
    return reason


def _other_data(runs: Sequence[Facts]) -> str:
    identities = {_data_identity(run) for run in runs}
    if len(identities) > 1:
        return _first_difference(runs, _DATA_KEYS) or "the paths or checksums of the data differ"
    changed = _first_difference(runs, ("data.args",))
    if changed:
        return changed
    shapes = _differing(runs, _shape, ", ")
    if shapes:
        return f"the images' sizes differ ({shapes})"
    rows = _differing(runs, lambda run: _rows(run, "test"), "; ")
    if rows:
        return f"the numbers of test images differ ({rows})"
    labels = {_test_labels(run.shown.predictions) for run in runs} - {None}
    if len(labels) > 1:
        return "the test labels differ"
    return ""


def _data_identity(run: Facts) -> str:
    """What names a run's data: the file's hash, else its path."""
    data_file = run.manifest.data
    if isinstance(data_file, dict) and data_file.get("sha256"):
        return str(data_file["sha256"])
    return str(run.section("data").get("path"))


def _shape(run: Facts) -> str:
    return "×".join(map(str, run.section("data").get("image_shape") or ()))


def _other_folds(runs: Sequence[Facts]) -> str:
    numbers = {settings(run.job).get("train.cross_validation") for run in runs}
    if len(numbers) < 2:
        return ""
    if None in numbers:
        return "one is the mean of a cross-validation, another is not"
    return "train.cross_validation differs"


def _other_validation(runs: Sequence[Facts]) -> str:
    reason = _first_difference(runs, ("data.validation_split", "train.cross_validation"))
    if not reason and _first_difference(runs, ("train.seed",)):
        return "train.seed differs, which chooses the validation images"
    return reason


def _other_hardware(runs: Sequence[Facts]) -> str:
    if any(run.emulated for run in runs):
        return "GPUs were emulated"
    devices = _differing(runs, lambda run: run.devices or "unknown", "; ")
    if devices:
        return f"the devices differ ({devices})"
    clusters = _differing(runs, _cluster, ", ")
    if clusters:
        return f"the clusters differ ({clusters})"
    cpus = _differing(runs, lambda run: str(run.plan.get("cpus")), ", ")
    if cpus:
        return f"the numbers of CPUs differ ({cpus})"
    return ""


def _other_work(runs: Sequence[Facts]) -> str:
    """Why an epoch is not the same work in all runs."""
    rows = _differing(runs, lambda run: _rows(run, "train"), "; ")
    if rows:
        return f"the numbers of training images differ ({rows})"
    return _first_difference(runs, ("train.balance",))  # which may draw images more than once


def _differing(runs: Sequence[Facts], value: Callable[[Facts], str], separator: str) -> str:
    """The values of the runs, each once; empty if all are the same."""
    values = list(dict.fromkeys(map(value, runs)))
    if len(values) < 2:
        return ""
    return separator.join(values)


def _rows(run: Facts, part: str) -> str:
    return count(run.section("data").get(f"rows_{part}"))


def _cluster(run: Facts) -> str:
    return str(run.section("cluster").get("name") or run.plan.get("cluster"))


def _first_difference(runs: Sequence[Facts], keys: Sequence[str]) -> str:
    """The first of some keys of the jobs that is not the same in all runs."""
    if not runs:
        return ""
    first, *others = [settings(run.job) for run in runs]
    for key in keys:
        value = _below(key, first)
        if any(_below(key, other) != value for other in others):
            return f"{key} differs"
    return ""


def _below(key: str, flat: dict[str, Any]) -> dict[str, Any]:
    """A key's value, or those of the keys below it. 0, false and empty values count as not set."""
    values = {}
    for name, value in flat.items():
        if (name == key or name.startswith(f"{key}.")) and value:
            values[name] = value
    return values


def _test_labels(predictions: Path) -> str | None:
    """A hash of the test labels in predictions.npz; None if they cannot be read.

    numpy is not used, because loading it takes longer than everything else here. The header is
    left out, because versions of numpy write it differently.
    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    try:
        with zipfile.ZipFile(predictions) as archive:
            content = archive.read("labels.npy")
        (length,) = struct.unpack("<H", content[_HEADER - 2 : _HEADER])
    except (OSError, KeyError, zipfile.BadZipFile, struct.error):
        return None
    return hashlib.sha256(content[_HEADER + length :]).hexdigest()
