"""This host's name pattern, and folders that the nodes probably share."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator
from pathlib import Path

from hpcdl.discover.lines import Line
from hpcdl.preflight.hostpython import node_local

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
