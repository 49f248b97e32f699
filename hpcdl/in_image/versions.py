"""Answers which versions an image has: Python, TensorFlow, Keras, numpy, CUDA and cuDNN."""

from __future__ import annotations

import importlib
import json
import platform
import sys
from typing import Any


def versions() -> dict[str, Any]:
    """The versions by name; None for what the image does not have."""
    answer: dict[str, Any] = {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "cuda": None,
        "cudnn": None,
    }
    for name in ("tensorflow", "keras", "numpy"):
        answer[name] = _version(name)
    if answer["tensorflow"]:
        tensorflow = importlib.import_module("tensorflow")
        built = tensorflow.sysconfig.get_build_info()
        answer["cuda"], answer["cudnn"] = built.get("cuda_version"), built.get("cudnn_version")
        answer["keras"] = _keras_of(tensorflow)
    return answer


def _version(name: str) -> str | None:
    try:
        version: str = importlib.import_module(name).__version__
    except ImportError:
        return None
    return version


def _keras_of(tensorflow: Any) -> str | None:
    """The version of the Keras that TensorFlow uses: keras, or tf_keras if the image says so."""
    try:
        package = tensorflow.keras.Model.__module__.partition(".")[0]
        return getattr(tensorflow.keras, "__version__", None) or _version(package)
    except ImportError:  # TF_USE_LEGACY_KERAS asks for tf_keras, which the image does not have
        return None


if __name__ == "__main__":
    text = json.dumps(versions())
    sys.stdout.write(f"\nhpcdl: {text}\n")  # an import may have written half a line
