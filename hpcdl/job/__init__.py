"""What the user wants done: reads a job file into a `Job`, reporting every problem at once."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from hpcdl.errors import JobError, Problem, UserError
from hpcdl.job.build import build
from hpcdl.job.find import JOB_SUFFIXES, find_job
from hpcdl.job.notjobs import LARGEST_JOB, about_file
from hpcdl.job.sections import Job, Resources, format_time, parse_time
from hpcdl.text import cut, hpcdl_command, show
from hpcdl.yamlfile.reader import Located, decode, read_value, read_yaml
from hpcdl.yamlfile.walker import is_inside

__all__ = ["Job", "Resources", "find_job", "format_time", "load_job", "parse_time"]

# Keys of which a job has one, and keys that only go with one of them. A --set of one of the first
# replaces the others that the file has.
_ALTERNATIVES = (
    (("data.name", "data.path", "data.function"), ("data.args",)),
    (("model.name", "model.backbone", "model.function"), ("model.args",)),
    (("script", "model", "hpcdl"), ("data", "train", "args")),
    (("train.batch_size", "train.batch_size_per_gpu"), ("train.scale_learning_rate",)),
)
_SPACE = "sweep.over."  # what follows is a key of the job, dots and all
_GOES_WITH = {
    "data.function": ("data.args",),
    "model.function": ("model.args",),
    "script": ("args",),
    "model": ("data", "train"),
    "train.batch_size_per_gpu": ("train.scale_learning_rate",),
}


def load_job(
    name: str | os.PathLike[str], sets: Sequence[str] = (), args: Sequence[str] = ()
) -> Job:
    """Read a job file, or make a job of a script.

    Args:
        name: the path of a job file, of a script or of a notebook, or the name of a shipped job.
        sets: ``key.path=value`` texts that override the file.
        args: arguments for a script that is given by its own path.

    Raises:
        JobError: all that is wrong in the file and the sets, with places.
        UserError: there is no such file, or it is something else.
    """
    job_file = find_job(os.fspath(name))
    path = job_file.path
    source = "/".join(path.parts[-2:])
    ships = not os.path.exists(name)  # then its path says nothing to the user
    shown = os.fspath(name)
    if ships:
        shown = source
    problems: list[Problem] = []
    if job_file.is_script:
        script = path.parent.resolve() / path.name
        from hpcdl.job.fromscript import document_of

        document: Located | None = document_of(script, args, shown)
    elif args:
        raise UserError(
            f"{shown} is a job file, which has the script's arguments itself: {_as_key(args)}"
        )
    else:
        document = read_document(path, shown, problems)
        if document is not None and document.items_of("steps"):
            message = f"{shown} is a pipeline of several jobs, not a job file"
            raise UserError(f"{message}: {hpcdl_command('submit', shown)} sends them all")
    if document is not None:
        apply_sets(document, sets, problems)
        job = build(document, path.parent.resolve(), source, problems)
        if job is not None and not problems:
            return job
    raise JobError(shown, problems)


def read_document(path: Path, shown: str, problems: list[Problem]) -> Located | None:
    """A job file's document; None, and problems, where it cannot be read as one."""
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_JOB + 1)
    except OSError as error:
        raise UserError(f"cannot read {shown}: {error.strerror}") from error
    message = about_file(path, data, shown)
    if message:
        raise UserError(message)
    try:
        text = decode(data)
    except ValueError as error:
        problems.append(Problem(shown, "", str(error)))
        return None
    document = read_yaml(text, shown, problems)
    if document is None and path.suffix not in JOB_SUFFIXES:
        problems.append(Problem(shown, "", "expected a job file (.yaml) or a script (.py, .ipynb)"))
    if document is not None and isinstance(document.value, str):
        message = f"expected keys and values, as in name: my-job; got {show(document.value)}"
        problems.append(Problem(document.where, "", message))
        return None
    if document is not None and _is_profile(document):
        fix = f"give it as {hpcdl_command('check', 'JOB', '--cluster', shown)}"
        raise UserError(f"{shown} is a cluster profile, not a job file; {fix}")
    return document


def _is_profile(document: Located) -> bool:
    """Whether a document has what every profile has, and nothing of a job."""
    keys = set()
    if isinstance(document.value, dict):
        keys = set(document.value)
    return "node" in keys and not {"script", "model", "data"} & keys


def _as_key(args: Sequence[str]) -> str:
    """The key of a job file that says the arguments after ``--``, and the option that does."""
    words = json.dumps(list(args), ensure_ascii=False)
    return f"args: {words}, or {shlex.join(['--set', f'args={words}'])}"


def apply_sets(
    document: Located, sets: Sequence[str], problems: list[Problem], prefix: str = ""
) -> None:
    """Put ``key.path=value`` texts into a document, as if they had been written there.

    Each key begins with prefix, which is left off (``cluster.`` for a profile).
    """
    for text in sets:
        key, equals, value = text.partition("=")
        where = f"--set {cut(text)}"
        key = key[len(prefix) :]
        if not equals or not all(key.split(".")):
            problems.append(Problem(where, "", "expected key.path=value"))
            continue
        *sections, last = _parts(key)
        section = document
        for part in sections:
            if not isinstance(section.value, dict):
                break
            section = section.value.setdefault(part, Located({}, where))
        if not isinstance(section.value, dict):
            problems.append(Problem(where, key, f"cannot be set inside {show(section.plain())}"))
            continue
        before = len(problems)
        if key.startswith(_SPACE):
            read = Located(value, where, value)  # [16, 32]|[64] is not YAML
        else:
            read = read_value(value, where, problems)
        if len(problems) == before:
            section.value[last] = read
            if not prefix:
                _take_the_place(document, key)


def _parts(key: str) -> list[str]:
    """The keys of the sections that lead to a key, and its own; what a sweep searches is one."""
    if key.startswith(_SPACE):
        return [*_SPACE.split(".")[:2], key[len(_SPACE) :]]
    return key.split(".")


def _take_the_place(document: Located, key: str) -> None:
    """Drop what the file has and a ``--set`` of another key replaces.

    So ``data.path`` takes the place of the file's ``data.name``.
    """
    for keys, dependents in _ALTERNATIVES:
        for chosen in keys:
            if not is_inside(key, chosen):
                continue
            for other in (*keys, *dependents):
                if other != chosen and not _goes_with(other, chosen):
                    _drop_of_file(document, other)


def _goes_with(key: str, chosen: str) -> bool:
    """Whether a key belongs to the one that was chosen, as ``data.args`` to ``data.function``."""
    return key in _GOES_WITH.get(chosen, ())


def _drop_of_file(document: Located, key: str) -> None:
    """Take a key out of a document, unless a ``--set`` has put it there."""
    *sections, last = key.split(".")
    section = document
    for part in sections:
        if not isinstance(section.value, dict) or part not in section.value:
            return
        section = section.value[part]
    if not isinstance(section.value, dict) or last not in section.value:
        return
    if not section.value[last].where.startswith("--set"):
        del section.value[last]
