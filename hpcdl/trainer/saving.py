"""Saving the trained model so that it can be loaded elsewhere."""

from __future__ import annotations

import os
import traceback
from typing import Any

from hpcdl.trainer import compat
from hpcdl.trainer.output import say
from hpcdl.trainer.rundir import RunDir


def save_model(model: Any, run_dir: RunDir) -> str:
    """Save the model into the run folder and return its path there.

    A user's model may hold layers that Keras cannot describe; then its weights alone are saved, for
    a long training must not end with nothing.
    """
    os.makedirs(run_dir.path("model"), exist_ok=True)
    try:
        path = _save_aside(model.save, run_dir, compat.model_file())
    except (OSError, MemoryError):
        raise
    except Exception:
        traceback.print_exc()
        say("Keras cannot save this model as a whole (see above); saving its weights alone")
        path = _save_aside(model.save_weights, run_dir, "model.weights.h5")
    say("model saved in {}".format(run_dir.path(path)))
    return path


def _save_aside(save: Any, run_dir: RunDir, name: str) -> str:
    """Save under another name (Keras looks at the ending) and rename, so that no reader sees half a file."""
    aside = run_dir.path("model", "aside-" + name)
    try:
        save(aside)
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, run_dir.path("model", name))
    finally:
        if os.path.exists(aside):
            os.remove(aside)
    return os.path.join("model", name)
