"""How big the job is: the #SBATCH options of nodes, tasks, CPUs, GPUs, memory and time."""

from __future__ import annotations

from dataclasses import dataclass

from hpcdl.adopt.draft import Draft
from hpcdl.adopt.quantities import as_number, nodes_of
from hpcdl.batchscript.model import Directive
from hpcdl.batchscript.sizes import Gpus, gpus_of, gres_of, memory_mb, slurm_seconds
from hpcdl.job import format_time

OPTIONS = (
    *("nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "cpus-per-gpu", "time"),
    *("gres", "gpus", "gpus-per-node", "gpus-per-task", "mem", "mem-per-cpu", "mem-per-gpu"),
)
_WITHOUT_GPUS = ("is for each GPU, and no line asks for any", "write #SBATCH --gpus=1 beside it")
_ONE_TASK = "a job starts one program on each node"


@dataclass
class Shape:
    """Of each node, as far as the script says it; ``nodes`` at most."""

    nodes: int = 1
    tasks: int = 1
    cpus: int | None = None
    gpus: int = 0


def add_size(draft: Draft) -> Shape:
    """Write ``resources``, and those keys of ``cluster`` that say how to ask for them."""
    shape = Shape()
    _add_nodes(draft, shape)
    _add_gpus(draft, shape)
    _add_cpus(draft, shape)
    _add_memory(draft, shape)
    _add_time(draft)
    return shape


def _number(draft: Draft, name: str) -> tuple[int, Directive] | None:
    """The whole number of an option; what is none is left."""
    given = draft.script.directive(name)
    if given is None:
        return None
    if (given.value or "").isdecimal() and int(given.value or 0) > 0:
        return int(given.value or 0), given
    draft.leave_option(given, "is not a whole number", f"write --{name}=N")
    return None


def _add_nodes(draft: Draft, shape: Shape) -> None:
    """Nodes, and the tasks of each."""
    given = draft.script.directive("nodes")
    if given is not None:
        nodes = nodes_of(given.value or "")
        if nodes is None:
            draft.leave_option(given, "is no number of nodes", "write --nodes=N or --nodes=MIN-MAX")
        else:
            draft.put("resources.nodes", nodes, given.line)
            shape.nodes = int(str(nodes).rpartition("-")[2])
    per_node = _number(draft, "ntasks-per-node")
    if per_node is not None:
        shape.tasks = per_node[0]
    every = _number(draft, "ntasks")
    if every is not None and every[0] < shape.nodes == draft.get("resources.nodes"):
        shape.nodes = every[0]
        draft.put("resources.nodes", shape.nodes, every[1].line)
        draft.leave_option(every[1], f"SLURM gives so few tasks no more nodes: {shape.nodes}")
    if every is not None and per_node is None:
        count, directive = every
        if given is None and count > 1:
            shape.tasks = count
        elif count % shape.nodes:
            draft.leave_option(directive, f"these tasks do not share {shape.nodes} nodes evenly")
        else:
            shape.tasks = count // shape.nodes


def _add_gpus(draft: Draft, shape: Shape) -> None:
    """GPUs of each node, by whichever option asks for them first."""
    line, text, request, gpus = 1, "", None, None
    for name in ("gpus-per-node", "gres", "gpus", "gpus-per-task"):
        given = draft.script.directive(name)
        if given is None:
            continue
        per_node = _gpus_per_node(draft, given, shape)
        if per_node is None:
            continue
        if gpus is not None:
            if gpus.count != per_node.count:
                draft.leave_option(given, f"asks for other GPUs than {text} in line {line} does")
            continue
        line, gpus, text = given.line, per_node, given.text
        request = "gres" if name == "gres" else "gpus-per-node"
    shape.gpus = 0 if gpus is None else gpus.count
    draft.put("resources.gpus", shape.gpus, line)
    if gpus is not None and gpus.count:
        draft.put("cluster.gpu_request", request, line)
    if gpus is not None and gpus.type:
        draft.put("cluster.gpu_type", gpus.type, line)


def _gpus_per_node(draft: Draft, given: Directive, shape: Shape) -> Gpus | None:
    """The GPUs of a node that one option asks for; None, and a note, where it asks for none."""
    if given.name == "gres":
        return _of_gres(draft, given)
    gpus = gpus_of(given.value or "")
    if gpus is None:
        draft.leave_option(given, "is no number of GPUs", f"write --{given.name}=N")
        return None
    if given.name == "gpus-per-task":
        return Gpus(gpus.count * shape.tasks, gpus.type)
    if given.name == "gpus":
        if gpus.count % shape.nodes:
            why = f"these GPUs do not share {shape.nodes} nodes evenly"
            draft.leave_option(given, why, "write --gpus-per-node=N")
            return None
        return Gpus(gpus.count // shape.nodes, gpus.type)
    return gpus


def _of_gres(draft: Draft, given: Directive) -> Gpus | None:
    gres = gres_of(given.value or "")
    if len(gres.gpus) > 1 or None in gres.gpus:
        draft.leave_option(given, "GPUs of one type is what a job asks for", "write --gres=gpu:N")
        return None
    if len(gres.others) == 1:
        draft.put("cluster.scratch_gres", gres.others[0], given.line)
    elif gres.others:
        draft.leave_option(given, f"of {', '.join(gres.others)} a job asks for one at most")
    return next(iter(gres.gpus), None)


def _add_cpus(draft: Draft, shape: Shape) -> None:
    """CPUs of each node. A job has one task there, which gets those of all tasks."""
    per_task = _number(draft, "cpus-per-task")
    per_gpu = _number(draft, "cpus-per-gpu")
    if per_gpu is not None and not shape.gpus:
        draft.leave_option(per_gpu[1], *_WITHOUT_GPUS)
        per_gpu = None
    if per_task is not None:
        shape.cpus = per_task[0] * shape.tasks
        draft.put("resources.cpus", shape.cpus, per_task[1].line)
        if per_gpu is not None:
            draft.leave_option(per_gpu[1], f"line {per_task[1].line} asks for CPUs already")
    elif per_gpu is not None and shape.gpus:
        shape.cpus = per_gpu[0] * shape.gpus
        draft.put("resources.cpus", shape.cpus, per_gpu[1].line)
    elif shape.tasks > 1 or not shape.gpus or draft.script.directive("mem-per-cpu"):
        shape.cpus = shape.tasks  # one for each task, as SLURM has it
        tasks = draft.script.directive("ntasks-per-node") or draft.script.directive("ntasks")
        draft.put("resources.cpus", shape.cpus, tasks.line if tasks else 1)
    else:
        gets = "gets 1, or what the site gives with a GPU"
        if draft.script.directive("exclusive"):
            gets = "gets the whole node, as --exclusive says"
        draft.note(
            f"the script asks for no CPUs, and {gets}; "
            "a job asks for the GPUs' share of the node: resources.cpus changes that"
        )


def _add_memory(draft: Draft, shape: Shape) -> None:
    """Memory of each node, asked for as the script does."""
    shares = {"mem": 1, "mem-per-cpu": shape.cpus or 1, "mem-per-gpu": shape.gpus}
    begun: Directive | None = None
    for name, share in shares.items():
        given = draft.script.directive(name)
        if given is None:
            continue
        amount_mb = memory_mb((given.value or "").strip())
        if begun is not None:
            draft.leave_option(given, f"line {begun.line} asks for memory already")
        elif not share:
            draft.leave_option(given, *_WITHOUT_GPUS)
        elif amount_mb is None:
            draft.leave_option(given, "is no amount of memory", f"write --{name}=64G")
        elif not amount_mb:
            why = "a job names its memory: 0 is all that a node has"
            draft.leave_option(given, why, "say resources.memory_gb, or slurm: {exclusive: true}")
        else:
            begun = given
            memory_gb = as_number(amount_mb / 1024 * share)
            draft.put("resources.memory_gb", memory_gb, given.line)
            draft.put("cluster.memory_request", name, given.line)


def _add_time(draft: Draft) -> None:
    given = draft.script.directive("time")
    if given is None:
        draft.note(
            "the script names no time limit, and gets its partition's; "
            "a job has 01:00:00 by default: resources.time changes that"
        )
        return
    seconds = slurm_seconds((given.value or "").strip())
    if seconds and seconds < 1000 * 86400:
        draft.put("resources.time", format_time(seconds), given.line)
    else:
        why = "a job has an end: its time limit is 01:00:00 by default"
        draft.leave_option(given, why, 'say resources.time, as "04:00:00"')


def require_one_task(draft: Draft, shape: Shape, started: int, line: int) -> None:
    """Refuse a program that is started several times on a node.

    Args:
        draft: the job file.
        shape: what the script asks for.
        started: how many copies of the program start on a node.
        line: where they are started.
    """
    directive = draft.script.directive("ntasks-per-node") or draft.script.directive("ntasks")
    if started > 1:
        fix = (
            "let one program use the node's GPUs (tf.distribute.MirroredStrategy), "
            "and write --ntasks-per-node=1"
        )
        why = f"{_ONE_TASK}, and this starts {started}"
        draft.refuse(line, draft.script.line(line).strip(), why, fix)
    elif shape.tasks > 1 and directive is not None:
        why = f"{_ONE_TASK}, and one of these tasks is used: its CPUs are those of all"
        draft.leave_option(directive, why)
