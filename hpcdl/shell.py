"""The command line of ``hpcdl shell``: a run's container with another program in it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpcdl.cluster.schema import Cluster
from hpcdl.container import Places, plain
from hpcdl.errors import ContainerError, UserError
from hpcdl.job import Job
from hpcdl.launch.command import (
    argv_of,
    frozen_programs,
    passed,
    places_of,
    prepare_home,
    read_plan,
)
from hpcdl.mounts.binds import is_system, is_within
from hpcdl.mounts.needed import programs
from hpcdl.planning import Plan, plan
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Manifest
from hpcdl.submission.locate import locate, with_models
from hpcdl.usercode.freeze import freeze_code

_MAY_BE_THE_USERS = ("/opt", "/root", "/tmp")  # noqa: S108 - system folders with room for a user's
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
    prepare_home(paths.home, frozen.data_root, frozen_programs(paths))
    places = places_of(paths, frozen)
    if places.workdir == str(paths.work):
        paths.work.mkdir(exist_ok=True)  # an empty one goes when a run is done
    if here is not None and _can_be_bound(here):
        places = replace(places, workdir=here, binds=[*places.binds, here])
    return _started(frozen, places, program)


def argv_for_export(
    paths: RunPaths, kinds: list[str], members: Sequence[RunPaths] = (), mean: str = ""
) -> Started:
    """The same for the program that exports a run's model, of this hpcdl: the run's may be older.

    Args:
        paths: a training that is done.
        kinds: what its model is exported as.
        members: the trainings whose mean is exported instead.
        mean: the name of the mean.
    """
    frozen = read_plan(paths)
    prepare_home(paths.home, frozen.data_root, frozen_programs(paths))
    runs_root = Path(Manifest.read(paths).code_folder or paths.root.parent / "x" / "x").parents[1]
    code = str(freeze_code(runs_root))
    places = places_of(paths, frozen)
    binds = [*places.binds, f"{code}:{code}:ro"]
    program = ["-m", "hpcdl.trainer.export", str(paths.spec), *kinds]
    if members:
        program += ["--mean", mean]
    for member in members:
        folders = [str(member.user), *read_plan(member).environment.pythonpath]
        program += ["--member", str(member.spec), ":".join(folders)]
        if member == paths:
            continue  # its own plan binds these
        for folder in [str(member.shown()), *folders]:
            is_bound = Path(folder).is_relative_to(paths.shown())
            if not is_bound and os.path.exists(folder):
                binds.append(f"{folder}:{folder}:ro")
    places = replace(places, pythonpath=f"{code}:{paths.user}", binds=binds)
    python = sys.executable if frozen.container is None else frozen.container.python
    if frozen.container is None:
        return *argv_of(frozen, places, [python, *program]), str(paths.root)
    return _started(frozen, places, [python, *program])


def _can_be_bound(folder: str) -> bool:
    """Whether a folder can be bound without hiding a folder of the image."""
    if set(folder) & set(":,"):
        return False
    return not is_system(folder) or any(is_within(folder, top) for top in _MAY_BE_THE_USERS)


def argv_for_job(job: Job, cluster: Cluster, program: list[str], runs_root: Path) -> Started:
    """The same for a job that was not submitted.

    Its home lies under ``<runs_root>/.shell``. It starts in this folder.

    Raises:
        UserError: the job has no container.
        ContainerError: the container command is not here.
    """
    job = with_models(job, cluster)
    located = locate(job, cluster, plan(job, cluster))
    located.require_packages()
    here = os.getcwd()
    home = runs_root / ".shell" / job.name / "home"
    prepare_home(home, cluster.data_root, programs(job).values())
    code = str(freeze_code(runs_root))
    own = [str(home.parent), here, code, job.folder, *([job.workdir] if job.workdir else [])]
    decided = located.shown(own, here).plan
    read = [cluster.data_root, *decided.program.reads]
    own += [f"{folder}:{folder}:ro" for folder in read if os.path.exists(folder)]
    folders = [job.env.get("PYTHONPATH"), code]
    if not job.script:
        folders.append(job.folder)  # a model's function lies there
    places = Places(
        workdir=job.workdir or here,
        home=str(home),
        stop_file=str(home.parent / "stop"),
        pythonpath=":".join(filter(None, folders)),
        binds=own,
        visible_devices=os.environ.get(decided.gpu_vendor.variable),
        passed=passed(decided),
    )
    return _started(decided, places, program)


def _started(decided: Plan, places: Places, program: list[str]) -> Started:
    container = decided.container
    if container is None:
        raise UserError(
            f"{decided.name} runs without a container on {decided.cluster}, "
            f"so there is none to open: its Python is this machine's, {sys.executable}"
        )
    if not os.path.exists(container.image):
        raise ContainerError(f"the image {container.image} is not on this machine")
    argv, env = argv_of(decided, places, program)
    if container.nv and not os.path.exists(decided.gpu_vendor.driver):
        argv.remove(decided.gpu_vendor.option)  # a login node has no GPU
    return *_with_modules(decided, argv, env), plain(places.workdir)


def _with_modules(
    decided: Plan, argv: list[str], env: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Load the site's modules first, in a bash that then becomes the container.

    They may bring the command, and may say what every container sees. If the command is here
    without them, it does not matter whether they can be loaded.
    """
    runtime = decided.require_container().runtime
    here = shutil.which(runtime) is not None
    if not decided.modules.modules:
        if not here:
            raise ContainerError(
                f"there is no {runtime} command here, and the profile names no module for it"
            )
        return argv, env
    lines = decided.module_lines()
    if here:
        steps = f"{{ {' && '.join(lines)}; }} >/dev/null 2>&1;"
    else:
        steps = f"{_modules_or_refusal(decided, lines)};"
    bash = ["bash"]
    is_defined = any(name.startswith("BASH_FUNC_module") for name in env)
    if not decided.modules.module_init and not is_defined:
        bash.append("-l")  # the site's login files define the command; the user's own do not count
        steps = f'export HOME="$0"; {steps}'
        env = {**env, "HOME": "/nonexistent"}
    return [*bash, "-c", f'{steps} exec "$@"', os.environ.get("HOME", "/"), *argv], env


def _modules_or_refusal(decided: Plan, lines: list[str]) -> str:
    """The module lines in bash, which ends with a message if the container command is missing."""
    runtime, cluster = decided.require_container().runtime, decided.cluster
    modules = ", ".join(decided.modules.modules)
    elsewhere = f"run hpcdl shell on a machine of {cluster} that has"
    none = f"there is no {runtime} command"
    steps = [line for line in lines if line.startswith("source ")]
    loads = [line for line in lines if not line.startswith("source ")]
    message = f"{none} here, nor a module command that could load it: {elsewhere} one of them"
    steps.append(_or_end("type module >/dev/null 2>&1", message))
    message = f"the modules of {cluster} do not load here ({modules}), and {none} without them"
    steps.append(_or_end(" && ".join(loads), message))
    message = f"{none} here, with the modules of {cluster} loaded ({modules}): {elsewhere} it"
    steps.append(_or_end(f"type {runtime} >/dev/null 2>&1", message))
    return "; ".join(steps)


def _or_end(command: str, message: str) -> str:
    """A step in bash that ends all with an error message if its command fails."""
    return f"{{ {command}; }} || {{ echo {shlex.quote(f'error: {message}')} >&2; exit 1; }}"


__all__ = ["argv_for_export", "argv_for_job", "argv_for_run"]
