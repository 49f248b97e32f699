"""The Python that runs hpcdl's worker on the node: started as the batch script starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hpcdl import modules
from hpcdl.extras import own_source, pip_install
from hpcdl.job.command import shown_command
from hpcdl.modules import ModuleError
from hpcdl.planning import Command
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.ask_host_python import why_not
from hpcdl.preflight.image import nodes_architectures
from hpcdl.worker.command import python_options

NODE_LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - each machine has its own
# e_machine of an ELF file, by uname's words: /usr/include/elf.h
_ELF_MACHINES = {3: "i386", 21: "ppc64le", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


def host_python(subject: Subject) -> Iterator[Finding]:
    """The worker's Python is on a shared disk, fits the nodes, and has what the worker needs."""
    python = subject.plan.modules.host_python or sys.executable
    finding = _place_finding(python) or _architecture_finding(subject, python)
    if finding:
        yield finding
        return
    module_lines = subject.module_lines
    try:
        reason = why_not(python, module_lines, subject.submission.code_sha)
    except ModuleError as error:
        cause = f"the profile's modules cannot be loaded: {error}"
        yield Finding(cause, "see: module avail", "profile", "modules")
        return
    except PermissionError:
        yield _finding(f"{python} cannot be executed", "see its permissions: ls -lL")
        return
    if reason:
        after = f" after {'; '.join(module_lines)}" if module_lines else ""
        install = f"install hpcdl for it ({pip_install(own_source(), python=python)})"
        fix = f"{install}, or name the modules that it needs: cluster.host_modules"
        yield _finding(f"{python} cannot run hpcdl's worker{after}: {reason}", fix)
        return
    yield from _lacks_for_command(subject, python)


def _lacks_for_command(subject: Subject, python: str) -> Iterator[Finding]:
    """The packages that a command of hpcdl's needs are missing."""
    program = subject.plan.program
    if not isinstance(program, Command):
        return
    names = {"click": "click", "rich": "rich", "jinja2": "jinja2"}
    if program.words[:2] == ["data", "pack"]:
        names |= {"PIL": "pillow", "google_crc32c": "google-crc32c"}
    argv = [python, *python_options(), "-c", f"import {', '.join(names)}"]
    done = modules.run(subject.module_lines, argv)
    if done.returncode:
        cause = f"{python} cannot run {shown_command(program.words)}"
        fix = f"install what it needs: {pip_install(*names.values(), python=python)}"
        yield _finding(f"{cause}: {modules.last_line(done.stderr)}", fix)


def _place_finding(python: str) -> Finding | None:
    """What is wrong with the place where a Python lies."""
    folder = node_local(python)
    if folder:
        fix = "install hpcdl on the shared file system, or say cluster.host_python"
        cause = f"{python} lies under {folder}, which the compute nodes do not share"
        return _finding(cause, fix)
    if not os.path.exists(python):
        fix = "say where a Python with hpcdl is: --set cluster.host_python=..."
        return _finding(f"there is no {python}", fix)
    return None


def _architecture_finding(subject: Subject, python: str) -> Finding | None:
    """The nodes' processors cannot run a Python."""
    architecture = elf_architecture(python)
    nodes = nodes_architectures(subject)
    if not architecture or not nodes or architecture in nodes:
        return None
    cause = f"{python} is for {architecture}, but the nodes are {' and '.join(sorted(nodes))}"
    submit = "submit from a login node with such a processor"
    return _finding(cause, f"{submit}, or name a Python for the nodes: cluster.host_python")


def elf_architecture(path: str) -> str:
    """The architecture that a program was built for, in uname's words; "" if it is not ELF."""
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
    """The folder that each machine has for itself in which a path lies, or what it leads to."""
    for each in (os.path.abspath(path), os.path.realpath(path)):
        for folder in NODE_LOCAL:
            if Path(each).is_relative_to(folder):
                return folder
    return None


def _finding(cause: str, fix: str) -> Finding:
    return Finding(cause, fix, "profile", "host_python")
