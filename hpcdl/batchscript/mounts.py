"""Which path outside a container one inside is: by --bind, --home and --pwd."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from hpcdl.batchscript.model import Container, Word

# Folders that images have of their own, and that hosts seldom share with them
_OF_IMAGES = ("/opt", "/usr", "/root", "/app", "/workspace", "/workspaces", "/code")
_BINDS = re.compile(r"(?:SINGULARITY|APPTAINER)_BIND(?:PATH)?")


@dataclass(frozen=True)
class Mounts:
    """What a container shows: pairs of a path outside, None where unknown, and one inside."""

    pairs: tuple[tuple[str | None, str], ...] = ()

    def outside(self, path: str) -> str | None:
        """The path outside of a whole path inside; None where it is not known."""
        inside = os.path.normpath(path)
        best: tuple[str | None, str] | None = None
        for source, target in self.pairs:
            is_in = inside == target or inside.startswith(target.rstrip("/") + "/")
            if is_in and (best is None or len(target) >= len(best[1])):
                best = (source, target)
        if best is None:
            return path  # what has no bind of its own has one of the site's, or is the image's
        source, target = best
        if source is None:
            return None
        return source + inside[len(target.rstrip("/")) :]

    def is_of_image(self, path: str) -> bool:
        """Whether a whole path is likely the image's own: no bind shows it, nor has the host it."""
        inside = os.path.normpath(path)
        if not inside.startswith(tuple(f"{one}/" for one in _OF_IMAGES)):
            return False
        return not self.shows(path) and not os.path.exists(inside)

    def shows(self, path: str) -> bool:
        """Whether one of the pairs has what is at a whole path inside."""
        inside = os.path.normpath(path)
        return any(inside.startswith(target.rstrip("/") + "/") for _, target in self.pairs)


def is_bind(name: str) -> bool:
    """Whether a variable of that name shows a container folders."""
    return bool(_BINDS.fullmatch(name))


def pairs_of(text: str) -> list[tuple[str, str]]:
    """The paths outside and inside of a list such as /a:/b:ro,/c."""
    pairs = []
    for bind in filter(None, text.split(",")):
        source, _, rest = bind.partition(":")
        target = rest.partition(":")[0] or source
        if target.startswith("/") or source == target:
            pairs.append((source, os.path.normpath(target)))
    return pairs


def pairs_of_mount(text: str) -> list[tuple[str, str]]:
    """The paths outside and inside of --mount type=bind,source=/a,destination=/b."""
    keys = dict(part.partition("=")[::2] for part in text.split(","))
    source = keys.get("source") or keys.get("src")
    target = keys.get("destination") or keys.get("dst") or keys.get("target")
    if keys.get("type") != "bind" or not source or not target:
        return []
    return [(source, os.path.normpath(target))]


def words_of_mounts(container: Container) -> list[Word]:
    """The words of a container's options that show folders, without --home of one path."""
    homes = [word for word in container.values("home") if ":" in (word.text or word.raw)]
    return [*container.values("bind"), *homes]


def folder_inside(container: Container) -> Word | None:
    """The folder in which a container starts its program, where an option says so."""
    named = [*container.values("pwd"), *container.values("cwd")]
    return named[-1] if named else None
