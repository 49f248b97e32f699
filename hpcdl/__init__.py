"""hpcdl: train image classifiers, or run any Python script, on SLURM clusters, from one YAML file.

The public names are loaded when first used, so that ``import hpcdl`` costs
nothing: on a login node it runs for every command, and inside the container it
must work on Python 3.8 with nothing of hpcdl's host packages installed.
"""

TYPE_CHECKING = False  # what a type checker takes for true; `typing` itself need not be loaded
if TYPE_CHECKING:
    from hpcdl.api import log, render, submit, sweep
    from hpcdl.cluster import load_cluster
    from hpcdl.contract.version import __version__
    from hpcdl.job import load_job
    from hpcdl.planning import plan
    from hpcdl.run import Run
    from hpcdl.sweeps.handle import Sweep

__all__ = [
    "Run",
    "Sweep",
    "__version__",
    "load_cluster",
    "load_job",
    "log",
    "plan",
    "render",
    "submit",
    "sweep",
]

_HOME_OF = {
    "Run": "hpcdl.run",
    "Sweep": "hpcdl.sweeps.handle",
    "__version__": "hpcdl.contract.version",
    "load_cluster": "hpcdl.cluster",
    "load_job": "hpcdl.job",
    "log": "hpcdl.api",
    "plan": "hpcdl.planning",
    "render": "hpcdl.api",
    "submit": "hpcdl.api",
    "sweep": "hpcdl.api",
}


def __getattr__(name):  # type: ignore[no-untyped-def]  # py3.8 here, and no imports
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hpcdl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME_OF[name]), name)
