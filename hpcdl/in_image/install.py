"""Installs what is missing in the image, with the image's own pip, and answers what was installed.

Pip's words go to stderr, the answer to stdout.
"""

from __future__ import annotations

import glob
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from typing import Any

# Pip reads no other version in a constraint.
# Source: https://packaging.python.org/specifications/version-specifiers
_VERSION = re.compile(
    r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?"
)
# Folders that careless packages leave behind, and nobody imports
_STRAY = {"test", "tests", "doc", "docs", "example", "examples", "benchmarks", "scripts"}


def install(question: dict[str, Any]) -> dict[str, Any]:
    """Install what the image lacks.

    Args:
        question: ``here``: the folder to work in; ``target``: the folder in it for the packages;
            ``requirements``: pip's lines; ``options`` and ``env``: for pip.

    Returns:
        ``pip``: whether the image has it; ``python``: its version; ``status``: pip's; ``image``:
        the image's packages; if all is installed, ``packages``, and as ``shadows`` the modules
        that would hide the image's own.
    """
    os.umask(0o022)
    here, target = question["here"], question["target"]
    where = [path for path in sys.path if path and not path.startswith(here)]
    image, pip = installed(where), pip_command()
    answer: dict[str, Any] = {
        "pip": bool(pip), "python": platform.python_version(), "status": 0, "image": image,
    }  # fmt: skip
    if pip:
        answer["status"] = run_pip(pip, question, image)
    if answer["status"] == 0:
        gather(os.path.join(here, "prefix"), target)
        argv = [sys.executable, "-m", "compileall", "-qq", target]
        subprocess.run(argv, stdout=sys.stderr, check=False)
        answer["packages"] = installed([target])
        names = sorted(modules(target) - _STRAY)
        answer["shadows"] = [name for name in names if is_there(name, where)]
    return answer


def run_pip(pip: list[str], question: dict[str, Any], image: dict[str, str]) -> int:
    """Install the requirements below ``prefix``; pip's exit status."""
    here, env = question["here"], {**os.environ, **question["env"]}
    if "tensorflow-cpu" in image and "tensorflow" not in image:
        stand_in(here, "tensorflow", image["tensorflow-cpu"])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [here, env.get("PYTHONPATH")]))
    pinned = []
    for name, version in image.items():
        if _VERSION.fullmatch(version.lower()):
            pinned.append(f"{name}=={version}")
    for name, lines in (("requirements", question["requirements"]), ("constraints", pinned)):
        with open(os.path.join(here, name), "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
    words = ["-r", os.path.join(here, "requirements"), "-c", os.path.join(here, "constraints")]
    words += ["--prefix", os.path.join(here, "prefix"), "--no-cache-dir", "--no-compile"]
    words += ["--no-warn-script-location", "--no-input", "--disable-pip-version-check"]
    words += ["--progress-bar", "off", *question["options"]]
    argv = [*pip, "install", *words]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=env, check=False
    )  # fmt: skip
    return done.returncode


def pip_command() -> list[str] | None:
    """The image's pip, or the one that comes inside its ``ensurepip``."""
    if PathFinder.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    try:
        import ensurepip
    except ImportError:
        return None
    wheels = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
    return [sys.executable, os.path.join(wheels[0], "pip")] if wheels else None


def stand_in(folder: str, name: str, version: str) -> None:
    """Let pip see a distribution that the image has under another name: tf-keras asks for it."""
    place = os.path.join(folder, f"{name}-{version}.dist-info")
    os.makedirs(place)
    with open(os.path.join(place, "METADATA"), "w", encoding="utf-8") as stream:
        stream.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def installed(folders: list[str]) -> dict[str, str]:
    """The versions of the distributions in some folders, by normalised names.

    The first of each name counts, as for Python.
    """
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(path=folders):
        name = distribution.metadata["Name"]
        if name and distribution.version:
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return versions


def gather(prefix: str, target: str) -> None:
    """Move what pip installed into one folder: images differ in where below a prefix that goes.

    Of the files that are no modules those of Jupyter stay: its page, its kernels and extensions.
    """
    os.makedirs(target, exist_ok=True)
    for folder, inner, _ in os.walk(prefix):
        above, name = folder.split(os.sep)[-2:]
        if name in ("site-packages", "dist-packages"):
            inner.clear()
            merge(folder, target)
        elif name == "jupyter" and above in ("share", "etc"):
            inner.clear()
            place = os.path.join(target, above, name)
            os.makedirs(place, exist_ok=True)
            merge(folder, place)
    shutil.rmtree(prefix, ignore_errors=True)


def merge(folder: str, target: str) -> None:
    """Move the entries of a folder into another: lib and lib64 may have parts of one package."""
    for name in os.listdir(folder):
        source, there = os.path.join(folder, name), os.path.join(target, name)
        if os.path.isdir(source) and os.path.isdir(there):
            merge(source, there)
        else:
            os.rename(source, there)


def modules(folder: str) -> set[str]:
    """The modules and packages in a folder.

    Folders without ``__init__.py`` are not among them: others may share their name.
    """
    names = set()
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.exists(os.path.join(path, "__init__.py")):
            names.add(name)
        elif os.path.isfile(path) and name.endswith((".py", ".so")):
            names.add(name.partition(".")[0])
    return names


def is_there(name: str, where: list[str]) -> bool:
    """Whether the image has a module of that name, the standard library's included."""
    return name in sys.builtin_module_names or PathFinder.find_spec(name, where) is not None


if __name__ == "__main__":
    sys.stdout.write(f"hpcdl: {json.dumps(install(json.load(sys.stdin)))}\n")
