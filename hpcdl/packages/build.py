"""Builds an overlay: the image's own Python installs the requirements, and one read-only file is made of them."""

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

import hpcdl
from hpcdl.cache import cached_sha256
from hpcdl.container import PACKAGES, Places, isolated
from hpcdl.container import argv as argv_of
from hpcdl.errors import ContainerError, HpcdlError, UserError
from hpcdl.files import write_json
from hpcdl.image import check_sif
from hpcdl.modules import after_modules, check_loaded
from hpcdl.packages import FOLDER, MANIFEST, SQUASHFS
from hpcdl.packages.pipconfig import local_paths, pip_environment
from hpcdl.planning import Environment, Plan

_AT = os.path.dirname(
    PACKAGES
)  # the folder that is built, seen inside: compiled files know where jobs see them
_WORDS = 12  # lines of pip's that an error shows


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
            told = _install(plan, aside, say, wheels)
            made = _manifest(plan, told, _payload(plan, aside))
            write_json(aside / MANIFEST, made)
            aside.chmod(0o755)
            aside.rename(final)
        finally:
            if aside.exists():
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        if not (final / MANIFEST).exists():  # else somebody else was faster, with the same packages
            raise HpcdlError(
                f"cannot build in {final.parent}: {error.strerror or error}"
            ) from error
    return made


def _install(
    plan: Plan, aside: Path, say: Callable[[str], None], wheels: Path | None
) -> dict[str, Any]:
    """What the program in the container says it has installed."""
    container = plan.require_container()
    env = {} if wheels else pip_environment(os.environ, Path.home())
    options = ["--no-index", "--find-links", str(wheels)] if wheels else []
    paths = [str(wheels)] if wheels else local_paths(env)
    (aside / "tmp").mkdir()
    binds = [f"{aside}:{_AT}", *(f"{path}:{path}:ro" for path in paths)]
    argv = isolated(container.runtime, container.image, str(aside / "tmp"), binds)
    argv += [
        container.python,
        "-c",
        Path(__file__).with_name("inside.py").read_text(encoding="utf-8"),
    ]
    asked = {
        "here": _AT,
        "target": PACKAGES,
        "requirements": container.requirements,
        "options": options,
        "env": env,
    }
    lines: list[str] = []
    answer = ""
    for line in _lines_of(plan, argv, json.dumps(asked)):
        if line.startswith("hpcdl:"):
            answer = line[6:]
        elif line:
            lines.append(line)
            say(line)
    if not answer:
        raise ContainerError(
            f"{container.python} failed in {container.image}: {lines[-1] if lines else 'no words'}"
        )
    told: dict[str, Any] = json.loads(answer)
    if not told["pip"]:
        raise ContainerError(
            f"{container.image} has neither pip nor ensurepip; use an image that has one of them"
        )
    if told["status"]:
        begin = next(
            (i for i, line in enumerate(lines) if line.startswith("ERROR")), len(lines) - _WORDS
        )
        words = lines[max(0, begin) :][:_WORDS]
        named = set(re.findall(r"[a-z0-9-]+", " ".join(words).lower().replace("_", "-")))
        has = ", ".join(
            f"{name} {told['image'][name]}" for name in sorted(named & set(told["image"]))
        )
        keeps = (
            f"The image has {has}, and keeps that."
            if has
            else "What the image has keeps its version."
        )
        raise UserError(
            "\n  ".join(
                [
                    f"pip cannot install what {plan.source} asks for in {container.image}. {keeps}",
                    *words,
                ]
            )
        )
    if told["shadows"]:
        names = ", ".join(told["shadows"])
        raise UserError(
            f"the image has {names} already, which these packages would hide: leave out what brings that"
        )
    return told


def _lines_of(plan: Plan, argv: list[str], stdin: str) -> Iterator[str]:
    """Start a container, after the site's modules where they bring its command; its lines as they come, no passwords.

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
        assert started.stdin is not None and started.stdout is not None  # noqa: S101 - both are pipes
        with suppress(BrokenPipeError):  # it ended before it read; its last words say why
            started.stdin.write(stdin)
            started.stdin.close()
        for line in started.stdout:
            last = re.sub(r"://[^/\s]*@", "://***@", line.rstrip())
            yield last
    check_loaded(lines, started.returncode, last)


def _payload(plan: Plan, aside: Path) -> str:
    """The name of what jobs bind: one file, or the folder itself where this container command mounts no such file."""
    shutil.rmtree(aside / "tmp")
    for name in ("requirements", "constraints"):
        (aside / name).unlink()
    packed = aside / SQUASHFS
    if shutil.which("mksquashfs") is None:
        return FOLDER
    argv = [
        "mksquashfs",
        str(aside / FOLDER),
        str(packed),
        "-noappend",
        "-no-progress",
        "-all-root",
    ]
    done = subprocess.run(
        argv, capture_output=True, check=False, encoding="utf-8", errors="replace"
    )  # fmt: skip
    container = replace(plan.require_container(), overlay=str(packed), binds=[], nv=False)
    packed_plan = replace(plan, container=container, environment=Environment())
    places = Places(workdir="/", home="/", stop_file="/stop")
    look = argv_of(packed_plan, places, ["ls", PACKAGES])
    if done.returncode or sum(1 for _ in _lines_of(plan, look, "")) < len(
        os.listdir(aside / FOLDER)
    ):
        packed.unlink(missing_ok=True)
        return FOLDER
    shutil.rmtree(aside / FOLDER)
    return SQUASHFS


def _manifest(plan: Plan, told: dict[str, Any], file: str) -> dict[str, Any]:
    container = plan.require_container()
    image = Path(container.image)
    return {
        "file": file,
        "requirements": container.requirements,
        "packages": told["packages"],
        "python": told["python"],
        "image": {"path": str(image), "sha256": cached_sha256(image), "packages": told["image"]},
        "hpcdl": hpcdl.__version__,
        "built": time.time(),
    }
