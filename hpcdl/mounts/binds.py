"""Which paths a container shows under their own names, and which bind is missing for others."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Each image, or each machine, has its own: nothing of the host is put there unasked
SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/root"),
    *("/run", "/sbin", "/sys", "/tmp", "/usr", "/var"),  # noqa: S108
)
_MOST_LINKS = 40  # as Linux counts them: path_resolution(7)
# Source: https://apptainer.org/docs/admin/latest/configfiles.html, apptainer.conf
_SETTINGS = (
    *("etc/apptainer/apptainer.conf", "etc/singularity/singularity.conf"),
    *("etc/singularity/apptainer.conf",),
)


@dataclass(frozen=True)
class Bind:
    """What ``--bind source:target:options`` says; target is source if it is not given."""

    source: str
    target: str
    options: str = ""

    def __str__(self) -> str:
        if not self.options:
            return self.source if self.target == self.source else f"{self.source}:{self.target}"
        return f"{self.source}:{self.target}:{self.options}"


def parse(text: str) -> Bind:
    """A bind as a profile or ``--bind`` writes it: ``source[:target[:options]]``."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    return Bind(source, os.path.normpath(target or source), options)


def is_within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it, by their names alone."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_system(path: str) -> bool:
    """Whether a path is the root, or lies where images have their own files."""
    return path == "/" or any(is_within(path, folder) for folder in SYSTEM)


def ordered(binds: Iterable[str]) -> list[str]:
    """Binds as they must be given: a folder before those inside it, and each target once.

    A later mount hides what was mounted inside its target. Of two for one target the first counts,
    as Apptainer has it.
    """
    by_target: dict[str, str] = {}
    for text in binds:
        by_target.setdefault(parse(text).target, text)
    return [by_target[target] for target in sorted(by_target, key=_depth)]


class View:
    """What a container with these binds shows.

    Paths that no bind covers are the image's. Links are followed as the container's kernel does:
    a mount point is not a link, a link inside a mounted folder is one.
    """

    def __init__(self, binds: Iterable[str]) -> None:
        self.binds = [parse(text) for text in ordered(binds)]

    def add(self, bind: Bind) -> None:
        """Show one more."""
        self.binds.append(bind)
        self.binds.sort(key=lambda added: _depth(added.target))

    def outside(self, path: str) -> str | None:
        """What lies on this machine at a container's path; None if the image has its own."""
        for bind in reversed(self.binds):
            if is_within(path, bind.target):
                below = os.path.relpath(path, bind.target)
                return os.path.normpath(os.path.join(bind.source, below))
        return None

    def follow(self, path: str) -> str:
        """Where a path leads in the container, all links followed.

        Raises:
            OSError: its links go round in circles.
        """
        todo, inside, links = path.split("/"), "/", 0
        while todo:
            part = todo.pop(0)
            inside = os.path.normpath(os.path.join(inside, part))
            there = self.outside(inside)
            if there is None or any(bind.target == inside for bind in self.binds):
                continue
            if not os.path.islink(there):
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            leads_to = os.readlink(there)
            todo = leads_to.split("/") + todo
            inside = "/" if os.path.isabs(leads_to) else os.path.dirname(inside)
        return inside

    def shows(self, path: str) -> bool:
        """Whether the container opens, under this path, what this machine has there."""
        there = self.outside(self.follow(path))
        try:
            return there is not None and os.path.samefile(there, path)
        except OSError:
            return False

    def lacking(self, path: str, options: str = "ro") -> Bind | None:
        """The bind that would show what this machine has at a path; None if it is shown.

        Raises:
            OSError: the path leads nowhere, or in circles.
        """
        real = os.path.realpath(path, strict=True)
        if self.shows(path):
            return None
        target = self.follow(path)
        source = target if os.path.realpath(target) == real else real
        return Bind(source, target, options)


def of_the_site(runtime: str) -> list[str]:
    """The folders that the site's own settings show in every container.

    These are ``bind path`` and ``mount hostfs``, which hpcdl's options leave as they are.

    Args:
        runtime: the container command, whose settings lie next to it if it is not the system's.
    """
    command = shutil.which(runtime)
    roots = ["/", "/usr/local"]
    if command:
        roots.insert(0, str(Path(os.path.realpath(command)).parent.parent))
    for root in roots:
        for name in _SETTINGS:
            try:
                text = Path(root, name).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            return _bound_by(text)
    return []


def _bound_by(settings: str) -> list[str]:
    """The folders that the text of an apptainer.conf binds, without those of `SYSTEM`."""
    folders = []
    for line in settings.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "bind path":
            folders.append(value.strip())
        elif key.strip() == "mount hostfs" and value.strip() == "yes":
            folders += _mount_points()
    return [text for text in folders if os.path.isabs(text) and not is_system(parse(text).target)]


def _mount_points() -> list[str]:
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.split(" ")[1] for line in lines if line.count(" ") >= 2]


def _depth(target: str) -> int:
    return 0 if target == "/" else target.count("/")
