"""What is wrong with how programs are started: one CPU for srun, too many tasks, mirrors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hpcdl.batchscript.findings_container import is_unread
from hpcdl.batchscript.model import BatchScript, Launcher, Program, ScriptFinding
from hpcdl.batchscript.programcode import code_of
from hpcdl.batchscript.programs import MPI
from hpcdl.batchscript.sizes import Size, count, size_of
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

# The versions in which srun does not take the job's --cpus-per-task, and the first that does again
# Source: RELEASE_NOTES of SLURM 22.05 and 23.11
_FIRST_WITHOUT, _FIRST_AGAIN = (22, 5), (23, 11)
_CPUS = ("cpus-per-task", "cpus-per-gpu", "ntasks-per-core", "threads-per-core", "het-group")
# Programs for which one CPU is enough
_SMALL = (
    *("hostname", "echo", "env", "printenv", "date", "nvidia-smi", "rocm-smi", "true", "ls", "cat"),
    *("mkdir", "cp", "mv", "rm", "rsync", "tar", "df", "free", "sleep", "which", "id", "lscpu"),
    # Those of a shell's own, behind bash -c
    *("cd", "export", "source", ".", "set", "module", "ml", "unset", "ulimit", "conda", "exit"),
)


def task_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """What is wrong with the commands behind srun and mpirun."""
    if script.components > 1:
        return
    size = size_of(script)
    mirrored = False
    for program in script.programs:
        if is_unread(script, program):
            continue
        for launcher in program.launchers:
            yield from _one_cpu(script, size, program, launcher, around)
            yield from _too_many(script, size, program, launcher)
            if not mirrored and launcher.name == "srun":
                finding = _mirrored(script, size, program, launcher, around.folder)
                if finding:
                    mirrored = True
                    yield finding


def _one_cpu(
    script: BatchScript, size: Size, program: Program, launcher: Launcher, around: Surroundings
) -> Iterator[ScriptFinding]:
    """srun gives one CPU a task, whatever the job has asked for."""
    version = around.slurm_version
    is_without = version is not None and _FIRST_WITHOUT <= version < _FIRST_AGAIN
    if launcher.name != "srun" or not is_without or (size.cpus_per_task or 1) < 2:
        return
    names = {assignment.name for assignment in script.assignments}
    names |= {name for name, _ in launcher.command.env}
    if "SRUN_CPUS_PER_TASK" in names or any(name in launcher.options for name in _CPUS):
        return
    if (
        launcher.command.substituted
        or program.name in _SMALL
        or _has_hidden_options(launcher, program)
    ):
        return
    written = script.line(launcher.command.line).strip()
    line = written.rstrip("\\").strip()
    more = " \\" * (line != written)
    command = re.sub(r"\bsrun\b", f"srun --cpus-per-task={size.cpus_per_task}", line, count=1)
    yield ScriptFinding(
        "srun-cpus",
        launcher.command.line,
        f"srun of SLURM 22.05 and 23.02 does not take the job's "
        f"--cpus-per-task={size.cpus_per_task}: each task gets one CPU",
        "a line above: export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK, or: "
        f"{cut(one_line(command))}{more}",
    )


def _has_hidden_options(launcher: Launcher, program: Program) -> bool:
    """Whether options may be in a variable: srun $OPTIONS python …"""
    if not program.words and program.container is None:
        return True
    behind = list(launcher.command.words)
    start = next((n for n, w in enumerate(behind) if w.text == "srun"), 0)
    first = next((w for w in behind[start + 1 :] if not w.raw.startswith("-")), None)
    return first is None or (first.text is None and first.raw.startswith("$"))


def _too_many(
    script: BatchScript, size: Size, program: Program, launcher: Launcher
) -> Iterator[ScriptFinding]:
    """More tasks started than the job has."""
    ntasks = launcher.options.get("ntasks")
    started = count(ntasks.text) if ntasks is not None else None
    asked = size.all_tasks
    if started is None or asked is None or started <= asked or not _is_told(script):
        return
    if any(script.directive(name) for name in ("exclusive", "overcommit", "ntasks-per-gpu")):
        return
    options = launcher.options
    if any(name in options for name in ("overcommit", "oversubscribe", "host", "hostfile")):
        return
    cpus = options.get("cpus-per-task")
    for_each = count(cpus.text) if cpus is not None else None
    if for_each and started * for_each <= asked * (size.cpus_per_task or 1):
        return  # the tasks share the CPUs that the job has
    harm = "it refuses where the job's CPUs are too few"
    if launcher.name != "srun":
        harm = "it refuses, or they share the job's CPUs"
    tasks = "1 task" if asked == 1 else f"{asked} tasks"
    what = launcher.name if launcher.name in MPI else "srun"
    yield ScriptFinding(
        "tasks-started",
        launcher.command.line,
        f"the job asks for {tasks}, and {what} starts {started}: {harm}",
        f"#SBATCH --ntasks={started}",
    )


def _is_told(script: BatchScript) -> bool:
    """Whether the job's tasks are known: its counts are numbers, and not of nodes alone.

    Of whole nodes without a count of tasks, srun may start as many as they have CPUs.
    """
    if script.directive("nodes") and not (
        script.directive("ntasks") or script.directive("ntasks-per-node")
    ):
        return False
    for name in ("nodes", "ntasks", "ntasks-per-node"):
        value = script.value(name)
        if script.directive(name) and not re.fullmatch(r"\d+", value or ""):
            return False
    return True


def _mirrored(
    script: BatchScript, size: Size, program: Program, launcher: Launcher, folder: Path | None
) -> ScriptFinding | None:
    """Several tasks, each with GPUs of its own, of a program that wants all in one."""
    directive = script.directive("gpus-per-task")
    own = launcher.options.get("gpus-per-task")
    ntasks = launcher.options.get("ntasks")
    tasks = count(ntasks.text) if ntasks is not None else size.all_tasks
    if (directive is None and own is None) or (tasks or 1) < 2:
        return None
    code = code_of(script, program, folder)
    if code is None or not code.mirrors:
        return None
    line = directive.line if directive else program.command.line
    gpus = size.gpus or tasks or 1
    nodes = size.nodes or 1
    per_node = -(-gpus // nodes)
    return ScriptFinding(
        "gpus-per-task-mirrored",
        line,
        f"each of the {tasks} tasks sees its own GPUs only, and MirroredStrategy uses those of one "
        f"process: {tasks} trainings of the same model",
        f"one task a node with all its GPUs, and no --gpus-per-task: "
        f"#SBATCH --ntasks-per-node=1 --gpus-per-node={per_node}",
    )
