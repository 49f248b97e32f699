"""The script's other commands: what a job does by itself, and what somebody has to do instead."""

from __future__ import annotations

from hpcdl.adopt.draft import Draft
from hpcdl.adopt.quantities import first_index
from hpcdl.adopt.size import Shape, require_one_task
from hpcdl.adopt.values import Values
from hpcdl.adopt.wrappers import add_srun_options
from hpcdl.batchscript.model import Command, Launcher, Program

# Commands that change nothing of what the program does
_SILENT = frozenset(
    [
        *("", "[", "[[", "test", ":", "true", "false", "set", "shopt", "exit", "return", "wait"),
        *("echo", "printf", "date", "hostname", "nvidia-smi", "rocm-smi", "pwd", "free", "lscpu"),
        *("which", "type", "uname", "whoami", "id", "uptime", "df", "du", "ls", "env", "printenv"),
        *("module", "ml", "cd", "export", "declare", "local", "readonly", "unset", "scontrol"),
        *("read", "let", "seq", "basename", "dirname", "realpath", "kill", "sleep", "squeue"),
        *("sstat", "sacct", "time", "shift", "eval", "break", "continue", "command", "exec"),
    ]
)
_SOFTWARE = "the program runs in an image, with the image's packages"
_PACKAGES = "list what it lacks in a requirements file: packages: requirements.txt"
_FILES = "a job does nothing before its program"
_INSTEAD = {
    **dict.fromkeys(("source", ".", "conda", "mamba", "micromamba"), (_SOFTWARE, _PACKAGES)),
    **dict.fromkeys(("pip", "pip3", "uv"), (_SOFTWARE, _PACKAGES)),
    "mkdir": (_FILES, "make the folder before you submit"),
    **dict.fromkeys(
        ("cp", "rsync", "tar", "unzip", "mv", "wget", "curl", "git"),
        (_FILES, "do it before you submit: a job reads its data where they lie"),
    ),
    "ulimit": (_FILES, "a job has the node's own limits"),
    "trap": (
        "hpcdl's batch script handles SLURM's signals",
        "stop_signal: USR1 passes one on, and exit status 75 sends the job again",
    ),
    "sbatch": ("a job sends no other job", "hpcdl submit NEXT.yaml --after RUN"),
}
_TASK = "SLURM_ARRAY_TASK_ID"


def add_commands(draft: Draft, program: Program | None) -> None:
    """Note each command besides the program that does something."""
    main = program.command if program is not None else None
    functions = set(draft.script.functions)
    named = {(item.line, item.text) for item in [*draft.left, *draft.obstacles]}
    for command in draft.script.commands:
        if command is main or command.substituted or command.name in functions:
            continue
        if (command.line, _text(draft, command)) in named:
            continue
        if command.words and command.words[0].text is None:
            draft.leave(command.line, _text(draft, command), "only the running script knows this")
        elif command.name not in _SILENT or command.name == "eval":
            _leave(draft, command)


def _leave(draft: Draft, command: Command) -> None:
    why, fix = _INSTEAD.get(command.name, (_FILES, "do it in the program, or before you submit"))
    if command.name == "eval":
        why, fix = _SOFTWARE, _PACKAGES
    draft.leave(command.line, _text(draft, command), why, fix)


def _text(draft: Draft, command: Command) -> str:
    """The first line of a command as it is written."""
    return (command.text or draft.script.line(command.line)).strip().partition("\n")[0]


def add_launchers(draft: Draft, program: Program, values: Values, shape: Shape) -> None:
    """Check that the program starts once on each node, as a job's does."""
    line = program.command.line
    started = 1
    if not program.launchers and shape.nodes > 1:
        why = "this starts on the first node alone, and a job starts its program on each"
        fix = f"write srun in front of it, or --nodes=1 in place of {shape.nodes}"
        draft.refuse(line, program.command.text, why, fix)
    for launcher in program.launchers:
        if launcher.name == "srun":
            started = _started(launcher, values, shape, line)
            add_srun_options(draft, launcher, values, shape, line)
        elif not launcher.name:
            why = "only the running script knows what this starts"
            draft.leave(line, program.command.text, why)
        else:
            why = "a job starts its program by itself, without MPI"
            fix = "let TF_CONFIG tell the program of its peers: MultiWorkerMirroredStrategy"
            draft.refuse(line, program.command.text, why, fix)
    require_one_task(draft, shape, started, line)


def _started(launcher: Launcher, values: Values, shape: Shape, line: int) -> int:
    """How many copies of the program srun starts on a node."""
    per_node = _number(launcher, "ntasks-per-node", values, line)
    if per_node is not None:
        return per_node
    every = _number(launcher, "ntasks", values, line)
    if every is None:
        return shape.tasks
    return -(-every // shape.nodes)


def _number(launcher: Launcher, name: str, values: Values, line: int) -> int | None:
    word = launcher.options.get(name)
    text = values.text(word, line) if word is not None else None
    return int(text) if text and text.isdecimal() else None


def add_array(draft: Draft) -> str | None:
    """Say what takes the place of an array; the index of its first task, which the job is."""
    given = draft.script.directive("array")
    if given is None:
        return None
    first = first_index(given.value or "")
    if first is None:
        draft.refuse(given.line, given.text, "has no first index", "write --array=0-9")
        return None
    draft.put(f"env.{_TASK}", first, given.line)
    loop = f"for n in {first} ...; do hpcdl submit JOB --set env.{_TASK}=$n; done"
    fix = f"send one for each: {loop} (with --set args=[...] where an argument has it)"
    draft.leave_option(given, f"a job is one task, here that of index {first}", fix)
    return first
