"""The command that starts the program on the node, with its folders and variables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import which

from hpcdl import container, modules, planfile
from hpcdl.container import Places, environment, plain, visible_gpus
from hpcdl.files import read_json
from hpcdl.mounts.binds import parse
from hpcdl.mounts.gathering import Gather
from hpcdl.mounts.needed import training_paths
from hpcdl.mounts.staged_sets import linked
from hpcdl.planning import SUPPORT, Plan, Predict, Script, Training
from hpcdl.run import records
from hpcdl.run.after import read_after
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.records import Manifest
from hpcdl.sweeps.arguments import ARGUMENT, with_argument

FOR_THE_RUNTIME = ("APPTAINER", "SINGULARITY")  # how variables for the container command begin


def read_plan(paths: RunPaths) -> Plan:
    """The plan that was frozen with a run.

    Raises:
        OSError: plan.json cannot be read.
        UserError: it is damaged, or a newer hpcdl wrote it.
    """
    # Not msgspec's own decoder: it refuses the file names that are not UTF-8 (PEP 383).
    try:
        content = json.loads(paths.plan.read_bytes())
    except ValueError as error:
        raise planfile.damaged(error) from error
    plan = planfile.from_json(content, records.spec(paths))
    if isinstance(paths, TrialPaths) and isinstance(plan.program, Script):
        return _with_arguments(plan, plan.program, paths)
    return plan


def _with_arguments(plan: Plan, script: Script, paths: TrialPaths) -> Plan:
    """The sweep's plan with a trial's values among the script's arguments."""
    args = list(script.args)
    params = (read_json(paths.trial_file) or {}).get("params", {})
    for key, value in params.items():
        args = with_argument(args, key.removeprefix(ARGUMENT), value)
    return replace(plan, program=replace(script, args=args))


def places_of(
    paths: RunPaths, plan: Plan, attempt: str | None = None, tmp: str | None = None
) -> Places:
    """Where a run's things lie on this node.

    Args:
        paths: the run.
        plan: its plan.
        attempt: the attempt's number; None for a shell.
        tmp: the program's temporary folder, if it has its own.
    """
    code = Manifest.read(paths).code_folder or ""
    if plan.program.on_host:
        return Places(
            workdir=plan.program.workdir or str(paths.root),
            home=os.path.expanduser("~"),
            stop_file=str(paths.stop),
            pythonpath=code,
            tmp=tmp,
            after=_runs_before(paths),
        )
    trainer = plan.program.keeps_state
    return Places(
        workdir=plan.program.workdir or str(paths.root if trainer else paths.work),
        home=str(paths.home),
        stop_file=str(paths.stop),
        pythonpath=f"{code}:{paths.user}" if trainer else None,
        tmp=tmp,
        binds=_binds(paths, plan, code),
        visible_devices=visible_gpus(plan, os.environ.get(plan.gpu_vendor.variable)),
        attempt=attempt,
        lifeline=trainer and attempt is not None,
        metrics_file=None if trainer or attempt is None else str(paths.metrics),
        after=_runs_before(paths),
        passed=passed(plan),
        support=None if trainer else _support(paths),
    )


def _support(paths: RunPaths) -> str | None:
    """The folder that holds the package ``hpcdl_support``, for scripts and notebooks.

    It lies next to hpcdl's own code. Earlier versions put it next to the script.
    """
    for folder in (paths.user, Path(Manifest.read(paths).code_folder or "")):
        if (folder / SUPPORT).is_dir():
            return str(folder / SUPPORT)
    return None


def _runs_before(paths: RunPaths) -> list[str]:
    """The folders of the runs that came before, as far as they are there."""
    folders = [str(before.run) for before in read_after(paths)]
    return [folder for folder in folders if os.path.exists(folder)]


def passed(plan: Plan) -> dict[str, str]:
    """This node's variables that the profile lets into the container."""
    return {name: os.environ[name] for name in plan.environment.pass_env if name in os.environ}


def _binds(paths: RunPaths, plan: Plan, code: str) -> list[str]:
    """What the container must see: the run, hpcdl's code, the data, the working directory."""
    binds = [str(paths.shown())]
    if plan.program.keeps_state:
        binds.append(f"{code}:{code}:ro")
    else:
        support = _support(paths)
        if support is not None and not Path(support).is_relative_to(paths.root):
            binds.append(f"{support}:{support}:ro")
        if plan.program.workdir:
            binds.append(plan.program.workdir)
    folders = [plan.data_root, *plan.program.reads]
    folders += _runs_before(paths)
    binds += [f"{folder}:{folder}:ro" for folder in folders if os.path.exists(folder)]
    if plan.container is None:
        return []
    gather = Gather(plan, [*binds, *plan.container.shown])
    for key, path in _paths_read(paths, plan):  # the login node may not see what this node does
        gather.need(path, key)
        gather.links_in(path, key)
    if isinstance(plan.program, Training) and (cache := features_cache(paths)):
        with suppress(OSError):  # the trainer says so if it cannot save there
            Path(cache).mkdir(parents=True, exist_ok=True)
            binds.append(gather.writable(cache))
    return [*binds, *gather.shown.binds]


def _paths_read(paths: RunPaths, plan: Plan) -> Iterator[tuple[str, str]]:
    """The files and folders that hpcdl's own programs read, by what they are called."""
    if isinstance(plan.program, Training):
        yield from training_paths(records.spec(paths))
    if isinstance(plan.program, Predict):
        yield "FOLDER", plan.program.folder


def data_path(paths: RunPaths) -> str | None:
    """The data set of a training."""
    path = records.spec(paths).get("data", {}).get("path")
    return str(paths.root / path) if isinstance(path, str) else None


def features_cache(paths: RunPaths) -> str | None:
    """The folder where a training saves its backbone's features for other runs; None if none."""
    model = records.spec(paths).get("model", {})
    if "backbone" not in model or model.get("features_cache") is None:
        return None
    return str(paths.root / model["features_cache"])


def program_of(paths: RunPaths, plan: Plan) -> list[str]:
    """The program's argv: the trainer, a command, or the frozen script with its arguments."""
    python = plan.container.python if plan.container else sys.executable
    program = plan.program
    if not isinstance(program, Script):
        return program.argv(python, lambda name: str(paths.root / name))
    script = Path(program.script).name
    if not os.path.exists(paths.user / script):  # an older hpcdl has made a .py file of a notebook
        script = f"{Path(script).stem}.py"
    support = _support(paths)

    def place(name: str) -> str:
        if support is not None and name.startswith(f"{SUPPORT}/"):
            return str(Path(support).parent / name)
        return str(paths.user / name)

    return replace(program, script=script).argv(python, place)


def argv_of(
    plan: Plan, places: Places, program: list[str], in_slurm: bool = False
) -> tuple[list[str], dict[str, str]]:
    """The whole argv for this node, and the environment to start it with.

    Args:
        plan: the plan.
        places: where the run's things lie.
        program: what to start.
        in_slurm: whether a batch script has started this. There only the profile's modules can have
            set variables for Apptainer. Elsewhere the user's shell may have; these are left out.
    """
    if plan.container is not None:
        outer = dict(os.environ)
        if not in_slurm:
            for name in os.environ:
                if name.startswith(FOR_THE_RUNTIME):
                    del outer[name]
        existing = [bind for bind in plan.container.shown if os.path.exists(parse(bind).source)]
        plan = replace(plan, container=replace(plan.container, shown=existing))
        return container.argv(plan, places, program), outer
    if plan.program.on_host:
        return program, _on_host(plan, places)
    import site

    # Without a container the machine's own TensorFlow is used. It may lie in the user's site
    # folder, which Python finds by HOME, and HOME changes here.
    env = dict(os.environ, PYTHONUSERBASE=site.getuserbase())
    for name, value in environment(plan, places).items():
        env[name] = plain(value)
    env.pop("PYTHONNOUSERSITE")
    if places.tmp is not None:
        env["TMPDIR"] = places.tmp
    return program, env


def _on_host(plan: Plan, places: Places) -> dict[str, str]:
    """The environment of a command of hpcdl's: that of this process, and the run's frozen code.

    HOME is the user's own, where the profiles are that `hpcdl init` keeps.
    """
    env = {**os.environ, **plan.environment.env, "PYTHONUNBUFFERED": "1"}
    folders = [plain(places.pythonpath or ""), env.get("PYTHONPATH")]
    env["PYTHONPATH"] = ":".join(filter(None, folders))
    env["HPCDL_STOP_FILE"] = plain(places.stop_file)
    if places.after:
        env["HPCDL_AFTER"] = ":".join(places.after)
    if places.tmp is not None:
        env["TMPDIR"] = places.tmp
    return env


def with_modules(
    plan: Plan, argv: list[str], env: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """The same program after the profile's modules, if the container command comes with one.

    A batch script has loaded them with its own lines; a run without SLURM has no batch script.
    """
    if plan.container is None or which(plan.container.runtime) is not None:
        return argv, env
    lines = plan.module_lines()
    return modules.after_modules(lines, argv, env) if lines else (argv, env)


def frozen_programs(paths: RunPaths) -> Iterator[str]:
    """The text of a run's own programs."""
    for file in paths.user.rglob("*.py"):
        yield file.read_text(encoding="utf-8", errors="replace")


def prepare_home(home: Path, data_root: str, sources: Iterable[str] = ()) -> None:
    """Make the program's home, with the staged sets and weights where Keras 2 and 3 look for them.

    The folder of sets is a real one, with a link for each set: Keras unpacks archives in it. If
    there are very many sets, only those that Keras or the program names are linked.

    Args:
        home: the home.
        data_root: where sets are staged.
        sources: the program and its modules, as Python text.
    """
    keras, root = home / ".keras", Path(data_root)
    if (keras / "datasets").is_symlink():
        (keras / "datasets").unlink()  # to data_root itself, by an older hpcdl
    (keras / "datasets").mkdir(parents=True, exist_ok=True)
    links = {keras / "models": root / "models"}
    names, _ = linked(root, sources)
    for name in names:
        links[keras / "datasets" / name] = root / name
    for link, target in links.items():
        if target.exists() and not os.path.lexists(link):
            with suppress(FileExistsError):  # another trial of the sweep was faster
                link.symlink_to(target)
