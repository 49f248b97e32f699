"""The Python that runs hpcdl's worker on the node: started as the batch script starts it, with nothing else around."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hpcdl.extras import own_source, pip_install
from hpcdl.modules import ModuleError
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.ask_host_python import why_not
from hpcdl.preflight.image import nodes_architectures

NODE_LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - each machine has its own
# e_machine of an ELF file, by uname's words: /usr/include/elf.h
_ELF_MACHINES = {3: "i386", 21: "ppc64le", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


def host_python(subject: Subject) -> Iterator[Finding]:
    """The worker's interpreter is where every node sees it, and has what it needs after the script's modules."""
    given = subject.plan.host_python
    python = given or sys.executable
    place = node_local(python)
    if place:
        fix = "install hpcdl on the shared file system, or say cluster.host_python"
        yield _finding(f"{python} lies under {place}, which the compute nodes do not share", fix)
        return
    if not os.path.exists(python):
        yield _finding(
            f"there is no {python}",
            "say where a Python with hpcdl is: --set cluster.host_python=...",
        )
        return
    architecture, nodes = elf_architecture(python), nodes_architectures(subject)
    if architecture and nodes and architecture not in nodes:
        message = f"{python} is for {architecture}, but the nodes are {' and '.join(sorted(nodes))}"
        fix = (
            "submit from a login node of their kind, or name a Python for them: cluster.host_python"
        )
        yield _finding(message, fix)
        return
    lines = subject.module_lines
    try:
        words = why_not(python, lines, subject.submission.code_sha)
    except ModuleError as error:
        yield Finding(
            f"the profile's modules cannot be loaded: {error}",
            "see: module avail",
            "profile",
            "modules",
        )
        return
    except PermissionError:
        yield _finding(f"{python} cannot be executed", "see its permissions: ls -lL")
        return
    if words:
        install = pip_install(own_source(), python=python)
        fix = f"install hpcdl for it ({install}), or name the modules that it needs: cluster.host_modules"
        after = f" after {'; '.join(lines)}" if lines else ""
        yield _finding(f"{python} cannot run hpcdl's worker{after}: {words}", fix)


def elf_architecture(path: str) -> str:
    """The architecture that a program was built for, in uname's words; empty where it is no ELF file."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(20)
    except OSError:
        return ""
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    byte_order: Literal["big", "little"] = "big" if head[5] == 2 else "little"
    return _ELF_MACHINES.get(int.from_bytes(head[18:20], byte_order), "")


def node_local(path: str) -> str | None:
    """The folder of this machine alone that a path, or what it leads to, lies in."""
    for one in (os.path.abspath(path), os.path.realpath(path)):
        for folder in NODE_LOCAL:
            if Path(one).is_relative_to(folder):
                return folder
    return None


def _finding(cause: str, fix: str) -> Finding:
    return Finding(cause, fix, "profile", "host_python")
