"""Paths that the program will not find: the container or the run does not have them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpcdl.job import Job
from hpcdl.mounts.binds import is_within, parse
from hpcdl.mounts.needed import named_paths
from hpcdl.planning import Script
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.as_it_stands import unreadable
from hpcdl.preflight.copied import copied
from hpcdl.preflight.literals import literals
from hpcdl.preflight.sources import sources_of
from hpcdl.usercode.named_paths import Named
from hpcdl.usercode.user_files import user_files

_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (names to look for, nothing is written)


def visible(subject: Subject) -> Iterator[Finding | Note]:
    """The container shows what the job names, and relative names mean the same as here."""
    for unseen in subject.submission.unseen:
        yield Finding(unseen.cause, unseen.fix, "job", unseen.key, unseen.blocks)
    yield from _not_in_run(subject.job)
    yield from copied(subject.job)
    sources = {} if unreadable(subject) else sources_of(subject)
    yield from literals(subject.job, sources)
    yield from _in_tmp(subject)
    program = subject.plan.program
    if isinstance(program, Script) and program.sets is not None:
        root = subject.cluster.data_root
        linked = "~/.keras/datasets has those that Keras or the script names"
        yield Note(f"{root} has very many entries: {linked}")


def _not_in_run(job: Job) -> Iterator[Finding]:
    """Files next to the script that are opened by a relative name, but not copied into the run."""
    reported: set[str] = set()
    for place, key, named in _not_written(job):
        name = _left_next_to_script(job, named)
        if name is None or name in reported:
            continue
        reported.add(name)
        cause = (
            f"{place} names {name}, which lies next to the script and is not copied into the run"
        )
        yield Finding(cause, _how_to_copy(job, name), "job", key, blocks=False)


def _how_to_copy(job: Job, name: str) -> str:
    """How to have a file copied into the run: its name goes to the job's other files."""
    entries = [os.path.relpath(path, job.folder) for path in job.files]
    files = ", ".join([*entries, name])
    if not job.script:
        return f"files: [{files}] in the job file, and open it next to __file__ in the module"
    if job.source.endswith((".py", ".ipynb")):  # there is no job file
        return f"--set 'files=[{files}]', or --set workdir=."
    return f"files: [{files}] in the job file, or workdir: ."


def _in_tmp(subject: Subject) -> Iterator[Finding]:
    """Files in this machine's /tmp that the script reads.

    The nodes have another /tmp, and the container has its own.
    """
    plan = subject.plan
    if plan.container is None:
        return
    for place, key, named in _not_written(subject.job):
        path = os.path.normpath(named.text)
        if not named.whole or not named.read or not _is_within_any(path, _TEMPORARY):
            continue
        if Path(path).is_file() and not _is_shown(subject, path):
            cause = (
                f"{place} names {path}, but the job has its own temporary folders without that file"
            )
            fix = "move it to the shared file system, and name it there"
            yield Finding(cause, fix, "job", key, blocks=False)


def _is_shown(subject: Subject, path: str) -> bool:
    """Whether the container shows a path."""
    container = subject.plan.require_container()
    folders = [parse(bind).target for bind in [*container.binds, *container.shown]]
    folders += filter(None, [subject.cluster.data_root, subject.job.workdir])
    return _is_within_any(path, folders)


def _is_within_any(path: str, folders: Iterable[str]) -> bool:
    return any(is_within(path, folder) for folder in folders)


def _not_written(job: Job) -> Iterator[tuple[str, str, Named]]:
    """The paths that the job names, but for those that its program writes.

    Yields:
        the place where a path is named, the job file's key for it, and the path.
    """
    paths = list(named_paths(job))
    written = {named.text for _, _, named in paths if named.written}
    for place, key, named in paths:
        if named.text not in written:
            yield place, key, named


def _left_next_to_script(job: Job, named: Named) -> str | None:
    """The relative name of a file next to the script that the run will not have; None otherwise."""
    text = named.text
    if not named.whole or os.path.isabs(text) or text.startswith("~") or "\0" in text:
        return None
    name = os.path.normpath(text)
    folder = os.path.dirname(job.script) if job.script else job.folder
    path = os.path.normpath(os.path.join(folder, name))
    if name in (".", "..") or not _is_meant(Path(path), named):
        return None
    if job.workdir and os.path.exists(os.path.join(job.workdir, name)):
        return None
    copied_paths = list(job.files)
    if not job.workdir:
        copied_paths = [str(file) for file in user_files(job)]
    if _is_within_any(path, copied_paths):
        return None
    return name


def _is_meant(path: Path, named: Named) -> bool:
    """Whether a text means a file here: a single word may be the name of anything."""
    try:
        if path.is_file():
            return named.read or "." in named.text or "/" in named.text
        return path.is_dir() and (named.read or "/" in named.text.rstrip("/"))
    except (OSError, ValueError):
        return False
