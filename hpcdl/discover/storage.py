"""This host's name pattern, and folders that the nodes probably share."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from hpcdl.discover.lines import Line
from hpcdl.environment import user_name
from hpcdl.mounts.binds import is_system, is_within, of_the_site, parse
from hpcdl.mounts.file_systems import file_system_of
from hpcdl.preflight.hostpython import node_local

# Where centres keep a folder for each account
_PARENTS = (
    *("/gpfs/scratch", "/gpfs/projects", "/gpfs/work", "/scratch", "/work", "/project"),
    *("/projects", "/lustre/scratch", "/lustre/work", "/cluster/projects", "/nesi/project"),
)
# The types of file systems that all nodes of a cluster see
_SHARED = frozenset(
    [
        *("afs", "beegfs", "ceph", "fuse.ceph", "gpfs"),
        *("lustre", "nfs", "nfs4", "panfs", "wekafs"),
    ]
)
_NO_BIND = re.compile(r"[{}:,]")  # characters that a bind or a profile reads as its own


def detect_line(host: str) -> Line:
    """The key ``detect``: login1.site.org is one of login*.site.org."""
    if host.startswith("localhost"):
        why = f"this host calls itself {host}; names of login nodes"
        return Line("detect", ["login*.site.org"], why, "unknown")
    first, dot, domain = host.partition(".")
    pattern = re.sub(r"\d+", "*", first) + dot + domain
    return Line("detect", [pattern], f"this host is {host}", "guess")


def place_lines() -> Iterator[Line]:
    """The keys ``data_root`` and ``runs_root``: data go to lasting folders, runs to fast ones."""
    yield _root("data_root", "data", ("WORK", "PROJECT", "SCRATCH"))
    yield _root("runs_root", "runs", ("SCRATCH", "WORK", "PROJECT"))


def binds_line(accounts: Collection[str], images: Collection[str] = ()) -> Line:
    """The key ``binds``: the areas of the user's data, as far as this machine shows them.

    Args:
        accounts: the user's accounts; a folder with such a name belongs to the group.
        images: folders with images.
    """
    reasons = _reasons_by_area(accounts, images)
    if not reasons:
        why = "the folders of your data, such as your project's, which scripts name by their paths"
        return Line("binds", ["/path/to/project"], why, "unknown")
    texts = []
    for folder, why_here in reasons.items():
        texts.append(f"{folder} is {' and '.join(dict.fromkeys(why_here))}")
    return Line("binds", [_with_user(folder) for folder in reasons], "; ".join(texts), "guess")


def _reasons_by_area(accounts: Collection[str], images: Collection[str]) -> dict[str, list[str]]:
    """The areas to bind, each with what points to it. None lies within another."""
    reasons: dict[str, list[str]] = {}
    for folder, reason in _areas(accounts, images):
        outer = next((area for area in reasons if is_within(folder, area)), None)
        if outer is not None:
            reasons[outer].append(reason)
            continue
        for area in list(reasons):
            if is_within(area, folder):
                del reasons[area]
        reasons[folder] = [reason]
    return reasons


def _areas(accounts: Collection[str], images: Collection[str]) -> Iterator[tuple[str, str]]:
    """Folders on file systems that nodes probably share, each with what points to it."""
    for variable in ("SCRATCH", "WORK", "PROJECT"):
        folder = os.environ.get(variable, "")
        if _is_area(folder):
            yield _of_group(os.path.normpath(folder), accounts), f"of ${variable}"
    for folder in (*map(os.path.abspath, images), os.getcwd()):
        group = _of_group(folder, accounts)
        if group != folder and _is_area(group):
            yield group, "named like your account"
    for account in sorted(accounts):
        for parent in _PARENTS:
            if _is_area(f"{parent}/{account}"):
                yield f"{parent}/{account}", "named like your account"
    for bind in of_the_site(shutil.which("apptainer") or "singularity"):
        folder = parse(bind).target
        if parse(bind).source == folder and _is_area(folder):
            yield folder, "of apptainer.conf's bind path"


def _is_area(folder: str) -> bool:
    """Whether a folder can be bound and needs it: not the image's own, not the user's home."""
    if not _may_be_shared(folder) or not os.path.isdir(folder):
        return False
    home = os.path.realpath(os.path.expanduser("~"))
    is_home = os.path.realpath(folder) == home
    return not is_home and not is_system(os.path.normpath(folder))


def _may_be_shared(folder: str) -> bool:
    """Whether a profile can name a folder, and nodes may see it."""
    return os.path.isabs(folder) and not _NO_BIND.search(folder) and not node_local(folder)


def _of_group(folder: str, accounts: Collection[str]) -> str:
    """The part of a path that ends in an account's name; the whole path if there is none."""
    parts = Path(folder).parts
    for place, part in enumerate(parts):
        if part in accounts:
            return str(Path(*parts[: place + 1]))
    return folder


def _with_user(folder: str) -> str:
    """A path with {user} in place of the user's name."""
    user = user_name()
    parts = []
    for part in Path(folder).parts:
        parts.append("{user}" if part == user else part)
    return str(Path(*parts))


def _root(key: str, name: str, variables: tuple[str, ...]) -> Line:
    """A key that names a folder: below the first of some variables that fits, or HOME."""
    for variable in (*variables, "HOME"):
        folder = os.environ.get(variable, "")
        if not _may_be_shared(folder) or not _is_writable(folder):
            continue
        kind = file_system_of(folder)
        shared = f"on {kind}; see that the nodes share it"
        if kind in _SHARED:
            shared = f"on {kind}, which the nodes share"
        path = f"{_base(variable, folder)}/hpcdl/{name}"
        return Line(key, path, f"${variable} is writable, {shared}", "guess")
    names = ", ".join(f"${variable}" for variable in (*variables, "HOME"))
    why = f"none of {names} is shared and writable"
    return Line(key, f"/scratch/{{user}}/{name}", why, "unknown")


def _base(variable: str, folder: str) -> str:
    """The user's own folder below that of a variable."""
    if variable == "HOME":
        return "~"
    is_own = user_name() in Path(folder).parts
    return os.path.normpath(folder) + ("" if is_own else "/{user}")


def _is_writable(folder: str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
