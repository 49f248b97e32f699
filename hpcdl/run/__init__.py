"""A run: one folder on the shared file system, whose files are the truth.

The names are loaded when they are first used: rendering a batch script needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcdl.run.finding import find_run, find_runs, fitting_names, run_at, runs_below
    from hpcdl.run.handle import Run

__all__ = ["Run", "find_run", "find_runs", "fitting_names", "run_at", "runs_below"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hpcdl.run' has no attribute {name!r}")
    if name == "Run":
        from hpcdl.run.handle import Run

        return Run
    from hpcdl.run import finding

    return getattr(finding, name)
