"""Plan -> the text of a batch script, by the templates. Nothing else renders."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hpcdl import shipped
from hpcdl.container import Bash, IfSet, Places, Text, Word, command, first_gpus
from hpcdl.contract.version import __version__
from hpcdl.errors import UserError
from hpcdl.job.sbatchoptions import NO_DIRECTIVE, directive_carries
from hpcdl.mounts.binds import View
from hpcdl.planning import SUPPORT, Command, Plan, Script, Training, script_name, summary
from hpcdl.run.states import OWN_REQUEUE
from hpcdl.text import one_line

_PLAIN = re.compile(r"[A-Za-z0-9_.,:@%+/=&|*~-]+")
_HERE = Bash("$PWD")
_NODES = "$SLURM_JOB_NUM_NODES"
_ANY_PORTS = (20000, 29999)  # below those that Linux gives to clients
_WORKERS = {"TF_CONFIG": Bash("$TF_CONFIG"), "no_grpc_proxy": Bash("$no_grpc_proxy")}
_SENT_FROM = Bash("$SLURM_SUBMIT_DIR")  # a bundle's own folder, also where it works elsewhere


def quote(word: Word) -> str:
    """One word as bash reads it."""
    match word:
        case IfSet(name):
            return f'${{{name}+"{name}=${name}"}}'
        case Bash(text):
            return f'"{text}"'
        case _:
            return shlex.quote(word)


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


def render(plan: Plan, file_name: str | None = None, bundle: bool = False) -> str:
    """The batch script that is complete without hpcdl on the node.

    Args:
        plan: the plan.
        file_name: what the script will be called, for its header.
        bundle: the script lies in a folder with run.json or the script, and code/
            (``render -o DIR``); a model job needs that.

    Raises:
        UserError: the plan has no container, or a value that SLURM cannot carry.
    """
    container, program = plan.container, plan.program
    if isinstance(program, Command):
        return _of_command(plan, program, file_name, bundle)
    if container is None:
        raise UserError(
            f"{plan.cluster} names no container image, and a batch script needs one: "
            "choose another --cluster"
        )
    if plan.size.nodes > 1:
        _require_several(plan)
    name = file_name or script_name(plan)
    how = f"submit with: sbatch {name}"
    if isinstance(program, Training) and not bundle:
        how = "it needs run.json and code/ next to it: hpcdl render -o DIR writes all three"
    elif isinstance(program, Script) and not bundle and not program.workdir:
        how = f"submit from the folder of {program.script} with: sbatch {name}"
    away = bundle and program.workdir is not None
    is_script = isinstance(program, Script)
    places = Places(
        workdir=_HERE,
        home=Bash("$home") if is_script else _HERE,
        stop_file=Bash("$HPCDL_STOP_FILE"),
        pythonpath=None if is_script else _HERE / "code",
        binds=[*_needed(plan), *([_SENT_FROM] if away else []), _HERE],
        visible_devices=_visible_devices(plan),
        attempt=Bash("$((${SLURM_RESTART_COUNT:-0} + 1))"),
        passed={name: IfSet(name) for name in plan.environment.pass_env},
        support=(_SENT_FROM if away else _HERE) / SUPPORT if bundle and is_script else None,
        workers=_WORKERS if plan.size.nodes > 1 else {},
    )
    logs = [
        ("job-name", plan.name),
        ("chdir", program.workdir or "."),
        ("output", "%x.%j.out"),
        ("error", "%x.%j.err"),
    ]
    return _template(
        plan,
        how=how,
        directives=[*logs, *plan.directives],
        module_lines=plan.module_lines(),
        exports=[("HPCDL_STOP_FILE", Bash("$PWD/stop.$SLURM_JOB_ID"))],
        own_home=is_script,
        child=command(
            plan, places, program.argv(container.python, lambda name: _own_file(name, away))
        ),
        max_requeues=plan.policy.max_requeues,
        step=_step(plan) if plan.size.nodes > 1 else None,
        ports=_ports(plan),
    )


def _require_several(plan: Plan) -> None:
    """Make sure that a batch script alone can run a job on several nodes.

    Raises:
        UserError: it cannot.
    """
    if not isinstance(plan.program, Script):
        raise UserError(
            f"{plan.source} trains a model on {plan.size.nodes} nodes, whose workers need hpcdl on"
            " the node to find each other: use hpcdl submit, or --set resources.nodes=1"
        )
    if plan.program.stop_signal:
        raise UserError(
            f"{plan.source} has stop_signal on {plan.size.nodes} nodes, where srun would send it to"
            " the container as well, which ends by it: use hpcdl submit, or take stop_signal out"
        )


def _step(plan: Plan) -> list[Word]:
    """The options of srun, which runs the program once on each node that SLURM gave the job.

    A program that fails ends the others: they would wait for it until the time limit.
    """
    from hpcdl.scheduler.step import srun_options  # here: most scripts are for one node

    words: list[Word] = []
    for word in srun_options(_NODES, plan.size.cpus, leave_s=0, kill_on_bad_exit=1)[1:]:
        words.append(Bash(word) if _NODES in word else word)
    return words


def _ports(plan: Plan) -> tuple[int, int]:
    """The first port that worker 0 may have, and how many there are for it to choose from."""
    first, last = plan.environment.ports or _ANY_PORTS
    return first, max(1, last - first + 2 - plan.size.nodes)


def _of_command(plan: Plan, command: Command, file_name: str | None, bundle: bool) -> str:
    """The batch script of a command of hpcdl's, which the node's own Python runs."""
    name = file_name or script_name(plan)
    how = "it needs code/ next to it: hpcdl render -o DIR writes both"
    if bundle:
        how = f"submit with: sbatch {name}"
    exports: list[tuple[str, Word]] = [
        *plan.environment.env.items(),
        ("HPCDL_STOP_FILE", Bash("$SLURM_SUBMIT_DIR/stop.$SLURM_JOB_ID")),
        ("PYTHONPATH", _SENT_FROM / "code"),
    ]
    logs = [("job-name", plan.name), ("output", "%x.%j.out"), ("error", "%x.%j.err")]
    if command.workdir:
        logs.insert(1, ("chdir", command.workdir))
    python = plan.modules.host_python or "python3"
    return _template(
        plan,
        how=how,
        directives=[*logs, *plan.directives],
        module_lines=plan.module_lines(with_host=True),
        exports=exports,
        own_home=False,
        child=[[python], *([word] for word in command.argv(python, str)[1:])],
        max_requeues=plan.policy.max_requeues,
    )


@dataclass(frozen=True)
class Sent:
    """What a batch script that ``submit`` or ``sweep`` sends needs to know besides the plan.

    Args:
        folder: the run's or the sweep's.
        code: the folder with the frozen hpcdl package.
        worker: the argv of what it starts.
        log: where SLURM writes the batch script's own output.
        is_array: whether it is sent as an array, whose tasks are a sweep's workers.
    """

    folder: str
    code: str
    worker: list[str]
    log: str
    is_array: bool = False


def render_submission(plan: Plan, sent: Sent) -> str:
    """The batch script that ``submit`` or ``sweep`` sends: its child is a worker of hpcdl's.

    Args:
        plan: the plan.
        sent: where things are.

    Raises:
        UserError: a path that SLURM cannot carry.
    """
    logs = [("job-name", plan.name), ("chdir", sent.folder), ("output", sent.log)]
    how = f"sent by: hpcdl submit; its run folder is {sent.folder}"
    exports: list[tuple[str, Word]] = [
        ("HPCDL_STOP_FILE", f"{sent.folder}/stop"),
        ("SUBMITIT_EXECUTOR", "slurm"),
    ]
    if sent.is_array:
        how = f"sent by: hpcdl sweep; the sweep's folder is {sent.folder}"
        stop_file = Bash("$PWD/stop.${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID")
        exports = [("HPCDL_STOP_FILE", stop_file)]
    exports.append(("PYTHONPATH", sent.code))
    return _template(
        plan,
        how=how,
        directives=[*logs, *plan.directives],
        module_lines=plan.module_lines(with_host=True),
        exports=exports,
        own_home=False,
        child=[sent.worker],
        max_requeues=None,
    )


def _own_file(name: str, away: bool) -> Text:
    """The script, or what starts it, as bash names it.

    Args:
        name: its name in the folder that it is sent from.
        away: whether it works in another folder.
    """
    if away:
        return _SENT_FROM / name
    return f"./{name}" if name.startswith("-") else name


def _needed(plan: Plan) -> list[str]:
    """The folders that the program reads outside its working directory and the profile's binds."""
    folders = [plan.data_root]
    if isinstance(plan.program, Script) and os.path.isabs(plan.program.script):
        folders.append(os.path.dirname(plan.program.script))
    folders += plan.program.reads
    return [folder for folder in folders if not _covered(plan, folder)]


def _visible_devices(plan: Plan) -> Word | None:
    if plan.uses_first_gpus:
        return first_gpus(plan.size.gpus, plan.gpu_vendor.variable)
    return IfSet(plan.gpu_vendor.variable) if plan.size.gpus else None


def _covered(plan: Plan, folder: str) -> bool:
    """Whether the profile's binds already show a folder under its own name."""
    return View(plan.require_container().binds).outside(folder) == folder


def _template(plan: Plan, **context: Any) -> str:
    template = _environment().get_template("job.sbatch.j2")
    again = plan.policy.requeue and plan.policy.max_requeues > 0
    context = {"step": None, "ports": None, **context}
    common = {"version": __version__, "summary": summary(plan), "own_requeue": OWN_REQUEUE}
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
