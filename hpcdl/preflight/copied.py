"""What is copied into each run: equal names, large folders, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcdl.job import Job
from hpcdl.preflight import Finding, Note
from hpcdl.usercode.clashes import clashes
from hpcdl.usercode.folders import walk
from hpcdl.usercode.user_files import user_files

_MUCH_BYTES = 50_000_000
_MANY_FILES = 5_000  # file systems of clusters are slow with many small files


@dataclass
class _Content:
    """What is in a folder: its files, the largest of them, and what is not copied."""

    files: int = 0
    size_bytes: int = 0
    largest: str = ""
    largest_bytes: int = -1
    left_out: tuple[str, ...] = ()


def copied(job: Job) -> Iterator[Finding | Note]:
    """Two files with one name, and much data in what each run gets a copy of."""
    chosen = {Path(text) for text in job.files}
    files = user_files(job)
    for clash in clashes(files):
        fix = "rename one, or move it into a folder of its own"
        yield Finding(clash, fix, "job", "files" if job.files else "script")
    for path, name in files.items():
        if path.is_dir():
            content = _content(path)
        else:
            size = path.stat().st_size
            content = _Content(1, size, name, size)
        key = "files" if path in chosen else "script"
        shown_name = path.name if name == "." else name
        if content.size_bytes > _MUCH_BYTES:
            yield _large(shown_name, content, key, path.is_dir())
        elif content.files > _MANY_FILES:
            cause = f"{shown_name} has {content.files} files, and each run gets a copy of all"
            yield Finding(cause, _fix(shown_name, key), "job", key, blocks=False)
        if content.left_out and key == "files":
            yield Note(f"files: {shown_name} is copied without {', '.join(content.left_out)}")


def _content(folder: Path) -> _Content:
    content = _Content()
    for entry in walk(folder):
        if entry.kind == "left out" and entry.path.name != "__pycache__":
            ending = "/" if entry.path.is_dir() else ""
            content.left_out = (*content.left_out, f"{entry.name}{ending}")
        elif entry.kind == "file":
            size = entry.path.stat().st_size
            content.files += 1
            content.size_bytes += size
            if size > content.largest_bytes:
                content.largest, content.largest_bytes = entry.name, size
    return content


def _large(name: str, content: _Content, key: str, is_folder: bool) -> Finding:
    cause = f"{name} has {_megabytes(content.size_bytes)}, and each run gets a copy of it"
    if is_folder:
        largest = f"{content.largest}, {_megabytes(content.largest_bytes)}"
        cause = f"{cause}; its largest file is {largest}"
    return Finding(cause, _fix(name, key), "job", key, blocks=False)


def _fix(name: str, key: str) -> str:
    if key == "files":
        return "keep data elsewhere, and give the script their path in args:"
    return (
        f"the script imports from {name}, so all of it is copied: "
        "keep data elsewhere, and give the script their path in args:"
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
