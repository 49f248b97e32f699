"""Directives that contradict each other: what sbatch refuses, or what cannot all hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.model import BatchScript, ScriptFinding
from hpcdl.batchscript.sizes import Size, gpus_in, size_of, slurm_seconds
from hpcdl.batchscript.surroundings import Surroundings

_SHORTEST_S = 60
_TWO_NUMBERS = re.compile(r"(\d+):(\d+)")  # with hours in front, seconds are meant
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")


def count_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """Pairs of directives of which one is too many."""
    size = size_of(script)
    yield from _memory(script)
    yield from _tasks(script, size)
    yield from _gpus(script, size)
    yield from _gpus_per_task(script, size)
    yield from _times(script)
    if script.value("cpus-per-gpu") and script.value("cpus-per-task"):
        cause = "--cpus-per-gpu and --cpus-per-task exclude each other"
        fix = _remove(script, "cpus-per-gpu", "cpus-per-task")
        yield _pair(script, ("cpus-per-gpu", "cpus-per-task"), cause, fix)


def _memory(script: BatchScript) -> Iterator[ScriptFinding]:
    given = tuple(name for name in _MEMORY if script.directive(name))
    if len(given) > 1:
        names = " and ".join(f"--{name}" for name in given)
        cause = f"sbatch refuses {names} in one job"
        yield _pair(script, given, cause, _remove(script, *given), code="mem-twice")


def _tasks(script: BatchScript, size: Size) -> Iterator[ScriptFinding]:
    """More tasks than fit, at so many on each node; fewer tasks than nodes."""
    nodes, tasks, per_node = size.nodes, size.tasks, size.tasks_per_node
    text = script.value("nodes") or ""
    match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", text)
    if match and int(match[2]) < int(match[1]):
        cause = f"--nodes={text}: the most is less than the least"
        yield _pair(script, ("nodes",), cause, f"#SBATCH --nodes={match[2]}-{match[1]}")
    if nodes is None or match or not re.fullmatch(r"\d+", text) or not tasks:
        return
    if per_node and tasks > nodes * per_node:
        cause = (
            f"{tasks} tasks do not fit on {_nodes(nodes)} with {per_node} tasks on each: "
            f"{nodes} x {per_node} = {nodes * per_node}"
        )
        fix = f"#SBATCH --ntasks-per-node={-(-tasks // nodes)}"
        fix += f", or: #SBATCH --ntasks={nodes * per_node}"
        yield _pair(script, ("nodes", "ntasks", "ntasks-per-node"), cause, fix)
    elif tasks < nodes:
        cause = f"{tasks} of {nodes} nodes is all that {tasks} tasks use; SLURM gives no more"
        fix = f"#SBATCH --ntasks={nodes}, or: #SBATCH --nodes={tasks}"
        yield _pair(script, ("nodes", "ntasks"), cause, fix, blocks=False)


def _gpus(script: BatchScript, size: Size) -> Iterator[ScriptFinding]:
    """--gpus is for the job; --gres and --gpus-per-node are for each node."""
    total = gpus_in(script.value("gpus"))
    on_each = "gpus-per-node" if script.directive("gpus-per-node") else "gres"
    per_node = gpus_in(script.value(on_each), is_list=on_each == "gres")
    if total is None or per_node is None:
        return
    nodes = size.nodes if re.fullmatch(r"\d+", script.value("nodes") or "") else None
    if total < per_node:
        cause = (
            f"--gpus={total} is for the whole job, and --{on_each} wants {per_node} on each node"
        )
    elif nodes and total != nodes * per_node:
        cause = (
            f"--gpus={total} is for the whole job, and {_nodes(nodes)} with {per_node} GPUs on "
            f"each make {nodes * per_node}"
        )
    else:
        return
    yield _pair(script, ("gpus", on_each), cause, _remove(script, "gpus", on_each))


def _gpus_per_task(script: BatchScript, size: Size) -> Iterator[ScriptFinding]:
    """sbatch wants to know how many tasks there are, and they must fit the GPUs."""
    per_task, total = gpus_in(script.value("gpus-per-task")), gpus_in(script.value("gpus"))
    if not per_task:
        return
    knows = any(
        script.directive(name) for name in ("ntasks", "gpus", "ntasks-per-node", "ntasks-per-gpu")
    )
    if not knows:
        cause = "sbatch refuses --gpus-per-task where neither --ntasks nor --gpus is given"
        yield _pair(script, ("gpus-per-task",), cause, f"#SBATCH --ntasks={size.nodes or 1}")
    elif total is not None and size.tasks and total != per_task * size.tasks:
        cause = (
            f"{size.tasks} tasks with {per_task} GPUs each make {per_task * size.tasks}, "
            f"and --gpus={total}"
        )
        fix = f"#SBATCH --gpus={per_task * size.tasks}"
        yield _pair(script, ("gpus-per-task", "gpus", "ntasks"), cause, fix)


def _times(script: BatchScript) -> Iterator[ScriptFinding]:
    least, most = (
        slurm_seconds(script.value("time-min") or ""),
        slurm_seconds(script.value("time") or ""),
    )
    text = script.value("time") or ""
    match = _TWO_NUMBERS.fullmatch(text)
    if match and most and most < _SHORTEST_S:
        cause = f"--time={text} is {most:g} seconds: sbatch reads minutes:seconds"
        fix = f"#SBATCH --time={int(match[1]):02}:{match[2]}:00"
        yield _pair(script, ("time",), cause, fix, code="short-time", blocks=False)
    if least is not None and most and least > most:
        cause = (
            f"--time-min={script.value('time-min')} is longer than --time={script.value('time')}"
        )
        fix = f"#SBATCH --time={script.value('time-min')} --time-min={script.value('time')}"
        yield _pair(script, ("time", "time-min"), cause, fix)


def _pair(
    script: BatchScript,
    names: tuple[str, ...],
    cause: str,
    fix: str,
    code: str = "contradiction",
    *,
    blocks: bool = True,
) -> ScriptFinding:
    """A finding at the last of the lines that it is about."""
    lines = [given.line for name in names if (given := script.directive(name))]
    return ScriptFinding(code, max(lines), cause, fix, blocks)


def _remove(script: BatchScript, *names: str) -> str:
    """Keep one of several directives."""
    lines = [f"line {d.line} ({d.text})" for name in names if (d := script.directive(name))]
    return f"keep one: remove {' or '.join(lines)}"


def _nodes(number: int) -> str:
    return "1 node" if number == 1 else f"{number} nodes"
