"""Several nodes asked for, and Python programs that run on the first of them alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.comments import without_comment
from hpcdl.batchscript.model import BatchScript, Program, ScriptFinding
from hpcdl.batchscript.surroundings import Surroundings

# What may reach the other nodes; a word of it anywhere in the script is enough to say nothing
_REACHES = re.compile(
    r"srun|mpi|torchrun|distributed|accelerate|deepspeed|horovod|hvd|ssh|dsh|dask|spark|parallel"
    r"|slurm_\w*(?:node|job_id|jobid|proc|ntasks)|scontrol|sbatch|submit|host|aprun|prun|jsrun"
    r"|ibrun|flux|charm|launch|cluster|\bray\b|nodes?\b|snakemake|nextflow|slurm\b|eval|master",
    re.IGNORECASE,
)
# Commands that start no program of the user's
_ASIDE = (
    *("module", "ml", "conda", "echo", "printf", "date", "cd", "mkdir", "cp", "mv", "rm", "export"),
    *("nvidia-smi", "pwd", "hostname", "ls", "exit", "ulimit", "cat", "set", "unset", "tar", "pip"),
    *("sleep", "wait", "time", "nproc", "free", "df", "which", "test", "[", "deactivate", "rsync"),
)
_ENVIRONMENT = re.compile(r"activate\b|\.(?:bashrc|bash_profile|profile)\b|conda|/etc/|/init/")


def node_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """A program without srun, where more than one node is asked for."""
    nodes = script.directive("nodes")
    if nodes is None or not re.fullmatch(r"[2-9]|[1-9]\d{1,3}", nodes.value or ""):
        return
    if script.components > 1 or script.unread or script.functions:
        return
    if any(_REACHES.search(line) for line in _commands(script)):
        return
    pythons = [program for program in script.programs if _is_plain_python(program)]
    if not pythons or not all(
        program in pythons or _is_aside(program) for program in script.programs
    ):
        return
    yield ScriptFinding(
        "nodes-idle",
        pythons[0].command.line,
        f"{nodes.value} nodes are asked for, and without srun this starts on the first alone",
        "#SBATCH --nodes=1; or srun in front of it, if the program is made for several nodes",
    )


def _commands(script: BatchScript) -> list[str]:
    lines = [line for line in script.text.split("\n") if not line.lstrip().startswith("#")]
    return [without_comment(line) for line in lines]


def _is_plain_python(program: Program) -> bool:
    """python X.py, in a container or not."""
    return program.python is not None and program.script is not None and not program.launchers


def _is_aside(program: Program) -> bool:
    """Whether a command starts nothing of the user's: module load, source .../bin/activate."""
    if program.name in ("source", "."):
        return len(program.args) > 0 and bool(_ENVIRONMENT.search(program.args[0].raw))
    return program.container is None and not program.launchers and program.name in _ASIDE
