"""Folders that a job needs before it begins, or that only the login node has."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from hpcdl.batchscript import pyxis
from hpcdl.batchscript.folders import start_folder
from hpcdl.batchscript.model import BatchScript, Command, Directive, ScriptFinding
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

_OF_A_NODE = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")  # noqa: S108 - looked for, not used
_MAKERS = ("mkdir", "tar", "unzip", "cp", "rsync", "git")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]")


def folder_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """What is wrong with folders."""
    remedies: set[str] = set()
    for name in ("output", "error"):
        directive = script.directive(name)
        if directive is not None and directive.value:
            finding = _output(script, directive, around)
            if finding is not None and finding.fix not in remedies:
                remedies.add(finding.fix)
                yield finding
    yield from _login(script, around)


def _output(
    script: BatchScript, directive: Directive, around: Surroundings
) -> ScriptFinding | None:
    """A folder that is not there when SLURM opens the output."""
    name, value = directive.name, directive.value or ""
    folder = value.rpartition("/")[0]
    if not folder:
        return None
    if _VARIABLE.search(value):
        return ScriptFinding(
            "output-folder",
            directive.line,
            f"no shell reads an #SBATCH line: SLURM looks for a folder {_shown(folder)}",
            f"write the path, with %u, %x and %j, which SLURM knows: "
            f"#SBATCH --{name}={_VARIABLE.split(value)[0]}...",
            blocks=True,
        )
    part, is_whole = _known_part(folder, script)
    start = start_folder(script, around.folder)
    if not os.path.isabs(part) and start is None:
        return None
    if _is_missing((start or Path()) / part):
        cause = (
            "SLURM opens this file before the script's first command, and makes no folders: "
            f"there is no {_shown(part)}"
        )
        fix = f"before sbatch: mkdir -p {shlex.quote(_shown(part))}"
    elif not is_whole and _is_of_each_job(folder):
        cause = f"SLURM makes no folders, and {_shown(folder)} has a job's number, not known before"
        begin = f"{part}/" if part else ""
        fix = f"#SBATCH --{name}={begin}{value[len(begin) :].replace('/', '-')}"
    else:
        return None
    return ScriptFinding("output-folder", directive.line, cause, fix, blocks=True)


def _known_part(folder: str, script: BatchScript) -> tuple[str, bool]:
    """The part of a folder's name that is known before the job is sent, and whether it is all."""
    text = folder.replace("%%", "\0")
    job_name = script.value("job-name") or script.path.name
    text = text.replace("%x", job_name)
    user = os.path.basename(os.path.expanduser("~")) if "%u" in text else ""
    text = text.replace("%u", user) if user else text
    parts = text.split("/")
    begin = []
    for part in parts:
        if "%" in part:
            break
        begin.append(part)
    return "/".join(begin).replace("\0", "%"), len(begin) == len(parts)


def _is_of_each_job(folder: str) -> bool:
    """Whether a folder's name has the number of a job, which nobody knows before."""
    return bool(re.search(r"%\d*[jAJ]", folder))


def _is_missing(path: Path) -> bool:
    """Whether a folder is missing, where this machine can tell: it has the file system."""
    try:
        if path.is_dir():
            return False
        there = next((parent for parent in path.parents if parent.is_dir()), None)
        return there is not None and there != Path("/")
    except OSError:
        return False  # another user's, or a file system that is away


def _login(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """A folder that the job's node does not have: another machine's /tmp."""
    chdir = script.directive("chdir")
    if chdir is not None and chdir.value and _is_of_login(chdir.value, around):
        yield _login_finding(chdir.line, chdir.value, "leave the line out")
    if pyxis.is_of_job(script):
        return  # its folders are the image's
    for number, command in enumerate(script.commands):
        if command.name not in ("cd", "pushd") or command.substituted or command.is_inside:
            continue
        target = command.words[-1].text if len(command.words) == 2 else None
        before = script.commands[:number]
        if target and _is_of_login(target, around) and not _is_made(target, before):
            yield _login_finding(command.line, target, 'cd "$SLURM_SUBMIT_DIR"')


def _login_finding(line: int, folder: str, fix: str) -> ScriptFinding:
    return ScriptFinding(
        "login-folder",
        line,
        f"{_shown(folder)} is on the login node's own disk: the compute node has no such folder",
        f"a folder of the shared file system: {fix}",
    )


def _is_of_login(folder: str, around: Surroundings) -> bool:
    """Whether a folder lies below one that each machine has for itself, and is not that one."""
    path = os.path.normpath(folder)
    if any(path == one or path.startswith(f"{one}/") for one in around.login_folders):
        return True
    return any(path.startswith(f"{one}/") for one in _OF_A_NODE)


def _is_made(folder: str, before: tuple[Command, ...]) -> bool:
    """Whether a command before names the folder, or one in it: it may make it."""
    path = os.path.normpath(folder)
    for command in before:
        targets = [redirect.target for redirect in command.redirects]
        for word in (*command.words[1:], *targets):
            if word.text is None and command.name in _MAKERS:
                return True  # it may be this one
            text = word.text if word.text is not None else word.raw.strip("\"'")
            other = os.path.normpath(text.partition("=")[2] or text)
            is_below = f"{other}/".startswith(f"{path}/")
            is_above = path.startswith(f"{other}/") and command.name != "cd"
            if os.path.isabs(other) and (is_below or is_above):
                return True
    return False


def _shown(text: str) -> str:
    return cut(one_line(text), 120)
