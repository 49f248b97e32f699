"""Finds the job that a user names: a job file, a script, or a job that ships with hpcdl."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hpcdl import shipped
from hpcdl.errors import UserError
from hpcdl.job.notjobs import SHELL_SUFFIXES, about_folder
from hpcdl.text import did_you_mean

JOB_SUFFIXES = (".yaml", ".yml")
SCRIPT_SUFFIXES = (".py", ".ipynb")


@dataclass(frozen=True)
class JobFile:
    """A job's file.

    ``note`` is what to tell the user if the name could mean another file, else empty.
    """

    path: Path
    note: str = ""

    @property
    def is_script(self) -> bool:
        """Whether the file is a script or notebook, which is a job without a job file."""
        return self.path.suffix in SCRIPT_SUFFIXES


def find_job(name: str) -> JobFile:
    """The file for what the user typed.

    A name with a folder or an ending is that file, or an error. A bare name is the job file of
    that name in this folder, or else the shipped job.

    Raises:
        UserError: there is no such file, or it is a folder.
    """
    if not name.strip():
        raise UserError(
            "the JOB is empty; expected a job file, a script, or a shipped job's name "
            "(is a shell variable not set?)"
        )
    if name == "-":
        raise UserError("expected a file, and - is none: write what comes from the pipe to a file")
    path = Path(os.path.expanduser(name))
    if os.path.isfile(path) or (os.path.exists(path) and not os.path.isdir(path)):
        return JobFile(path.absolute())
    if "/" in name or path.suffix:
        if os.path.isdir(path):
            raise UserError(about_folder(path, name))
        raise UserError(_missing_file(name, path))
    return _bare(name)


def shipped_jobs() -> dict[str, Path]:
    """The jobs that ship with hpcdl: name to file."""
    return {path.stem: path for path in sorted(shipped.folder("jobs").glob("*.yaml"))}


def _bare(name: str) -> JobFile:
    """A name without a folder and an ending."""
    here = [Path(name + suffix) for suffix in JOB_SUFFIXES if os.path.isfile(name + suffix)]
    ships = shipped_jobs()
    if len(here) > 1:
        raise UserError(
            f"{name} is {here[0]} or {here[1]}; give the one that you mean, ending and all"
        )
    if here:
        instead = ""
        if name in ships:
            instead = ", not the shipped job of that name"
        return JobFile(here[0].absolute(), f"{name}: using {here[0]} in this folder{instead}")
    if os.path.isdir(name):
        raise UserError(about_folder(Path(name), name, ships=name in ships))
    if name in ships:
        copy = f"hpcdl jobs copy {name} makes a copy to edit"
        return JobFile(ships[name], f"{name}: using the job that ships with hpcdl ({copy})")
    close = did_you_mean(name, [*_job_files(Path()), *ships], also="")
    names = close or f"; known are {', '.join(ships)}"
    raise UserError(f"there is no job file {name!r}, nor a shipped job of that name{names}")


def _missing_file(name: str, path: Path) -> str:
    """What to say of a missing file: what is meant, most likely."""
    kind = "file"
    if path.suffix in ("", *JOB_SUFFIXES):
        kind = "job file"
    if os.path.islink(path):
        return f"{name} is a link to {os.readlink(path)}, which is not there"
    if not os.path.isdir(path.parent):
        return f"there is no {kind} {name!r}: there is no folder {path.parent}"
    below = [str(other) for other in sorted(Path().glob(f"*/{_literal(path.name)}"))[:3]]
    close = did_you_mean(path.name, _job_files(path.parent), also="")
    if below and path.parent == Path():
        close = f"; did you mean {' or '.join(below)}?"
    elif close and path.parent != Path():
        close = close.replace("did you mean ", f"did you mean {path.parent}/")
    ships = ""
    if path.suffix in JOB_SUFFIXES and path.stem in shipped_jobs():
        ships = f"; the shipped job is called {path.stem}; copy it: hpcdl jobs copy {path.stem}"
    return f"there is no {kind} {name!r}{close}{ships}"


def _literal(name: str) -> str:
    """A file name as a pattern that fits nothing else."""
    from glob import escape

    return escape(name)


def _job_files(folder: Path) -> list[str]:
    """The names in a folder that could be meant by a JOB."""
    endings = JOB_SUFFIXES + SCRIPT_SUFFIXES + SHELL_SUFFIXES
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(endings))
    except OSError:
        return []
