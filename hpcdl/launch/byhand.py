"""The command line of ``hpcdl shell``: a run's container with another program in it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from hpcdl import packages
from hpcdl.cluster.schema import Cluster
from hpcdl.container import Places
from hpcdl.errors import ContainerError, UserError
from hpcdl.job import Job
from hpcdl.launch.program import argv_of, passed, places_of, prepare_home, read_plan
from hpcdl.planning import Plan, plan
from hpcdl.run.freeze import freeze_code
from hpcdl.run.paths import RunPaths

_OF_THE_IMAGE = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr", "var")
Started = tuple[list[str], dict[str, str], str]


def argv_for_run(paths: RunPaths, program: list[str], here: str | None = None) -> Started:
    """The argv, environment and working directory for a run's container.

    Args:
        paths: the run.
        program: argv inside the container.
        here: the folder to run it in, so that its relative paths hold; None for the run's own.

    Raises:
        UserError: the run had no container.
        ContainerError: the container command is not here.
    """
    frozen = read_plan(paths)
    prepare_home(paths.home, frozen.data_root)
    places = places_of(paths, frozen)
    if here is not None and _can_be_bound(here):
        places = replace(places, workdir=here, binds=[*places.binds, here])
    return _started(frozen, places, program)


def _can_be_bound(folder: str) -> bool:
    """Whether a folder can be bound without hiding a folder of the image."""
    top = Path(folder).parts[1:2]
    return bool(top) and top[0] not in _OF_THE_IMAGE and not set(folder) & set(":,")


def argv_for_job(job: Job, cluster: Cluster, program: list[str], runs_root: Path) -> Started:
    """The same for a job that was not submitted: its home lies under ``<runs_root>/.shell``, its directory is this one.

    Raises:
        UserError: the job has no container.
        ContainerError: the container command is not here.
    """
    decided = packages.located(plan(job, cluster), cluster)
    packages.require(decided)
    here = os.getcwd()
    home = runs_root / ".shell" / job.name / "home"
    prepare_home(home, cluster.data_root)
    code = str(freeze_code(runs_root))
    places = Places(
        workdir=job.workdir or here,
        home=str(home),
        stop_file=str(home.parent / "stop"),
        pythonpath=":".join(filter(None, (job.env.get("PYTHONPATH"), code, None if decided.script else job.folder))),
        binds=[
            str(home.parent),
            here,
            code,
            job.folder,
            *([cluster.data_root] if Path(cluster.data_root).is_dir() else []),
        ],
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        passed=passed(decided),
    )
    return _started(decided, places, program)


def _started(decided: Plan, places: Places, program: list[str]) -> Started:
    if decided.image is None:
        raise UserError(
            f"{decided.name} runs without a container on {decided.cluster}, so there is none to open: "
            f"its Python is this machine's, {sys.executable}"
        )
    if not os.path.exists(decided.image):
        raise ContainerError(f"the image {decided.image} is not on this machine")
    argv, env = argv_of(decided, places, program)
    if decided.nv and not os.path.exists("/dev/nvidiactl"):
        argv.remove("--nv")  # a login node has no GPU
    if shutil.which(decided.runtime) is None:
        argv = _with_modules(decided, argv)
    return argv, env, places.workdir


def _with_modules(decided: Plan, argv: list[str]) -> list[str]:
    """Load the site's modules first, in a bash that then becomes the container."""
    if not decided.modules:
        raise ContainerError(f"there is no {decided.runtime} command here, and the profile names no module for it")
    init = f". {shlex.quote(decided.module_init)} && " if decided.module_init else ""
    script = f'{init}module load {" ".join(decided.modules)} && exec "$@"'
    return ["bash", "-c", script, "hpcdl-shell", *argv]


__all__ = ["argv_for_job", "argv_for_run"]
