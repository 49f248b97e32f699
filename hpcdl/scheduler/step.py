"""srun: the command line that starts one program on each node of a job, and its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

LEAVE_S = 60  # seconds that the others have after the first has ended
# What srun also reads from its environment. A job that was sent with --mem-per-gpu, or from within
# another job, has values there that contradict each other, or the options below.
_NOT_FOR_STEPS = frozenset(
    [
        *("SLURM_MEM_PER_CPU", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_GPU"),
        *("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_NTASKS_PER_CORE"),
        *("SLURM_NTASKS_PER_SOCKET", "SLURM_NTASKS_PER_GPU", "SLURM_NTASKS_PER_TRES"),
        *("SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK", "SLURM_CPUS_PER_GPU"),
        *("SLURM_DISTRIBUTION", "SLURM_EXPORT_ENV", "SLURM_KILL_BAD_EXIT", "SLURM_WAIT"),
        *("SLURM_STDINMODE", "SLURM_STDOUTMODE", "SLURM_STDERRMODE", "SLURM_MPI_TYPE"),
        *("SLURM_MULTI_PROG", "SLURM_STEP_NUM_TASKS", "SLURM_HINT", "SLURM_EXCLUSIVE"),
    ]
)

# What srun says of tasks of a node that did not end well: their numbers, and how they ended
_BAD_END = re.compile(r"^srun: error: \S+: tasks? ([\d,-]+): (.*)$", re.MULTILINE)


def srun_options(
    nodes: int | str, cpus: int, leave_s: int = LEAVE_S, kill_on_bad_exit: int = 0
) -> list[str]:
    """srun with its options, before the program.

    Each is explicit, for sites and users set other defaults.

    Args:
        nodes: how many nodes the step has, or a variable that says it; it has one task on each.
        cpus: CPUs of each task.
        leave_s: seconds after which SLURM ends what is left when the first task has ended; 0 for
            never.
        kill_on_bad_exit: whether a task that fails ends the others at once: 0 or 1.
    """
    return [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={cpus}",
        f"--kill-on-bad-exit={kill_on_bad_exit}",
        f"--wait={leave_s}",
        "--input=all",
        "--export=ALL",
        "--mpi=none",
    ]


def srun(nodes: int, cpus: int, program: Sequence[str], leave_s: int = LEAVE_S) -> list[str]:
    """The whole argv; for the arguments see `srun_options`."""
    return [*srun_options(nodes, cpus, leave_s), *program]


def step_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment to start srun with.

    Args:
        variables: the job's.
    """
    return {name: value for name, value in variables.items() if name not in _NOT_FOR_STEPS}


def badly_ended(output: str) -> list[tuple[int, str]]:
    """The tasks that did not end well, by their numbers, and how, in srun's words.

    Args:
        output: what srun printed.
    """
    ends = []
    for ranks, how in _BAD_END.findall(output):
        for part in ranks.split(","):
            first, _, last = part.partition("-")
            ends += [(rank, how) for rank in range(int(first), int(last or first) + 1)]
    return ends


def died_of_memory(rank: int, output: str) -> bool:
    """Whether srun says that a task was out of memory. SLURM may then kill all of the task.

    Args:
        rank: the task's number, from 0.
        output: what srun printed.
    """
    words = [how for number, how in badly_ended(output) if number == rank]
    return any(how.startswith("Out Of Memory") for how in words)
