"""INSIDE THE CONTAINER, as ``python -c``: installs with the image's own pip what the image has not, and says what came.

Python 3.8 and the standard library only. Pip's words go to stderr, the answer to stdout.
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

# https://packaging.python.org/specifications/version-specifiers: pip reads no other version in a constraint
_VERSION = re.compile(
    r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?"
)
# Folders that careless packages leave behind, and nobody imports
_STRAY = {"test", "tests", "doc", "docs", "example", "examples", "benchmarks", "scripts"}


def main() -> None:
    """Install what stdin asks for, and print what is there then."""
    asked = json.load(sys.stdin)
    os.umask(0o022)
    here, target, prefix = asked["here"], asked["target"], os.path.join(asked["here"], "prefix")
    where = [path for path in sys.path if path and not path.startswith(here)]
    image = installed(where)
    pip = pip_command()
    told = {"pip": bool(pip), "python": platform.python_version(), "status": 0, "image": image}
    if pip:
        env = {**os.environ, **asked["env"]}
        if "tensorflow-cpu" in image and "tensorflow" not in image:
            stand_in(here, "tensorflow", image["tensorflow-cpu"])
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [here, env.get("PYTHONPATH")]))
        pinned = [
            f"{name}=={version}"
            for name, version in image.items()
            if _VERSION.fullmatch(version.lower())
        ]
        files = {"requirements": asked["requirements"], "constraints": pinned}
        for name, lines in files.items():
            with open(os.path.join(here, name), "w", encoding="utf-8") as stream:
                stream.write("\n".join(lines) + "\n")
        words = ["-r", os.path.join(here, "requirements"), "-c", os.path.join(here, "constraints")]
        words += [
            "--prefix",
            prefix,
            "--no-cache-dir",
            "--no-compile",
            "--no-warn-script-location",
            "--no-input",
        ]
        words += ["--disable-pip-version-check", "--progress-bar", "off", *asked["options"]]
        done = subprocess.run([*pip, "install", *words], stdin=subprocess.DEVNULL, stdout=sys.stderr,
                              env=env, check=False)  # fmt: skip
        told["status"] = done.returncode
    if told["status"] == 0:
        gather(prefix, target)
        subprocess.run(
            [sys.executable, "-m", "compileall", "-qq", target], stdout=sys.stderr, check=False
        )
        told["packages"] = installed([target])
        told["shadows"] = sorted(name for name in modules(target) - _STRAY if is_there(name, where))
    sys.stdout.write("hpcdl:" + json.dumps(told) + "\n")


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
    """The distributions in some folders, by their normalised names, as Python would find them: the first of each."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions(path=folders):
        name = one.metadata["Name"]
        if name and one.version:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), one.version)
    return found


def gather(prefix: str, target: str) -> None:
    """Move what pip installed into one folder: images differ in where below a prefix that goes."""
    os.makedirs(target, exist_ok=True)
    for folder, inner, _ in os.walk(prefix):
        if os.path.basename(folder) in ("site-packages", "dist-packages"):
            inner.clear()
            merge(folder, target)
    shutil.rmtree(prefix, ignore_errors=True)


def merge(folder: str, target: str) -> None:
    """Move the entries of a folder; a folder that is there already (lib and lib64 have parts of one) takes them up."""
    for name in os.listdir(folder):
        source, there = os.path.join(folder, name), os.path.join(target, name)
        if os.path.isdir(source) and os.path.isdir(there):
            merge(source, there)
        else:
            os.rename(source, there)


def modules(folder: str) -> set[str]:
    """The modules and packages in a folder; folders without ``__init__.py`` share their name with others."""
    found = set()
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.exists(os.path.join(path, "__init__.py")):
            found.add(name)
        elif os.path.isfile(path) and name.endswith((".py", ".so")):
            found.add(name.partition(".")[0])
    return found


def is_there(name: str, where: list[str]) -> bool:
    """Whether the image has a module of that name, the standard library's included."""
    return name in sys.builtin_module_names or PathFinder.find_spec(name, where) is not None


if __name__ == "__main__":
    main()
