"""The plan of what comes after a training, from the training's own plan: same site, same image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

from hpcdl.errors import UserError
from hpcdl.job import Resources, format_time
from hpcdl.planning.parts import Notify, Plan, Size
from hpcdl.planning.program import Program

# Options that say how big a job is; they are made anew
_SIZE = ("nodes", "ntasks-per-node", "cpus-per-task", "gpus-per-node", "gres", "time", "signal")
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
_WARNING_SHARE = 3  # SLURM warns at most a third of the time limit before it


def plan_afterwards(before: Plan, name: str, program: Program, resources: Resources) -> Plan:
    """The plan of a program that reads what a run left.

    Args:
        before: the run's plan.
        name: of the new run.
        program: what it does.
        resources: how big it is. CPUs and memory are by default those of the run.

    Raises:
        UserError: the run's plan does not say how GPUs are asked for.
    """
    if resources.gpus and not before.size.gpus:
        raise UserError(
            f"resources.gpus={resources.gpus}: {before.name} ran without a GPU, so that its plan"
            " does not say how this site is asked for one; leave resources.gpus out"
        )
    size = Size(
        nodes=1,
        gpus=resources.gpus,
        cpus=resources.cpus or before.size.cpus,
        memory_gb=resources.memory_gb or before.size.memory_gb,
        time_limit_s=resources.time_limit_s,
        emulate_gpus=before.size.emulate_gpus,
        gpus_granted=before.size.gpus_granted,
    )
    lead_s = min(before.policy.signal_lead_s, max(1, size.time_limit_s // _WARNING_SHARE))
    container = before.container
    if container is not None:
        container = replace(container, nv=size.gpus > 0 and container.nv, shown=[])
    return replace(
        before,
        name=name,
        size=size,
        program=program,
        container=container,
        policy=replace(before.policy, signal_lead_s=lead_s),
        directives=_directives(before, size, lead_s),
        notes=[],
        notify=Notify(before.notify.command, before.notify.timeout_s),
    )


def _directives(before: Plan, size: Size, lead_s: int) -> list[tuple[str, str]]:
    """The run's #SBATCH options, with the new size."""
    if not before.directives:  # it ran on a machine without SLURM
        return []
    options = [
        ("nodes", str(size.nodes)),
        ("ntasks-per-node", "1"),
        ("cpus-per-task", str(size.cpus)),
    ]
    named = dict(before.directives)
    gres = _gres(named.get("gres", ""), size.gpus)
    if gres:
        options.append(("gres", gres))
    if size.gpus and "gpus-per-node" in named:
        options.append(("gpus-per-node", _counted(named["gpus-per-node"], size.gpus)))
    asks_memory = any(key in named for key in _MEMORY)
    if asks_memory and size.memory_gb:
        options.append(("mem", f"{int(size.memory_gb * 1024)}M"))
    options += [("time", format_time(size.time_limit_s)), ("signal", f"B:USR2@{lead_s}")]
    for key, value in before.directives:
        if key not in (*_SIZE, *_MEMORY):
            options.append((key, value))
    return options


def _gres(asked: str, gpus: int) -> Optional[str]:
    """What --gres asks for: that of the run, with so many GPUs."""
    parts: list[str] = []
    for part in filter(None, asked.split(",")):
        if part.partition(":")[0] != "gpu":
            parts.append(part)
        elif gpus:
            parts.append(_counted(part, gpus))
    return ",".join(parts) or None


def _counted(asked: str, gpus: int) -> str:
    """``gpu:h100:4`` with another number."""
    words: Sequence[str] = asked.split(":")
    return ":".join([*words[:-1], str(gpus)])
