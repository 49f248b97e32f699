"""Reads the user's environment variables where a job is made, as in paths of profiles and jobs."""

from __future__ import annotations

import os
import re

_VARIABLE = re.compile(r"\$(?:\{([^{}]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Set anew in each job: what the login node says of them is not what the job sees.
# What a shell would do something with: $(pwd), `pwd`, $$
_OF_SHELLS = re.compile(r"`|\$[($]")
_OF_THE_JOB = re.compile(r"TMPDIR|TMP|LOCALSCRATCH|SLURM_\w+|SLURMD_\w+|CUDA_VISIBLE_DEVICES")


def expand(text: str) -> str:
    """A path with ``$NAME`` and ``${NAME}`` replaced by this shell's values.

    Args:
        text: the path as it was written. Other dollar signs, as in ``a$1``, stay; so do the names
            of folders that are there.

    Raises:
        ValueError: a variable is not set, is empty, or belongs to the job; or the path asks a shell
            to run something. What to do.
    """
    command = _OF_SHELLS.search(text)
    if command and not _is_there(text, command.end()):
        raise ValueError(f"{command[0]} is for a shell, and no shell reads this; write the path itself")
    return _VARIABLE.sub(_value, text)


def nobodys_home(path: str) -> str:
    """What is said of ``~name`` where nobody has that name; nothing of any other path."""
    name = path.partition("/")[0]
    if not re.fullmatch(r"~[\w.-]+", name) or os.path.expanduser(name) != name:
        return ""
    return f"{name} is nobody's home on this machine; write the path itself, or ./{name}"


def _is_there(text: str, end: int) -> bool:
    """Whether the part of a whole path that ends behind some place is the name of a file or folder."""
    part = text[:end] + text[end:].partition("/")[0]
    return os.path.isabs(part) and os.path.lexists(part)


def slurm_cluster() -> str | None:
    """The one SLURM cluster that SLURM_CLUSTERS names: some sites' modules set it."""
    name = os.environ.get("SLURM_CLUSTERS", "")
    return name if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) and name != "all" else None


def _value(match: re.Match[str]) -> str:
    name = match[1] if match[1] is not None else match[2]
    if not _NAME.fullmatch(name):
        raise ValueError(f"{match[0]} is not a variable's name; expected $NAME or ${{NAME}}")
    if _OF_THE_JOB.fullmatch(name):
        raise ValueError(
            f"{match[0]} is set anew on each node, and this path is fixed when a job is sent; "
            "write the path (scratch in the profile is for the node's own folder)"
        )
    value = os.environ.get(name, "")
    if not value:
        state = "is empty" if name in os.environ else "is not set"
        raise ValueError(f"{match[0]} {state} in this shell; set {name}, or write the path itself")
    return value
