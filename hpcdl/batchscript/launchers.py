"""The options of srun, mpirun and Apptainer that take a value: where the program begins.

Sources: srun --help of 22.05, https://slurm.schedmd.com/srun.html, apptainer exec --help of 1.4,
https://docs.sylabs.io/guides/latest/user-guide/cli/singularity_exec.html, and mpirun --help of Open
MPI and of Hydra.
"""

from __future__ import annotations

from hpcdl.batchscript.sbatchtable import LETTERS, OPTIONS, long_name

SRUN_LETTERS = {
    **LETTERS,
    "E": "preserve-env",
    "I": "immediate",
    "K": "kill-on-bad-exit",
    "l": "label",
    "r": "relative",
    "T": "threads",
    "u": "unbuffered",
    "X": "disable-status",
    "Z": "no-allocate",
    "W": "wait",
}
SRUN_VALUES = frozenset(
    [
        *(name for name, takes in OPTIONS.items() if takes == "required"),
        *("bcast-exclude", "cpu-bind", "epilog", "het-group", "jobid", "mpi", "prolog", "relative"),
        *("slurmd-debug", "task-epilog", "task-prolog", "threads", "wait", "ntasks-per-tres"),
        *("pack-group", "msg-timeout"),
    ]
) - {"container"}
MPI_VALUES = frozenset(
    [
        *("n", "np", "c", "N", "npernode", "ppn", "perhost", "npersocket", "H", "host", "hosts"),
        *("f", "hostfile", "machinefile", "x", "genv", "env", "wdir", "wd", "bind-to", "map-by"),
        *("rank-by", "mca", "gmca", "prefix", "tag-output-to", "output-filename", "path"),
        *("cpus-per-proc", "cpus-per-rank", "rankfile", "rf", "configfile", "envlist", "iface"),
        *("launcher", "rmk", "bootstrap", "timeout", "stdin", "app", "slot-list", "genvlist"),
    ]
)
CONTAINER_LETTERS = {
    "B": "bind",
    "c": "contain",
    "C": "containall",
    "e": "cleanenv",
    "f": "fakeroot",
    "H": "home",
    "i": "ipc",
    "n": "net",
    "o": "overlay",
    "p": "pid",
    "S": "scratch",
    "u": "userns",
    "W": "workdir",
    "w": "writable",
    "s": "shell",
    "a": "app",
}
# Options that keep the user's home out of the container
APART = ("no-home", "contain", "containall", "home", "compat")
CONTAINER_VALUES = frozenset(
    [
        *("add-caps", "app", "apply-cgroups", "authfile", "bind", "blkio-weight"),
        *("blkio-weight-device", "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "cwd", "dns"),
        *("docker-host", "drop-caps", "env", "env-file", "fusemount", "home", "hostname"),
        *("memory", "memory-reservation", "memory-swap", "mount", "netns-path", "network"),
        *("network-args", "no-mount", "overlay", "pem-path", "pids-limit", "pwd", "scratch"),
        *("security", "shell", "workdir"),
    ]
)


def srun_name(given: str) -> str:
    """An option of srun by its long name, also where it is cut short."""
    return given if given in SRUN_VALUES else long_name(given) or given
