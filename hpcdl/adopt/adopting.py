"""Makes the job file that does the same as a batch script; no line of the script is run."""

from __future__ import annotations

from pathlib import Path

from hpcdl.adopt.around import ANY_INDEX, add_array, add_commands, add_launchers, leave_array
from hpcdl.adopt.draft import Draft
from hpcdl.adopt.environment import add_modules, add_variables
from hpcdl.adopt.folders import Folders, folder_of
from hpcdl.adopt.model import Adopted
from hpcdl.adopt.options import add_options
from hpcdl.adopt.program import add_image, add_program, choose_program, likeliest
from hpcdl.adopt.shells import add_shells
from hpcdl.adopt.size import Shape, add_size
from hpcdl.adopt.values import Values
from hpcdl.batchscript.model import BatchScript, Program
from hpcdl.batchscript.passed import CLEAN


def adopt(script: BatchScript, target: Path | None = None) -> Adopted:
    """The job file of a batch script.

    Args:
        script: the batch script.
        target: the folder where the job file will lie; by default that of the script.
    """
    draft = _drafted(script, target)
    if not draft.obstacles:
        leave_array(draft, _drafted(script, target, ANY_INDEX).document)
    return draft.adopted()


def _drafted(script: BatchScript, target: Path | None, index: str | None = None) -> Draft:
    """The job file; of an array, that of the task of an index, by default the first."""
    folder = folder_of(script)
    draft = Draft(script, folder)
    add_options(draft)
    shape = add_size(draft)
    first_task = add_array(draft, index)
    _add_unread(draft)
    program = choose_program(draft)
    main = program or likeliest(script.programs)
    assignments = script.set_before(main.command) if main is not None else script.assignments
    lines = (
        [main.command.line, *(command.line for command in main.starters)]
        if main is not None
        else []
    )
    values = Values(assignments, _known(draft, shape, first_task), frozenset(lines))
    folders = Folders(draft, values, target or folder, main)
    folders.tell(assignments)
    if program is not None:
        _add_program(draft, program, values, folders, shape)
    elif main is not None and main.container is not None:
        add_image(draft, main.container, values, folders, main.container_command.line)
    add_commands(draft, program)
    if main is not None:
        _note_sourced(draft, main)
    if values.used:
        names = ", ".join(sorted(values.used))
        draft.note(f"of this shell's variables, their values are written here: {names}")
    for name in sorted(values.unset):
        draft.note(f"${name} is set neither by the script nor in this shell; a path here needs it")
    return draft


def _add_program(
    draft: Draft, program: Program, values: Values, folders: Folders, shape: Shape
) -> None:
    """Write the program, and what surrounds it."""
    container = program.container
    clean = container is not None and container.has(*CLEAN)
    if container is not None:
        add_modules(draft, program)
    else:
        for command in draft.script.commands:
            if command.name not in ("module", "ml"):
                continue
            if any(word.text in ("purge", "list") for word in command.words):
                continue
            why = "a job loads modules for its container command alone"
            draft.leave(command.line, command.text.strip(), why)
    add_variables(draft, program, values, folders, clean)
    add_program(draft, program, values, folders)
    add_launchers(draft, program, values, shape)
    add_shells(draft, program)
    if program.command.conditional:
        why = "it depends on a condition whether this runs; the job always runs it"
        draft.leave(program.command.line, program.command.text, why)


def _add_unread(draft: Draft) -> None:
    """Say what of the script is not read, or is for nodes of another kind."""
    script = draft.script
    if script.components > 1:
        line = next((item.line for item in script.directives), 1)
        fix = "make a job file of each part: a pipeline sends one after the other"
        draft.refuse(line, "#SBATCH hetjob", "a job has nodes of one kind", fix)
    for begin, end in script.unread:
        text = f"lines {begin} to {end}" if end > begin else script.line(begin).strip()
        if text:
            draft.leave(begin, text, "hpcdl's reader of bash does not understand this")
    for number, fault in script.faults:
        draft.leave(number, script.line(number).strip(), f"sbatch does not read this: {fault}")


def _note_sourced(draft: Draft, program: Program) -> None:
    """Say that files which the script reads before its program may set variables."""
    start = draft.script.start_of(program.command)
    for command in draft.script.commands:
        if command is start:
            return
        names = [word.raw for word in command.words[1:2]]
        if command.name in ("source", ".") and not any(name.endswith("activate") for name in names):
            draft.note(
                f"line {command.line}: {' '.join(names)} may set variables; those that the script "
                "sets are taken as they stand there"
            )


def _known(draft: Draft, shape: Shape, first_task: str | None) -> dict[str, str]:
    """The variables that the #SBATCH lines decide."""
    script, folder = draft.script, str(draft.folder)
    known = {
        "SLURM_SUBMIT_DIR": folder,
        "SLURM_JOB_NAME": script.value("job-name") or script.path.name,
    }
    if isinstance(draft.get("resources.nodes"), (int, type(None))):
        known["SLURM_NNODES"] = known["SLURM_JOB_NUM_NODES"] = str(shape.nodes)
        known["SLURM_NTASKS"] = known["SLURM_NPROCS"] = str(shape.nodes * shape.tasks)
    per_task = script.value("cpus-per-task")
    if per_task and per_task.isdecimal():
        known["SLURM_CPUS_PER_TASK"] = per_task
    if shape.gpus:
        known["SLURM_GPUS_ON_NODE"] = str(shape.gpus)
    if first_task is not None:
        known["SLURM_ARRAY_TASK_ID"] = first_task
    for part in (script.value("export") or "").split(","):
        name, equals, value = part.strip().partition("=")
        if equals:
            known[name] = value
    return known
