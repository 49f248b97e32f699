"""Which of the user's own modules a saved model needs when it is loaded."""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from types import ModuleType
from typing import Any, Dict, List, Set

_KERAS = ("builtins", "hpcdl", "keras", "numpy", "tensorflow", "tf_keras")
_NEEDED_BY_KERAS = ("absl", "h5py", "ml_dtypes", "optree", "wrapt")


def own_modules(model: Any) -> List[ModuleType]:
    """The modules of a model's classes and functions that are not Keras's, sorted by name."""
    names: Set[str] = set()
    for layer in model._flatten_layers():
        names.add(type(layer).__module__)
        for value in vars(layer).values():
            if inspect.isfunction(value) and value.__name__ != "<lambda>":
                names.add(str(value.__module__))
            elif not inspect.isfunction(value):
                names.add(type(value).__module__)
    return [sys.modules[name] for name in sorted(names) if _is_own(name)]


def own_objects(modules: List[ModuleType]) -> Dict[str, Any]:
    """The modules' classes and functions by name: ``custom_objects`` of Keras's load_model."""
    objects: Dict[str, Any] = {}
    for module in modules:
        for name, value in vars(module).items():
            if inspect.isclass(value) or inspect.isfunction(value):
                objects[name] = value
    return objects


def has_lambda(model: Any) -> bool:
    """Whether the model has a Lambda layer, whose Python code Keras runs only if asked to."""
    return any(type(layer).__name__ == "Lambda" for layer in model._flatten_layers())


def file_names(modules: List[ModuleType]) -> List[str]:
    """The modules' files, relative to their import path; of installed packages the name."""
    names: Set[str] = set()
    for module in modules:
        file = str(getattr(module, "__file__", None) or "")
        path = module.__name__.replace(".", "/")
        if _is_installed(file):
            names.add(module.__name__.partition(".")[0])
        elif os.path.basename(file) == "__init__.py":
            names.add(path + "/__init__.py")
        else:
            names.add(path + ".py")
    return sorted(names)


def _is_own(name: str) -> bool:
    if name.partition(".")[0] in (*_KERAS, *_NEEDED_BY_KERAS) or name not in sys.modules:
        return False
    file = str(getattr(sys.modules[name], "__file__", None) or "")
    standard = sysconfig.get_paths()["stdlib"] + os.sep
    return bool(file) and (_is_installed(file) or not file.startswith(standard))


def _is_installed(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file
