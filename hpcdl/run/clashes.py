"""Files that a job would copy to one name in its run, of which only the last would stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


def clashes(files: Mapping[Path, str]) -> Iterator[str]:
    """Say which files and folders are different, and would have the same name in the run.

    Args:
        files: where each is, and its name in the run, as `freeze.user_files` gives them.
    """
    sources = list(files)
    for number, source in enumerate(sources):
        for other in sources[number + 1 :]:
            clash = _same_place(source, files[source], other, files[other])
            if clash is not None:
                first, second, name = clash
                yield f"{first} and {second} would both be {name} in the run"


def _same_place(source: Path, name: str, other: Path, other_name: str) -> tuple[Path, Path, str] | None:
    """Two different files and the one name that they would have; None where they do not meet."""
    place, other_place = Path(name), Path(other_name)
    if other_place.is_relative_to(place):
        source = source / other_place.relative_to(place)
    elif place.is_relative_to(other_place):
        other = other / place.relative_to(other_place)
    else:
        return None
    if not (source.exists() and other.exists()) or source.samefile(other):
        return None
    return source, other, str(max(place, other_place, key=lambda path: len(path.parts)))
