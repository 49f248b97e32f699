"""The command line of submitit's worker: the call that it runs was pickled on the login node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def worker_command(python: str, folder: Path, options: Sequence[str] = ("-s",)) -> list[str]:
    """The argv of submitit's worker for a folder of its pickles."""
    return [python, *options, "-u", "-m", "hpcdl.worker", str(folder)]


def python_options() -> list[str]:
    """Options of the worker's Python: no ~/.local, unless hpcdl's packages are installed there."""
    import site
    from importlib.util import find_spec

    user_site = site.getusersitepackages()
    for name in ("msgspec", "submitit", "cloudpickle"):
        module = find_spec(name)
        if module and module.origin and Path(module.origin).is_relative_to(user_site):
            return []
    return ["-s"]
