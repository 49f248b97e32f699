"""srun outside a job: one program on one node, in an allocation of its own that it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# sbatch's options that srun has not, that a shell has no use for, or that are set here
_LEFT_OUT = frozenset(
    [
        *("signal", "requeue", "no-requeue", "open-mode", "mail-type", "mail-user"),
        *("array", "output", "error", "input", "wrap", "parsable", "test-only", "wait", "job-name"),
        *("nodes", "ntasks", "ntasks-per-node", "chdir", "export", "dependency", "time"),
    ]
)
_KEPT = ("SLURM_CONF",)  # of the variables that are SLURM's: the others are a job's, or defaults


def srun_alone(
    directives: Sequence[tuple[str, str]], name: str, time: str | None, pty: bool
) -> list[str]:
    """srun with its options, before the program.

    Each is explicit, for sites and users set other defaults.

    Args:
        directives: the #SBATCH options of the job whose allocation it is like.
        name: how SLURM calls it.
        time: the time limit; None for that of the directives.
        pty: whether the program gets a terminal.
    """
    limit = time or dict(directives).get("time")
    words = ["srun", f"--job-name={name}", "--nodes=1", "--ntasks=1", "--ntasks-per-node=1"]
    if limit:
        words.append(f"--time={limit}")
    for option, value in directives:
        if option not in _LEFT_OUT:
            words.append(f"--{option}={value}" if value else f"--{option}")
    words += ["--kill-on-bad-exit=0", "--export=ALL", "--mpi=none"]
    return [*words, "--pty"] if pty else [*words, "--input=all"]


def outside_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment to start it with: not a step of the job that this shell may be in."""
    environment = {}
    for name, value in variables.items():
        if name in _KEPT or not name.startswith(("SLURM", "SBATCH_")):
            environment[name] = value
    return environment
