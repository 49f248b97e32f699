"""How to install what only some commands need, and hpcdl itself, which is not on PyPI."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit

DIGITS = ("scikit-learn",)
REPORT = ("scikit-learn",)
IMAGES = ("google-crc32c", "pillow")
BAYES = ("optuna",)
PREDICT = ("ai-edge-litert", "pillow")
TENSORBOARD = ("tensorboard",)
TENSORFLOW = ("tensorflow",)


def pip_install(*packages: str, python: str | None = None) -> str:
    """The command that installs packages for a Python.

    Args:
        packages: names on PyPI, or paths.
        python: the interpreter; None for the one that runs hpcdl.
    """
    return shlex.join([python or sys.executable, "-m", "pip", "install", *packages])


def own_source() -> str:
    """The folder or wheel that hpcdl was installed from, as pip noted it, or a placeholder.

    Source of direct_url.json: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    unknown = "/path/to/hpcdl"
    try:
        text = distribution("hpcdl").read_text("direct_url.json")
        url = urlsplit(json.loads(text or "{}").get("url", ""))
    except (PackageNotFoundError, ValueError):
        return unknown
    return unquote(url.path) if url.scheme == "file" else unknown
