"""Builds an overlay: the image's own Python installs packages, which become one read-only file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl.cache import cached_sha256
from hpcdl.container import PACKAGES, Places, isolated
from hpcdl.container import argv as argv_of
from hpcdl.contract.version import __version__
from hpcdl.errors import ContainerError, HpcdlError, UserError
from hpcdl.files import write_json
from hpcdl.image import check_sif, python_program, read_answer
from hpcdl.modules import after_modules, check_loaded
from hpcdl.packages import FOLDER, MANIFEST, SQUASHFS
from hpcdl.packages.pipconfig import local_paths, pip_environment
from hpcdl.planning import Environment, Plan

# The folder that is built, as the image sees it: compiled files know where jobs see them
_AT = os.path.dirname(PACKAGES)
_MAX_LINES = 12  # of pip's, in an error


def build(plan: Plan, say: Callable[[str], None], wheels: Path | None = None) -> dict[str, Any]:
    """Install a plan's requirements, aside, and move them to the plan's place whole.

    What the image has keeps its version and is not installed again.

    Args:
        plan: the plan, located.
        say: takes pip's lines as they come.
        wheels: a folder of wheels to install from, and from nowhere else.

    Returns:
        the manifest.

    Raises:
        UserError: the requirements cannot be had, do not go with the image, or hide a part of it.
        ContainerError: the image has no pip, or cannot be started.
        HpcdlError: the folder cannot be written.
    """
    container = plan.require_container()
    check_sif(Path(container.image))
    final = Path(container.overlay or "").parent
    for path in (final, wheels or final):
        if set(str(path)) & set(":,"):
            raise UserError(f"a container cannot be given {str(path)!r}: it has ':' or ','")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
        try:
            answer = _install(plan, aside, say, wheels)
            manifest = _manifest(plan, answer, _payload(plan, aside))
            write_json(aside / MANIFEST, manifest)
            aside.chmod(0o755)
            aside.rename(final)
        finally:
            if aside.exists():
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        if not (final / MANIFEST).exists():  # else another build was faster
            raise HpcdlError(
                f"cannot build in {final.parent}: {error.strerror or error}"
            ) from error
    return manifest


def _install(
    plan: Plan, aside: Path, say: Callable[[str], None], wheels: Path | None
) -> dict[str, Any]:
    """Install into a folder, with the image's Python; what it answers.

    Raises:
        UserError: the requirements cannot be installed, or hide a part of the image.
        ContainerError: the image has no pip, or cannot be started.
    """
    container = plan.require_container()
    if wheels:
        env, options = {}, ["--no-index", "--find-links", str(wheels)]
        paths = [str(wheels)]
    else:
        env, options = pip_environment(os.environ, Path.home()), []
        paths = local_paths(env)
    (aside / "tmp").mkdir()
    binds = [f"{aside}:{_AT}", *(f"{path}:{path}:ro" for path in paths)]
    argv = isolated(container.runtime, container.image, str(aside / "tmp"), binds)
    argv += python_program(container.python, "install")
    question = {
        "here": _AT,
        "target": PACKAGES,
        "requirements": container.requirements,
        "options": options,
        "env": env,
    }
    lines: list[str] = []
    answer = None
    for line in _lines_of(plan, argv, json.dumps(question)):
        answer = read_answer(line) or answer
        if line and read_answer(line) is None:
            lines.append(line)
            say(line)
    if answer is None:
        last = lines[-1] if lines else "no words"
        raise ContainerError(f"{container.python} failed in {container.image}: {last}")
    _refuse(plan, container.image, answer, lines)
    return answer


def _refuse(plan: Plan, image: str, answer: dict[str, Any], lines: list[str]) -> None:
    """Raise what keeps an installation from being used."""
    if not answer["pip"]:
        raise ContainerError(
            f"{image} has neither pip nor ensurepip; use an image that has one of them"
        )
    if answer["status"]:
        words = _telling_lines(lines)
        message = f"pip cannot install what {plan.source} asks for in {image}."
        message += f" {_kept_versions(words, answer['image'])}"
        raise UserError("\n  ".join([message, *words]))
    if answer["shadows"]:
        names = ", ".join(answer["shadows"])
        raise UserError(
            f"the image has {names} already, which these packages would hide: "
            "leave out what brings that"
        )


def _telling_lines(lines: list[str]) -> list[str]:
    """Pip's lines from its first error on, or its last ones."""
    for number, line in enumerate(lines):
        if line.startswith("ERROR"):
            return lines[number:][:_MAX_LINES]
    return lines[-_MAX_LINES:]


def _kept_versions(words: list[str], versions: dict[str, str]) -> str:
    """Which of the image's packages, that pip's lines speak of, keep their version."""
    text = " ".join(words).lower().replace("_", "-")
    names = set(re.findall(r"[a-z0-9-]+", text)) & set(versions)
    if not names:
        return "What the image has keeps its version."
    listed = ", ".join(f"{name} {versions[name]}" for name in sorted(names))
    return f"The image has {listed}, and keeps that."


def _lines_of(plan: Plan, argv: list[str], stdin: str) -> Iterator[str]:
    """Start a container, and give its lines as they come, without passwords.

    The site's modules are loaded first if they bring the container command.

    Raises:
        ModuleError: a module is not to be loaded.
        HpcdlError: this machine has no module command.
    """
    here = shutil.which(plan.require_container().runtime) is not None
    lines = [] if here else plan.module_lines()
    command_line, environment = after_modules(lines, argv)
    last, pipe = "", subprocess.PIPE
    with subprocess.Popen(
        command_line,
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
    ) as started:
        assert started.stdin is not None and started.stdout is not None  # noqa: S101 - pipes
        with suppress(BrokenPipeError):  # it ended before it read; its last words say why
            started.stdin.write(stdin)
            started.stdin.close()
        for line in started.stdout:
            last = re.sub(r"://[^/\s]*@", "://***@", line.rstrip())
            yield last
    check_loaded(lines, started.returncode, last)


def _payload(plan: Plan, aside: Path) -> str:
    """The name of what jobs bind: one file, or the folder if this machine cannot mount a file."""
    shutil.rmtree(aside / "tmp")
    for name in ("requirements", "constraints"):
        (aside / name).unlink()
    if shutil.which("mksquashfs") is None:
        return FOLDER
    packed = aside / SQUASHFS
    argv = ["mksquashfs", str(aside / FOLDER), str(packed)]
    argv += ["-noappend", "-no-progress", "-all-root"]
    done = subprocess.run(
        argv, capture_output=True, check=False, encoding="utf-8", errors="replace"
    )  # fmt: skip
    entries = len(os.listdir(aside / FOLDER))
    if done.returncode or _entries_seen(plan, packed) < entries:
        packed.unlink(missing_ok=True)
        return FOLDER
    shutil.rmtree(aside / FOLDER)
    return SQUASHFS


def _entries_seen(plan: Plan, packed: Path) -> int:
    """How many files and folders a container shows of a packed file."""
    container = replace(plan.require_container(), overlay=str(packed), binds=[], nv=False)
    packed_plan = replace(plan, container=container, environment=Environment())
    places = Places(workdir="/", home="/", stop_file="/stop")
    argv = argv_of(packed_plan, places, ["ls", PACKAGES])
    return len(list(_lines_of(plan, argv, "")))


def _manifest(plan: Plan, answer: dict[str, Any], file: str) -> dict[str, Any]:
    container = plan.require_container()
    image = Path(container.image)
    return {
        "file": file,
        "requirements": container.requirements,
        "packages": answer["packages"],
        "python": answer["python"],
        "image": {"path": str(image), "sha256": cached_sha256(image), "packages": answer["image"]},
        "hpcdl": __version__,
        "built": time.time(),
    }
