"""result.json: what came out of a run, and what made it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
from dataclasses import asdict
from typing import Any, Dict

import numpy as np
import tensorflow as tf

from hpcdl import __version__
from hpcdl.contract.settings import drop_later_settings
from hpcdl.contract.spec import SCHEMA_VERSION, RunSpec
from hpcdl.trainer import compat
from hpcdl.trainer.dataset.load import Dataset
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.fit.best import restored
from hpcdl.trainer.runtime.devices import Devices


def fingerprint(run: RunSpec) -> str:
    """A hash of all settings that the weights depend on: a checkpoint is good for runs with the same one.

    Settings newer than the run are ignored while they have their default, so older checkpoints stay
    valid.
    """
    settings = {
        key: value
        for key, value in asdict(run).items()
        if key in ("data", "model", "train", "devices")
    }
    drop_later_settings(RunSpec, settings)
    if run.data.validation_split:
        settings["split"] = (
            "by class"  # other rows than those of a hpcdl that took them from all classes together
        )
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


def result(
    run: RunSpec,
    run_dir: RunDir,
    dataset: Dataset,
    devices: Devices,
    model: Any,
    saved: Dict[str, Any],
    rows: Dict[str, int],
    test: Dict[str, float],
    state: Dict[str, Any],
    timing: Dict[str, float],
) -> Dict[str, Any]:
    """The content of result.json.

    Args:
        saved: the saved model, as `saving.save_model` tells of it.
        rows: the number of rows in ``train``, ``validation`` and ``test``.
        test: the metrics on the test rows.
        state: what `loop.train` ended with.
        timing: seconds by name; those of the epochs are added from metrics.jsonl.
    """
    epochs = run_dir.read_metrics()
    tested = epochs[state["best"]["epoch"] - 1] if restored(run, state) else epochs[-1]
    validation = {name[4:]: value for name, value in tested.items() if name.startswith("val_")}
    of_validation = {"rows": rows["validation"], "epoch": tested["epoch"]}
    name = getattr(run.model, "name", None) or model.name
    return {
        "schema_version": SCHEMA_VERSION,
        "state": "done",
        "name": run.name,
        "model": dict(_sizes(model), name=name, **saved),
        "test": dict(test, rows=rows["test"], epoch=tested["epoch"]),
        "validation": dict(validation, **of_validation) if validation else None,
        "best": state["best"],
        "epochs_run": len(epochs),
        "stopped_early": state["stopped_early"],
        "steps": sum(line["steps"] for line in epochs),
        "timing": dict(timing, **_epoch_timing(epochs)),
        "devices": {
            "strategy": devices.strategy_name,
            "replicas": devices.replicas,
            "names": devices.names,
            "emulated": devices.emulated,
            "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        },
        "data": {
            "path": dataset.path,
            "rows_train": rows["train"],
            "rows_validation": rows["validation"],
            "rows_test": rows["test"],
            "image_shape": list(dataset.image_shape),
            "classes": dataset.classes,
            "class_names": dataset.class_names or None,
        },
        "versions": versions(),
        "seed": run.train.seed,
    }


def _sizes(model: Any) -> Dict[str, int]:
    def count(weights: Any) -> int:
        return sum(int(np.prod(weight.shape)) for weight in weights)

    return {
        "parameters": count(model.weights),
        "trainable_parameters": count(model.trainable_weights),
        "depth": compat.depth(model),
    }


def _epoch_timing(epochs: Any) -> Dict[str, float]:
    """The first epoch's seconds, which hold the tracing of the graph, and the median of the others."""
    later = epochs[1:] or epochs
    return {
        "first_epoch_s": epochs[0]["seconds"],
        "per_epoch_s": statistics.median(line["seconds"] for line in later),
        "images_per_s": statistics.median(line["images_per_s"] for line in later),
    }
