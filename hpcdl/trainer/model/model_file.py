"""Saving the trained model so that it loads elsewhere, and takes images as they are in the set."""

from __future__ import annotations

import os
import traceback
from typing import Any, Callable, Dict, NamedTuple, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.contract import run_files
from hpcdl.contract.atomic import replace_with
from hpcdl.contract.spec import FunctionSpec, RunSpec
from hpcdl.trainer import compat
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.model import compiling, needed_modules
from hpcdl.trainer.runtime.log import say

WEIGHTS = "model.weights.h5"
SCALING = "scale_images"  # the layer that brings images to [0, 1]


class Trained(NamedTuple):
    """A model after its training, and what is needed to save it.

    image_shape: (height, width, channels) of the images that it takes.
    scale: the set's images times this lie in [0, 1], which is what the model was trained on.
    compiled_by_user: whether the user's function gave it its loss and optimizer.
    """

    model: Any
    strategy: Any
    image_shape: Tuple[int, ...]
    scale: float
    compiled_by_user: bool


def save_model(run: RunSpec, run_dir: RunDir, trained: Trained) -> Dict[str, Any]:
    """Save the model into the run folder, with the images' scaling in front of it.

    A user's model may hold layers that Keras cannot describe or load again. Then its weights alone
    are saved: a long training must not end with nothing.

    Returns:
        what result.json says about it: ``file`` (relative to the run folder), ``input`` (``shape``,
        ``dtype``, ``range``), ``output`` (softmax or logits), ``needs`` (the user's modules), and
        ``weights_only`` and ``safe_mode`` if they are not as usual.
    """
    os.makedirs(run_dir.path(run_files.MODEL), exist_ok=True)
    with trained.strategy.scope():
        model = _prepared(run, trained)
    scaled = model is not trained.model
    modules = needed_modules.own_modules(trained.model)
    trusted = needed_modules.has_lambda(trained.model)
    own_objects = needed_modules.own_objects(modules)

    def check(path: str) -> None:
        if isinstance(run.model, FunctionSpec):  # tests load all others
            _check_loads(path, model, own_objects, trusted)

    fault = _save_whole(model, run_dir, check)
    if fault:
        say("{}; saving its weights alone".format(fault))
        _write_aside(trained.model.save_weights, run_dir, WEIGHTS)
    file = WEIGHTS if fault else compat.model_file()
    about: Dict[str, Any] = {
        "file": os.path.join(run_files.MODEL, file),
        "input": _input(trained, scaled and not fault),
        "output": run.model.output,
        "needs": needed_modules.file_names(modules),
    }
    if fault:
        about["weights_only"] = True
    elif trusted:
        about["safe_mode"] = False
    say("model saved in {}".format(run_dir.path(about["file"])))
    return about


def _prepared(run: RunSpec, trained: Trained) -> Any:
    """The model as it is saved: scaling included, and compiled with nothing of hpcdl's."""
    model = _with_scaling(trained)
    if model is not trained.model:
        compat.forget_compilation(trained.model)
    if not trained.compiled_by_user:
        compiling.compile_to_save(model, trained.model, run.model, run.train)
    return model


def _with_scaling(trained: Trained) -> Any:
    """A model that scales its images first; the trained one itself if it need not or cannot."""
    if trained.scale == 1:
        return trained.model
    images = tf.keras.Input(trained.image_shape, name="images")
    layer = tf.keras.layers.Rescaling(trained.scale, name=SCALING, dtype="float32")
    try:
        outputs = trained.model(layer(images))
        return tf.keras.Model(images, outputs, name=trained.model.name)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        message = (
            "the images' scaling cannot be put in front of this model ({}: {}); "
            "it takes images in [0, 1]"
        )
        say(message.format(type(error).__name__, str(error).strip().partition("\n")[0]))
        return trained.model


def _input(trained: Trained, scaled: bool) -> Dict[str, Any]:
    """What the saved model takes; Keras turns other numbers into float32, uint8 too."""
    largest = round(1 / trained.scale) if scaled else 1
    return {"shape": list(trained.image_shape), "dtype": "float32", "range": [0, largest]}


def _save_whole(model: Any, run_dir: RunDir, check: Callable[[str], None]) -> str:
    """Save a model; returns why it cannot be saved, or an empty text."""
    try:
        _write_aside(model.save, run_dir, compat.model_file(), check)
    except (OSError, MemoryError):
        raise
    except _NotLoadedError as error:
        return "Keras cannot load this model again: {}".format(error)
    except Exception:
        traceback.print_exc()
        return "Keras cannot save this model as a whole (see above)"
    return ""


class _NotLoadedError(Exception):
    """A saved model cannot be loaded, or comes back with other weights."""


def _check_loads(path: str, model: Any, own_objects: Dict[str, Any], trusted: bool) -> None:
    """Load a file as docs/use-the-model.md does, and compare the weights.

    A user's layer without its own get_config, or with a wrong one, fails here already, and not
    only for those who have nothing but the file.
    """
    try:
        with tf.device("CPU:0"):
            loaded = compat.load_model(path, own_objects, trusted)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        return  # there is no room to try it
    except Exception as error:
        message = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise _NotLoadedError(message) from error
    saved, read = model.get_weights(), loaded.get_weights()
    if len(saved) != len(read):
        message = "it comes back with {} arrays of weights, not {}".format(len(read), len(saved))
        raise _NotLoadedError(message)
    for before, after in zip(saved, read):
        if not np.array_equal(before, after):
            raise _NotLoadedError("it comes back with other weights")


def _no_check(path: str) -> None:
    """For weights alone: the user's function builds their model."""


def _write_aside(
    save: Callable[[str], Any], run_dir: RunDir, name: str, check: Callable[[str], None] = _no_check
) -> None:
    """Save under another name, check and rename, so that no reader sees half a file.

    The suffix stays: Keras chooses the format by it.
    """
    aside = run_dir.path(run_files.MODEL, "aside-" + name)
    try:
        save(aside)
        check(aside)
        replace_with(run_dir.path(run_files.MODEL, name), aside)
    finally:
        if os.path.exists(aside):
            os.remove(aside)
