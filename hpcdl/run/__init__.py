"""A run: one folder on the shared file system, whose files are the truth.

The names are loaded when first used: whoever renders a batch script looks at no run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcdl.run.handle import Run, find_run, find_runs, fitting_names, run_at, runs_below

__all__ = ["Run", "find_run", "find_runs", "fitting_names", "run_at", "runs_below"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hpcdl.run' has no attribute {name!r}")
    from hpcdl.run import handle

    return getattr(handle, name)
