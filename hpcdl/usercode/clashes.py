"""Files that a job would copy to one name in its run, of which only the last would stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


def clashes(files: Mapping[Path, str]) -> Iterator[str]:
    """Say which files and folders are different, and would have the same name in the run.

    Args:
        files: where each is, and its name in the run, as `user_files.user_files` gives them.
    """
    by_name: dict[Path, Path] = {}
    for source, name in files.items():
        other = by_name.setdefault(Path(name), source)
        if other != source and _differ(other, source):
            yield f"{other} and {source} would both be {name} in the run"
    for place, source in by_name.items():
        for above in place.parents:  # a folder that is copied may have a file of this name, too
            if above != place and above in by_name:
                inner = by_name[above] / place.relative_to(above)
                if _differ(inner, source):
                    yield f"{inner} and {source} would both be {place} in the run"


def _differ(path: Path, other: Path) -> bool:
    """Whether two paths are those of different files, and both are there."""
    return path.exists() and other.exists() and not path.samefile(other)
