"""Paths that the program will not find: the container does not show them, or they stay behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hpcdl.job import Job
from hpcdl.mounts.binds import is_within, parse
from hpcdl.mounts.needed import named_paths
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.copied import copied
from hpcdl.preflight.literals import literals
from hpcdl.preflight.script import unreadable
from hpcdl.preflight.sources import sources_of
from hpcdl.usercode.freeze import user_files
from hpcdl.usercode.named_paths import Named

_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (names to look for, nothing is written)


def visible(subject: Subject) -> Iterator[Finding | Note]:
    """The container shows what the job names; relative names lead where they do here."""
    for one in subject.submission.unseen:
        yield Finding(one.cause, one.fix, "job", one.key, one.blocks)
    yield from _left_behind(subject.job)
    yield from copied(subject.job)
    sources = {} if unreadable(subject) else sources_of(subject)
    yield from literals(subject.job, sources)
    yield from _in_tmp(subject)
    if subject.plan.sets is not None:
        root = subject.cluster.data_root
        has = "in ~/.keras/datasets are those that Keras or the script names"
        yield Note(f"{root} has very many entries: {has}")


def _left_behind(job: Job) -> Iterator[Finding]:
    """What lies beside the script, is opened by a relative name, and will not be in the run."""
    rows = list(named_paths(job))
    written = {named.text for _, _, named in rows if named.written}
    told: set[str] = set()
    for place, key, named in rows:
        name = _beside(job, named)
        if name is None or name in told or named.text in written:
            continue
        told.add(name)
        files = ", ".join([*(_shown(job, path) for path in job.files), name])
        cause = f"{place} names {name}, which lies beside the script and does not come along"
        fix = f"files: [{files}] in the job file, or workdir: ."
        if job.source.endswith((".py", ".ipynb")):  # there is no job file
            fix = f"--set 'files=[{files}]', or --set workdir=."
        if not job.script:
            fix = f"files: [{files}] in the job file, and open it beside __file__ in the module"
        yield Finding(cause, fix, "job", key, blocks=False)


def _in_tmp(subject: Subject) -> Iterator[Finding]:
    """Files in this machine's /tmp that the script reads: the nodes have another, and the container its own."""
    job, plan = subject.job, subject.plan
    rows = list(named_paths(job))
    written = {named.text for _, _, named in rows if named.written}
    binds = [parse(bind).target for bind in [*plan.binds, *plan.shown]]
    shown = [folder for folder in [*binds, subject.cluster.data_root, job.workdir] if folder]
    for place, key, named in rows:
        path = os.path.normpath(named.text)
        is_meant = (
            named.whole and named.read and named.text not in written and plan.image is not None
        )
        if not is_meant or not any(is_within(path, folder) for folder in _TEMPORARY):
            continue
        if Path(path).is_file() and not any(is_within(path, folder) for folder in shown):
            cause = f"{place} names {path}, and the job has temporary folders of its own, without that file"
            yield Finding(
                cause,
                "move it to the shared file system, and name it there",
                "job",
                key,
                blocks=False,
            )


def _beside(job: Job, named: Named) -> str | None:
    """The name of what a relative name means beside the script, if that is left there."""
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
    taken = [str(one) for one in user_files(job)] if not job.workdir else job.files
    if any(path == one or path.startswith(f"{one}/") for one in taken):
        return None
    return name


def _is_meant(path: Path, named: Named) -> bool:
    """Whether a text is a file's name: a word alone may be the name of anything."""
    try:
        if path.is_file():
            return named.read or "." in named.text or "/" in named.text
        return path.is_dir() and (named.read or "/" in named.text.rstrip("/"))
    except (OSError, ValueError):
        return False


def _shown(job: Job, path: str) -> str:
    return os.path.relpath(path, job.folder)
