"""What the user wants done: reads a job file into a `Job`, reporting every problem at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hpcdl import shipped
from hpcdl.errors import JobError, Problem, UserError
from hpcdl.job.checks import build
from hpcdl.job.reader import Located, read_value, read_yaml
from hpcdl.job.sections import Job, Resources, format_time, parse_time
from hpcdl.job.walker import did_you_mean, show

__all__ = ["Job", "Resources", "format_time", "load_job", "parse_time"]


def find_job(name: str) -> Path:
    """The job file for what the user typed: a path, or the name of a shipped job.

    Raises:
        UserError: there is neither.
    """
    path = Path(name)
    if os.path.isdir(path):
        raise UserError(f"{name} is a folder; expected a job file (hpcdl jobs list shows the shipped ones)")
    if os.path.exists(path):
        return path.absolute()
    candidate = shipped.folder("jobs") / (path.name if path.suffix == ".yaml" else f"{path.name}.yaml")
    if path.parent in (Path(), Path("jobs")) and os.path.isfile(candidate):
        return candidate
    names = sorted(p.stem for p in shipped.folder("jobs").glob("*.yaml"))
    raise UserError(f"there is no job file {name!r}, nor a shipped job of that name{did_you_mean(path.stem, names)}")


def load_job(name: str | os.PathLike[str], sets: Sequence[str] = ()) -> Job:
    """Read a job file.

    Args:
        name: a path, or the name of a shipped job.
        sets: ``key.path=value`` texts that override the file.

    Raises:
        JobError: all that is wrong in the file and the sets, with places.
        UserError: there is no such file.
    """
    path = find_job(os.fspath(name))
    source = "/".join(path.parts[-2:])
    shown = os.fspath(name) if os.path.exists(name) else source  # a shipped job is not where the user is
    problems: list[Problem] = []
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise JobError(shown, [Problem(shown, "", f"is not UTF-8 text (byte {error.start})")]) from error
    document = read_yaml(text, shown, problems)
    if document is not None:
        apply_sets(document, sets, problems)
        job = build(document, path.parent.resolve(), source, problems)
        if job is not None and not problems:
            return job
    raise JobError(shown, problems)


def apply_sets(document: Located, sets: Sequence[str], problems: list[Problem], prefix: str = "") -> None:
    """Put ``key.path=value`` texts into a document, as if they had been written there.

    Each key begins with prefix, which is left off (``cluster.`` for a profile).
    """
    for text in sets:
        key, equals, value = text.partition("=")
        where = f"--set {text}"
        key = key[len(prefix) :]
        if not equals or not all(key.split(".")):
            problems.append(Problem(where, "", "expected key.path=value"))
            continue
        section = document
        for part in key.split(".")[:-1]:
            if not isinstance(section.value, dict):
                break
            section = section.value.setdefault(part, Located({}, where))
        if not isinstance(section.value, dict):
            problems.append(Problem(where, key, f"cannot be set inside {show(section.plain())}"))
            continue
        before = len(problems)
        read = read_value(value, where, problems)
        if len(problems) == before:
            section.value[key.split(".")[-1]] = read
