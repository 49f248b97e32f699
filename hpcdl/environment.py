"""The user's environment: variables in the paths of profiles and jobs, and what a job inherits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"\$(?:\{([^{}]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# What a shell would act on: $(pwd), `pwd`, $$
_OF_SHELLS = re.compile(r"`|\$[($]")
# Set again in each job: the job does not see the login node's values.
_OF_THE_JOB = re.compile(
    r"TMPDIR|TMP|LOCALSCRATCH|SLURM_\w+|SLURMD_\w+|(CUDA|ROCR)_VISIBLE_DEVICES"
)
# What a job may inherit from the shell that submits it. Everything else is left behind: variables
# of an enclosing job, a notebook or a container change what sbatch asks for or what the job does.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ",
    "SLURM_CONF", "MODULEPATH", "MODULESHOME",
    # Where the user's tickets lie: plugins such as AUKS take them along to the node.
    "KRB5CCNAME", "KRB5_CONFIG", "X509_USER_PROXY", "BEARER_TOKEN_FILE",
)  # fmt: skip
_INHERITED_PREFIXES = (
    "BASH_FUNC_module",
    "BASH_FUNC_ml",
    "BASH_FUNC__module",
    "BASH_FUNC__moduleraw",
    "LC_",
    "LMOD_",
    "MODULES_",
)


def user_name() -> str:
    """The user's name, or the number if the machine knows no name for it."""
    import getpass  # few commands need it

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def expand(text: str) -> str:
    """A path with ``$NAME`` and ``${NAME}`` replaced by this shell's values.

    Args:
        text: the path as it was written. Other dollar signs, as in ``a$1``, stay; so do the names
            of existing folders.

    Raises:
        ValueError: a variable is not set, is empty, or belongs to the job; or the path asks a shell
            to run something. What to do.
    """
    command = _OF_SHELLS.search(text)
    if command and not _is_there(text, command.end()):
        raise ValueError(
            f"{command[0]} is for a shell, and no shell reads this; write the path itself"
        )
    return _VARIABLE.sub(_value, text)


def nobodys_home(path: str) -> str:
    """What to say of ``~name`` if nobody has that name; empty for any other path."""
    name = path.partition("/")[0]
    if not re.fullmatch(r"~[\w.-]+", name) or os.path.expanduser(name) != name:
        return ""
    return f"{name} is nobody's home on this machine; write the path itself, or ./{name}"


def _is_there(text: str, end: int) -> bool:
    """Whether an absolute path exists, up to the end of the name that is at some place in it."""
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
            f"{match[0]} is set again on each node, and this path is fixed when a job is sent; "
            "write the path (scratch in the profile is for the node's own folder)"
        )
    value = os.environ.get(name, "")
    if not value:
        state = "is empty" if name in os.environ else "is not set"
        raise ValueError(f"{match[0]} {state} in this shell; set {name}, or write the path itself")
    return value


def submission_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment to start sbatch with, which becomes the job's.

    In a job, too, Python is to read file names as UTF-8, whatever the shell's locale.
    """
    inherited = {}
    for name, value in environ.items():
        if name in _INHERITED or name.startswith(_INHERITED_PREFIXES):
            inherited[name] = value
    return {**inherited, "PYTHONUTF8": "1"}
