"""The container command and the module that gives it, as a job would find them, and the images of some folders."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from pathlib import Path

from hpcdl.asjob import last_line, run
from hpcdl.discover.lines import Line
from hpcdl.errors import HpcdlError, UserError
from hpcdl.image import check_sif, where_to_pull
from hpcdl.script import quote

_COMMANDS = ("apptainer", "singularity")
_CLEAN = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"  # no module has added to it
# Where Lmod and Environment Modules define the module command for bash
_INITS = (
    "$LMOD_PKG/init/bash",
    "$MODULESHOME/init/bash",
    "/usr/share/lmod/lmod/init/bash",
    "/usr/share/modules/init/bash",
    "/usr/share/Modules/init/bash",
    "/etc/profile.d/*mod*.sh",
)
# A line of `module -t avail`: apptainer, tools/Singularity/3.8, singularity-ce/4.1(default)
_MODULE = re.compile(
    r"((?:\w[\w.+-]*/)*(?:apptainer|singularity)(?:[-_]?(?:ce|pro))?)(?:/(\w[\w.+-]*))?/?(?:\(.*\))?",
    re.IGNORECASE | re.ASCII,
)


def container_lines(say: Callable[[str], None]) -> Iterator[Line]:
    """The keys ``runtime``, ``modules`` and ``module_init``.

    Args:
        say: is told what is being asked.
    """
    say("looking for apptainer and singularity")
    for command in _COMMANDS:
        version = _version([], command)
        if version:
            where = shutil.which(command, path=_CLEAN)
            yield Line("runtime", command, f"{where} says: {version}; the nodes need it too")
            yield Line("modules", [command], f"{command} is there without any", "unneeded")
            return
    say("asking module avail")
    init, listed = _module_command()
    for name in _container_modules(listed or []):
        lines = [*_sourced(init), "module purge", f"module load {quote(name)}"]
        for command in sorted(_COMMANDS, key=lambda command: command not in name.lower()):
            say(f"asking {command} --version after module load {name}")
            version = _version(lines, command)
            if version:
                yield Line("runtime", command, f"after module load {name} it says: {version}")
                yield Line("modules", [name], f"module avail lists it, and it gives {command}")
                yield _module_init(init)
                return
    yield from _on_path(listed is not None)


def image_line(folders: Sequence[str]) -> Line:
    """The key ``images``: the .sif files of some folders.

    Raises:
        UserError: a folder is not there.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            raise UserError(f"there is no folder {folder} to look for images in")
        paths = sorted(Path(folder).absolute().glob("*.sif"), key=_by_number)
        found.update({re.sub(r"[^\w.-]+", "-", path.stem): path for path in paths if _is_image(path)})
    if not found:
        looked = f"no .sif file in {', '.join(folders)}" if folders else "say --images DIR, where they lie"
        pull = f"apptainer pull tensorflow.sif {where_to_pull(platform.machine())}"
        how = f"{looked}; or, where there is internet: {pull}"
        return Line("images", {"tensorflow": "/path/to/tensorflow.sif"}, how, "unknown")
    rows = [Line(name, str(path), f"a .sif file, {path.stat().st_size / 1e9:.1f} GB") for name, path in found.items()]
    if "tensorflow" not in found:
        likely = [path for name, path in found.items() if re.search("tensorflow|(?<![a-z])tf", name, re.IGNORECASE)]
        chosen = likely or list(found.values())
        why = "jobs use it by default; see hpcdl image inspect"
        rows.insert(0, Line("tensorflow", str(chosen[-1]), why, "guess"))
    return Line("images", tuple(rows), f"in {', '.join(folders)}")


def _version(lines: list[str], command: str) -> str:
    """What a container command says of its version after some module lines; nothing where it is not there."""
    try:
        done = run(lines, [command, "--version"], {"PATH": _CLEAN})
    except (HpcdlError, OSError):
        return ""
    return last_line(done.stdout) if done.returncode == 0 else ""


def _sourced(init: str) -> list[str]:
    return [f"source {quote(init)}"] if init else []


def _module_command() -> tuple[str, list[str] | None]:
    """The file that defines the module command, where jobs need one, and what ``module avail`` lists."""
    files = [path for pattern in _INITS for path in sorted(glob(os.path.expandvars(pattern)))]
    inherited = any(name.startswith("BASH_FUNC_module") for name in os.environ)
    best: tuple[str, list[str] | None] = ("", None)
    for init in [""] if inherited else [*files, ""]:
        try:
            done = run([*_sourced(init), "module -t avail"], ["true"], {"PATH": _CLEAN})
        except HpcdlError:
            continue
        listed = f"{done.stdout}\n{done.stderr}".split()
        if _container_modules(listed):
            return init, listed
        best = best if best[1] is not None else (init, listed)
    return best


def _container_modules(listed: list[str]) -> list[str]:
    """The modules to try, in order: the site's default version of each before its newest."""
    found: dict[str, list[str]] = {}
    for match in filter(None, map(_MODULE.fullmatch, listed)):
        found.setdefault(match[1], []).extend([match[2]] if match[2] else [])
    names = sorted(found, key=lambda name: ("apptainer" not in name.lower(), name))
    return [one for name in names for one in (name, *(f"{name}/{version}" for version in found[name][-1:]))]


def _module_init(init: str) -> Line:
    if init:
        return Line("module_init", init, "defines the module command, which your shell does not export")
    if any(name.startswith("BASH_FUNC_module") for name in os.environ):
        return Line("module_init", "/etc/profile.d/modules.sh", "jobs inherit the module command", "unneeded")
    how = "login shells have the module command, jobs may not: which file of /etc/profile.d defines it?"
    return Line("module_init", "/etc/profile.d/modules.sh", how, "unknown")


def _on_path(modules: bool) -> Iterator[Line]:
    """Where neither the system nor a module has the command: what the user's own PATH has."""
    none = "module avail lists no apptainer, no singularity" if modules else "there is no module command"
    for command in _COMMANDS:
        where = shutil.which(command)
        if where:
            yield Line("runtime", os.path.abspath(where), "on your PATH only; see that the nodes have it", "guess")
            yield Line("modules", [command], none, "unneeded")
            return
    yield Line("runtime", "apptainer", f"no such command here, and {none}; ask the site for Apptainer", "unknown")
    yield Line("modules", ["apptainer"], none, "unknown")


def _is_image(path: Path) -> bool:
    try:
        check_sif(path)
    except UserError:
        return False
    return True


def _by_number(path: Path) -> list[int | str]:
    """tf2.9 before tf2.11."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
