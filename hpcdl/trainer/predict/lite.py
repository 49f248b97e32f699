"""The exported models of runs, run by TensorFlow Lite's library without the rest of TensorFlow.

To import TensorFlow takes seconds; its wheel holds LiteRT's interpreter as a library of its own,
which loads in a tenth of a second. `tf.lite.Interpreter` calls the same functions.
"""

from __future__ import annotations

import glob
import importlib.machinery
import importlib.util
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List

import numpy as np

from hpcdl.contract.machine import cpus
from hpcdl.contract.predict_spec import PredictSpec

_LIBRARY = "_pywrap_tensorflow_interpreter_wrapper"
_PLACES = ("lite/python/interpreter_wrapper", "lite/python")  # of it, in TensorFlow's folder
_BUILTIN = 1  # the number of OpResolverType.BUILTIN: with XNNPACK
_WHITE = np.float32(255)


class LiteModels:
    """One or several exported models, whose mean probabilities are the answer.

    Each image goes through on its own, on one thread: so its answer depends on no other image, and
    on no number of CPUs.

    Args:
        spec: the prediction; each of its members has an exported file.

    Raises:
        Exception: of any kind, if a model cannot be run here: TensorFlow can.
    """

    def __init__(self, spec: PredictSpec) -> None:
        make = _maker()
        files = [os.path.join(member.run, member.lite) for member in spec.members]
        self._files, self._make = files, make
        self._here = threading.local()
        self._pool = ThreadPoolExecutor(cpus())
        shape = self._one(np.zeros(spec.members[0].shape, np.uint8)).shape
        if shape != (len(spec.classes),):
            raise ValueError("the exported models give {} values for an image".format(shape))

    def __call__(self, images: Any) -> Any:
        """The probabilities of images.

        Args:
            images: uint8 (rows, height, width, channels).

        Returns:
            float32 (rows, classes).
        """
        return np.stack(list(self._pool.map(self._one, images)))

    def _one(self, image: Any) -> Any:
        models = getattr(self._here, "models", None)
        if models is None:  # an interpreter is for one thread
            models = [_Model(self._make, file) for file in self._files]
            self._here.models = models
        values = image[None].astype(np.float32) / _WHITE
        total = models[0](values)
        for model in models[1:]:
            total = total + model(values)
        return total / np.float32(len(models))


class _Model:
    """A .tflite file that takes one float32 image in [0, 1]."""

    def __init__(self, make: Callable[[str], Any], file: str) -> None:
        self._wrapper = make(file)
        self._wrapper.AllocateTensors()
        self._input = self._wrapper.InputIndices()[0]
        self._output = self._wrapper.OutputIndices()[0]

    def __call__(self, image: Any) -> Any:
        self._wrapper.SetTensor(self._input, image, 0)
        self._wrapper.Invoke()
        return self._wrapper.GetTensor(self._output, 0)[0]


def _maker() -> Callable[[str], Any]:
    """A function that makes the library's interpreter of a .tflite file, with one thread."""
    library = _library()

    def make(file: str) -> Any:
        arguments: List[Any] = [file, _BUILTIN, [], False]
        try:
            wrapper = library.CreateWrapperFromFile(*arguments)
        except TypeError:  # newer ones have one more switch
            wrapper = library.CreateWrapperFromFile(*arguments, False)
        wrapper.SetNumThreads(1)
        return wrapper

    return make


def _library() -> Any:
    """The library, from TensorFlow's folder.

    Raises:
        ImportError: TensorFlow is not installed, or has it elsewhere.
    """
    tensorflow = importlib.util.find_spec("tensorflow")
    root = os.path.dirname(str(tensorflow and tensorflow.origin))
    for place in _PLACES:
        for path in glob.glob(os.path.join(glob.escape(root), place, _LIBRARY + "*.so")):
            # The name that TensorFlow gives it: loaded twice, an import of TensorFlow would fail
            name = ".".join(["tensorflow", *place.split("/"), _LIBRARY])
            loader = importlib.machinery.ExtensionFileLoader(name, path)
            spec = importlib.util.spec_from_file_location(name, path, loader=loader)
            assert spec is not None  # noqa: S101 - for mypy
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
            sys.modules[name] = module
            return module
    raise ImportError("{} is not in TensorFlow's folder".format(_LIBRARY))
