"""This host's name pattern, and folders that the nodes probably share."""

from __future__ import annotations

import getpass
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from hpcdl.binds import is_system, is_within, of_the_site, parse
from hpcdl.discover.lines import Line
from hpcdl.preflight.hostpython import node_local

# Where centres keep a folder for each account
_PARENTS = (
    *("/gpfs/scratch", "/gpfs/projects", "/gpfs/work", "/scratch", "/work", "/project"),
    *("/projects", "/lustre/scratch", "/lustre/work", "/cluster/projects", "/nesi/project"),
)
_SHARED = ("afs", "beegfs", "ceph", "fuse.ceph", "gpfs", "lustre", "nfs", "nfs4", "panfs", "wekafs")


def detect_line(host: str) -> Line:
    """The key ``detect``: login1.site.org is one of login*.site.org."""
    if host.startswith("localhost"):
        return Line("detect", ["login*.site.org"], f"this host calls itself {host}; names of login nodes", "unknown")
    first, dot, domain = host.partition(".")
    return Line("detect", [re.sub(r"\d+", "*", first) + dot + domain], f"this host is {host}", "guess")


def place_lines() -> Iterator[Line]:
    """The keys ``data_root`` and ``runs_root``: what is kept goes to lasting places first, runs to fast ones."""
    yield _place("data_root", "data", ("WORK", "PROJECT", "SCRATCH"))
    yield _place("runs_root", "runs", ("SCRATCH", "WORK", "PROJECT"))


def binds_line(accounts: Collection[str], images: Collection[str] = ()) -> Line:
    """The key ``binds``: the areas where the user's data lie, as far as this machine tells.

    Args:
        accounts: the user's accounts; a folder that is called like one is the group's.
        images: folders with images.
    """
    sources: dict[str, list[str]] = {}
    for folder, source in _areas(accounts, images):
        covered = [known for known in sources if is_within(folder, known)]
        if covered:
            sources[covered[0]].append(source)
            continue
        for inside in [known for known in sources if is_within(known, folder)]:
            del sources[inside]
        sources[folder] = [source]
    if not sources:
        why = "the folders of your data, such as your project's, which scripts name by their paths"
        return Line("binds", ["/path/to/project"], why, "unknown")
    folders = [_with_user(folder) for folder in sources]
    words = [f"{folder} is {' and '.join(dict.fromkeys(why))}" for folder, why in sources.items()]
    return Line("binds", folders, "; ".join(words), "guess")


def _areas(accounts: Collection[str], images: Collection[str]) -> Iterator[tuple[str, str]]:
    """Folders on file systems that nodes probably share, and what tells of each."""
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
    """Whether a folder can be bound and is worth it: not the image's own, not the user's home."""
    if not os.path.isabs(folder) or re.search(r"[{}:,]", folder) or node_local(folder):
        return False
    home = os.path.realpath(os.path.expanduser("~"))
    system = is_system(os.path.normpath(folder))
    return os.path.isdir(folder) and not system and os.path.realpath(folder) != home


def _of_group(folder: str, accounts: Collection[str]) -> str:
    """The folder in a path that is called like an account, else the path."""
    parts = Path(folder).parts
    for place, part in enumerate(parts):
        if part in accounts:
            return str(Path(*parts[: place + 1]))
    return folder


def _with_user(folder: str) -> str:
    parts = ["{user}" if part == getpass.getuser() else part for part in Path(folder).parts]
    return str(Path(*parts))


def _place(key: str, name: str, variables: tuple[str, ...]) -> Line:
    for variable in (*variables, "HOME"):
        folder = os.environ.get(variable, "")
        if not os.path.isabs(folder) or re.search(r"[{}:,]", folder) or node_local(folder):
            continue
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            continue
        kind = _file_system(os.path.realpath(folder))
        shared = f"on {kind}, which the nodes share" if kind in _SHARED else f"on {kind}; see that the nodes share it"
        mine = "" if variable == "HOME" or getpass.getuser() in Path(folder).parts else "/{user}"
        base = "~" if variable == "HOME" else os.path.normpath(folder) + mine
        return Line(key, f"{base}/hpcdl/{name}", f"${variable} is writable, {shared}", "guess")
    asked = ", ".join(f"${variable}" for variable in (*variables, "HOME"))
    return Line(key, f"/scratch/{{user}}/{name}", f"none of {asked} is shared and writable", "unknown")


def _file_system(path: str) -> str:
    """The type of the file system that a path lies on."""
    point, kind = "", "an unknown file system"
    try:
        rows = [line.split(" ") for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return kind
    for row in rows:
        if Path(path).is_relative_to(row[1]) and len(row[1]) >= len(point):
            point, kind = row[1], row[2]
    return kind
