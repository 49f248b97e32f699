"""Finds the container command as a job would, the module that brings it, and images."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from pathlib import Path

from hpcdl.discover.lines import Line
from hpcdl.errors import HpcdlError, UserError
from hpcdl.image import check_sif, where_to_pull
from hpcdl.modules import last_line, run
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
    r"((?:\w[\w.+-]*/)*(?:apptainer|singularity)(?:[-_]?(?:ce|pro))?)"  # its name
    r"(?:/(\w[\w.+-]*))?/?(?:\(.*\))?",  # its version, and whether it is the default
    re.IGNORECASE | re.ASCII,
)


def container_lines(say: Callable[[str], None]) -> Iterator[Line]:
    """The keys ``runtime``, ``modules`` and ``module_init``.

    Args:
        say: is called with what is being asked.
    """
    say("looking for apptainer and singularity")
    for command in _COMMANDS:
        version = _version([], command)
        if version:
            path = shutil.which(command, path=_CLEAN)
            yield Line("runtime", command, f"{path} says: {version}; the nodes need it too")
            yield Line("modules", [command], f"{command} is there without any", "unneeded")
            return
    say("asking module avail")
    init, listed = _module_command()
    for module in _container_modules(listed or []):
        lines = _lines_of_module(module, init, say)
        if lines:
            yield from lines
            return
    yield from _on_path(listed is not None)


def _lines_of_module(module: str, init: str, say: Callable[[str], None]) -> list[Line]:
    """The keys if a module brings a container command; nothing if it does not."""
    loading = [*_sourced(init), "module purge", f"module load {quote(module)}"]
    for command in sorted(_COMMANDS, key=lambda name: name not in module.lower()):
        say(f"asking {command} --version after module load {module}")
        version = _version(loading, command)
        if version:
            return [
                Line("runtime", command, f"after module load {module} it says: {version}"),
                Line("modules", [module], f"module avail lists it, and it gives {command}"),
                _module_init(init),
            ]
    return []


def image_line(folders: Sequence[str]) -> Line:
    """The key ``images``: the .sif files of some folders.

    Raises:
        UserError: a folder does not exist.
    """
    images = _images(folders)
    if not images:
        looked = "say where they are: --images DIR"
        if folders:
            looked = f"no .sif file in {', '.join(folders)}"
        pull = f"apptainer pull tensorflow.sif {where_to_pull(platform.machine())}"
        why = f"{looked}; or, where there is internet: {pull}"
        return Line("images", {"tensorflow": "/path/to/tensorflow.sif"}, why, "unknown")
    lines = []
    if "tensorflow" not in images:
        why = "jobs use it by default; see hpcdl image inspect"
        lines.append(Line("tensorflow", str(_likely_tensorflow(images)), why, "guess"))
    for name, path in images.items():
        size_gb = path.stat().st_size / 1e9
        lines.append(Line(name, str(path), f"a .sif file, {size_gb:.1f} GB"))
    return Line("images", tuple(lines), f"in {', '.join(folders)}")


def _images(folders: Sequence[str]) -> dict[str, Path]:
    """The .sif files of some folders, by a name that a profile can have."""
    images: dict[str, Path] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            raise UserError(f"there is no folder {folder} to look for images in")
        for path in sorted(Path(folder).absolute().glob("*.sif"), key=_by_number):
            if _is_image(path):
                images[re.sub(r"[^\w.-]+", "-", path.stem)] = path
    return images


def _likely_tensorflow(images: dict[str, Path]) -> Path:
    """The last image whose name speaks of TensorFlow, else the last image."""
    chosen = list(images.values())[-1]
    for name, path in images.items():
        if re.search("tensorflow|(?<![a-z])tf", name, re.IGNORECASE):
            chosen = path
    return chosen


def _version(module_lines: list[str], command: str) -> str:
    """What a container command says after some module lines; "" if there is no such command."""
    try:
        done = run(module_lines, [command, "--version"], {"PATH": _CLEAN})
    except (HpcdlError, OSError):
        return ""
    return last_line(done.stdout) if done.returncode == 0 else ""


def _sourced(init: str) -> list[str]:
    return [f"source {quote(init)}"] if init else []


def _module_command() -> tuple[str, list[str] | None]:
    """The file that defines the module command, if jobs need one, and what it lists.

    The list is None if no file gives a module command.
    """
    best: tuple[str, list[str] | None] = ("", None)
    for init in _init_files():
        try:
            done = run([*_sourced(init), "module -t avail"], ["true"], {"PATH": _CLEAN})
        except HpcdlError:
            continue
        listed = f"{done.stdout}\n{done.stderr}".split()
        if _container_modules(listed):
            return init, listed
        if best[1] is None:
            best = init, listed
    return best


def _init_files() -> list[str]:
    """The files that may define the module command; "" stands for none."""
    if _inherits_module():
        return [""]
    files: list[str] = []
    for pattern in _INITS:
        files += sorted(glob(os.path.expandvars(pattern)))
    return [*files, ""]


def _inherits_module() -> bool:
    """Whether this shell exports the module command, so that jobs have it."""
    return any(name.startswith("BASH_FUNC_module") for name in os.environ)


def _container_modules(listed: list[str]) -> list[str]:
    """The modules to try, Apptainer's first: each by its name alone, then its newest version.

    The name alone is the version that the site loads by default.
    """
    versions: dict[str, list[str]] = {}
    for match in filter(None, map(_MODULE.fullmatch, listed)):
        name, version = match.groups()
        versions.setdefault(name, [])
        if version:
            versions[name].append(version)
    modules = []
    for name in sorted(versions, key=lambda name: ("apptainer" not in name.lower(), name)):
        modules.append(name)
        if versions[name]:
            modules.append(f"{name}/{versions[name][-1]}")
    return modules


def _module_init(init: str) -> Line:
    if init:
        why = "defines the module command, which your shell does not export"
        return Line("module_init", init, why)
    example = "/etc/profile.d/modules.sh"
    if _inherits_module():
        return Line("module_init", example, "jobs inherit the module command", "unneeded")
    why = "login shells have the module command, jobs may not"
    question = "which file of /etc/profile.d defines it?"
    return Line("module_init", example, f"{why}: {question}", "unknown")


def _on_path(has_modules: bool) -> Iterator[Line]:
    """What the user's own PATH has, if neither the system nor a module has the command."""
    none = "there is no module command"
    if has_modules:
        none = "module avail lists no apptainer, no singularity"
    for command in _COMMANDS:
        path = shutil.which(command)
        if path:
            why = "on your PATH only; see that the nodes have it"
            yield Line("runtime", os.path.abspath(path), why, "guess")
            yield Line("modules", [command], none, "unneeded")
            return
    why = f"no such command here, and {none}; ask the site for Apptainer"
    yield Line("runtime", "apptainer", why, "unknown")
    yield Line("modules", ["apptainer"], none, "unknown")


def _is_image(path: Path) -> bool:
    try:
        check_sif(path)
    except UserError:
        return False
    return True


def _by_number(path: Path) -> list[int | str]:
    """A key that sorts tf2.9 before tf2.11."""
    key: list[int | str] = []
    for part in re.split(r"(\d+)", path.name):
        key.append(int(part) if part.isdigit() else part)
    return key
