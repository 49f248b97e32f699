"""result.json: the content, from the session and what its training gave."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional

import numpy as np
import tensorflow as tf

from hpcdl.contract.settings import drop_later_settings
from hpcdl.contract.spec import SCHEMA_VERSION, DeviceSpec, RunSpec
from hpcdl.contract.version import __version__
from hpcdl.trainer import compat
from hpcdl.trainer.fit.best import restored
from hpcdl.trainer.session import Session

# A checkpoint depends on the settings of these sections alone
_SECTIONS_OF_WEIGHTS = ("data", "model", "train", "start")


@dataclass(frozen=True)
class Outcome:
    """What a training gave.

    model: the model, from images to classes.
    saved: the saved model, as `model_file.save_model` describes it.
    rows: the number of rows in ``train``, ``validation`` and ``test``.
    test: the metrics on the test rows.
    state: the final state of the training loop.
    """

    model: Any
    saved: Dict[str, Any]
    rows: Dict[str, int]
    test: Dict[str, float]
    state: Dict[str, Any]


def fingerprints(run: RunSpec) -> List[str]:
    """The hashes of all settings that the weights depend on: of this version, and of earlier ones.

    A checkpoint is valid for runs with the same hash. Settings newer than the run are ignored while
    they have their default, so older checkpoints stay valid. A run may go on on other devices;
    earlier versions counted their number.
    """
    older = DeviceSpec(run.devices.gpus, run.devices.emulate)
    return [_fingerprint(run, DeviceSpec()), _fingerprint(run, older)]


def _fingerprint(run: RunSpec, devices: DeviceSpec) -> str:
    settings: Dict[str, Any] = {}
    for key, value in asdict(run).items():
        if key in _SECTIONS_OF_WEIGHTS:
            settings[key] = value
    settings["devices"] = asdict(devices)
    drop_later_settings(RunSpec, settings)
    if run.data.validation_split:
        # Older versions of hpcdl took other rows: from all classes together.
        settings["split"] = "by class"
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode("utf-8")).hexdigest()


def versions() -> Dict[str, str]:
    """The versions of what computes the result."""
    return {
        "hpcdl": __version__,
        "python": platform.python_version(),
        "tensorflow": str(tf.__version__),
        "keras": compat.keras_version(),
        "numpy": str(np.__version__),
    }


def cuda_of_image() -> Optional[str]:
    """The CUDA that this TensorFlow was built for; None if it was built without."""
    version = tf.sysconfig.get_build_info().get("cuda_version")
    return None if version is None else str(version)


def result_of(session: Session, outcome: Outcome) -> Dict[str, Any]:
    """The content of result.json. The times of the epochs come from metrics.jsonl."""
    run, state, rows = session.run, outcome.state, outcome.rows
    epochs = session.run_dir.read_metrics()
    tested = epochs[state["best"]["epoch"] - 1] if restored(run, state) else epochs[-1]
    name = getattr(run.model, "name", None) or outcome.model.name
    return {
        "schema_version": SCHEMA_VERSION,
        "state": "done",
        "name": run.name,
        "model": dict(_sizes(outcome.model), name=name, **outcome.saved),
        "test": dict(outcome.test, rows=rows["test"], epoch=tested["epoch"]),
        "validation": _validation(tested, rows["validation"]),
        "best": state["best"],
        "epochs_run": len(epochs),
        "stopped_early": state["stopped_early"],
        "steps": sum(line["steps"] for line in epochs),
        "timing": dict(session.timing, **_epoch_timing(epochs)),
        "devices": _devices(session),
        "data": _data(session, rows),
        "versions": versions(),
        "seed": run.train.seed,
    }


def _validation(epoch: Dict[str, Any], rows: int) -> Any:
    """The metrics of validation in an epoch's line of metrics.jsonl; None without validation."""
    prefix = "val_"
    metrics: Dict[str, Any] = {}
    for name, value in epoch.items():
        if name.startswith(prefix):
            metrics[name[len(prefix) :]] = value
    if not metrics:
        return None
    return dict(metrics, rows=rows, epoch=epoch["epoch"])


def _devices(session: Session) -> Dict[str, Any]:
    devices = session.devices
    return {
        "strategy": devices.strategy_name,
        "replicas": devices.replicas,
        "names": devices.names,
        "emulated": devices.emulated,
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _data(session: Session, rows: Dict[str, int]) -> Dict[str, Any]:
    dataset = session.dataset
    return {
        "path": dataset.path,
        "rows_train": rows["train"],
        "rows_validation": rows["validation"],
        "rows_test": rows["test"],
        "image_shape": list(dataset.image_shape),
        "classes": dataset.classes,
        "class_names": dataset.class_names or None,
    }


def _sizes(model: Any) -> Dict[str, int]:
    return {
        "parameters": compat.parameters(model.weights),
        "trainable_parameters": compat.parameters(model.trainable_weights),
        "depth": compat.depth(model),
    }


def _epoch_timing(epochs: List[Dict[str, Any]]) -> Dict[str, float]:
    """The seconds of the first epoch, which includes tracing, and the medians of the others."""
    later = epochs[1:] or epochs
    return {
        "first_epoch_s": epochs[0]["seconds"],
        "per_epoch_s": statistics.median(epoch["seconds"] for epoch in later),
        "images_per_s": statistics.median(epoch["images_per_s"] for epoch in later),
    }
