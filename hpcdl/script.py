"""Plan -> the text of a batch script, by the templates. Nothing else renders."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import hpcdl
from hpcdl import shipped
from hpcdl.container import Places, Shell, command, first_gpus, if_set
from hpcdl.contract.spec import RunSpec
from hpcdl.errors import UserError
from hpcdl.job.sbatchoptions import NO_DIRECTIVE, directive_carries
from hpcdl.mounts.binds import View, reads_outside
from hpcdl.planning import Plan, script_name, summary
from hpcdl.run.causes import OWN_REQUEUE
from hpcdl.text import one_line
from hpcdl.usercode.freeze import RUN_NOTEBOOK, SUPPORT

_PLAIN = re.compile(r"[A-Za-z0-9_.,:@%+/=&|*~-]+")
_HERE = Shell('"$PWD"')
_SENT_FROM = Shell('"$SLURM_SUBMIT_DIR"')  # a bundle's own folder, also where it works elsewhere


def quote(word: str) -> str:
    """One word for bash: `Shell` as it is, anything else quoted where it must be."""
    return str(word) if isinstance(word, Shell) else shlex.quote(word)


def quote_directive(value: str) -> str:
    """The value of a #SBATCH option, quoted as sbatch reads it.

    Raises:
        UserError: sbatch cannot carry it.
    """
    if _PLAIN.fullmatch(value):
        return value
    if not directive_carries(value):
        raise UserError(f"{NO_DIRECTIVE}; got {value!r}")
    mark = "'" if '"' in value else '"'
    return f"{mark}{value}{mark}"


def render(
    plan: Plan, file_name: str | None = None, bundle: bool = False, spec: RunSpec | None = None
) -> str:
    """The batch script that is complete without hpcdl on the node.

    Args:
        plan: the plan.
        file_name: what the script will be called, for its header.
        bundle: the script lies in a folder with run.json or the script, and code/
            (``render -o DIR``); a model job needs that.
        spec: what is trained, whose data and weights may lie outside data_root.

    Raises:
        UserError: the plan has no container, or a value that SLURM cannot carry.
    """
    if plan.image is None:
        raise UserError(
            f"{plan.cluster} names no container image, and a batch script needs one: choose another --cluster"
        )
    how = f"submit with: sbatch {file_name or script_name(plan)}"
    if plan.script is None and not bundle:
        how = "it needs run.json and code/ beside it: hpcdl render -o DIR writes all three"
    elif plan.script is not None and not bundle and not plan.workdir:
        how = (
            f"submit from the folder of {plan.script} with: sbatch {file_name or script_name(plan)}"
        )
    away = bundle and plan.workdir is not None
    places = Places(
        workdir=_HERE,
        home=Shell('"$home"') if plan.script else _HERE,
        stop_file=Shell('"$HPCDL_STOP_FILE"'),
        pythonpath=None if plan.script else Shell('"$PWD/code"'),
        binds=[*_needed(plan, spec), *([_SENT_FROM] if away else []), _HERE],
        visible_devices=_visible_devices(plan),
        attempt=Shell('"$((${SLURM_RESTART_COUNT:-0} + 1))"'),
        passed={name: if_set(name) for name in plan.pass_env},
        support=_support(away) if bundle and plan.script else None,
    )
    if plan.script is None:
        program = [plan.python, "-m", "hpcdl.trainer", "run.json"]
    else:
        program = [plan.python, _own_file(plan.script, away), *plan.args]
        if plan.script.endswith(".ipynb"):
            program.insert(1, _own_file(f"{SUPPORT}/{RUN_NOTEBOOK}", away))
    logs = [
        ("job-name", plan.name),
        ("chdir", plan.workdir or "."),
        ("output", "%x.%j.out"),
        ("error", "%x.%j.err"),
    ]
    return _template(
        plan,
        how=how,
        directives=[*logs, *plan.directives],
        modules=plan.modules,
        exports=[("HPCDL_STOP_FILE", Shell('"$PWD/stop.$SLURM_JOB_ID"'))],
        own_home=plan.script is not None,
        child=command(plan, places, program),
        max_requeues=plan.max_requeues,
    )


def render_submission(plan: Plan, run: str, code: str, worker: list[str], log: str) -> str:
    """The batch script that ``submit`` sends: its child is submitit's worker.

    Args:
        plan: the plan.
        run: the run folder.
        code: the folder with the frozen hpcdl package.
        worker: argv of submitit's worker.
        log: where SLURM writes the batch script's own output.

    Raises:
        UserError: a path that SLURM cannot carry.
    """
    logs = [("job-name", plan.name), ("chdir", run), ("output", log)]
    exports = [
        ("HPCDL_STOP_FILE", f"{run}/stop"),
        ("SUBMITIT_EXECUTOR", "slurm"),
        ("PYTHONPATH", code),
    ]
    return _template(
        plan,
        how=f"sent by: hpcdl submit; its run folder is {run}",
        directives=[*logs, *plan.directives],
        modules=[*plan.modules, *plan.host_modules],
        exports=exports,
        own_home=False,
        child=[worker],
        max_requeues=None,
    )


def _support(away: bool) -> Shell:
    """The folder that goes on the script's PYTHONPATH, beside the script."""
    return Shell(f'"$SLURM_SUBMIT_DIR/{SUPPORT}"') if away else Shell(f'"$PWD/{SUPPORT}"')


def _own_file(name: str, away: bool) -> str:
    """The script, or what starts it, as bash names it: in the folder that it is sent from, if it works elsewhere."""
    if away:
        return Shell(f"{_SENT_FROM}/{quote(name)}")
    return f"./{name}" if name.startswith("-") else name


def _needed(plan: Plan, spec: RunSpec | None) -> list[str]:
    """The folders that the program reads outside its working directory and the profile's binds."""
    folders = [plan.data_root]
    if plan.script and Path(plan.script).is_absolute():
        folders.append(str(Path(plan.script).parent))
    if spec:
        folders += reads_outside(asdict(spec), plan.data_root)
    return [folder for folder in folders if not _covered(plan, folder)]


def _visible_devices(plan: Plan) -> Shell | None:
    if plan.uses_first_gpus:
        return first_gpus(plan.gpus)
    return if_set("CUDA_VISIBLE_DEVICES") if plan.gpus else None


def _covered(plan: Plan, folder: str) -> bool:
    """Whether the profile's binds already show a folder under its own name."""
    return View(plan.binds).outside(folder) == folder


def _template(plan: Plan, **context: Any) -> str:
    template = _environment().get_template("job.sbatch.j2")
    again = plan.requeue and plan.max_requeues > 0
    common = {"version": hpcdl.__version__, "summary": summary(plan), "own_requeue": OWN_REQUEUE}
    text: str = template.render(plan=plan, again=again, **common, **context)
    return f"{text}\n"


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(shipped.folder("templates")),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - the text is bash, not HTML: the sh filter quotes
        keep_trailing_newline=False,
    )
    environment.filters.update(sh=quote, directive=quote_directive, comment=one_line)
    return environment
