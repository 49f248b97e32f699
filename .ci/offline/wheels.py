"""Downloads the wheels that hpcdl needs on one Python and one kind of machine, and builds its own.

The versions are those that hpcdl is tested with (.ci/newest-X.Y.txt), so that a release made today
does not get into the file untested.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / "build" / "offline"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
GLIBC = range(28, 4, -1)  # 2.28 is that of Red Hat 8; newer machines run these wheels, too
# Which tested versions a Python takes
TESTED = {"3.10": "3.11", "3.11": "3.11", "3.12": "3.13", "3.13": "3.13", "3.14": "3.13"}
# Packages whose tested version has no wheel for a Python: the newest that has one is taken
UNTESTED = {"3.10": {"numpy": "2.2 is the last for Python 3.10"}}
# Machines and Pythons for which a package has no wheels at all; each such file lacks that Python
KNOWN_TO_LACK: dict[tuple[str, str], str] = {}


class NoWheelsError(Exception):
    """A package has no wheel for a machine and a Python; the text is pip's."""


def wheels_of(arch: str, python: str) -> list[Path]:
    """All wheels for one Python but hpcdl's own; from the cache if the same were asked for."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], "pip"]
    pins = constraints(python)
    asked = repr((wanted, pins, arch, python)).encode()
    folder = CACHE / f"{arch}-{python}-{hashlib.sha256(asked).hexdigest()[:12]}"
    if not folder.exists():
        aside = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        aside.with_suffix(".txt").write_text("\n".join(pins), encoding="utf-8")
        download(wanted, aside, arch, python)
        aside.with_suffix(".txt").unlink()
        with contextlib.suppress(OSError):  # another build was faster
            aside.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
    return sorted(folder.glob("*.whl"))


def constraints(python: str) -> list[str]:
    """The tested version of each package that has a wheel of it."""
    path = REPOSITORY / f".ci/newest-{TESTED[python]}.txt"
    pins = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") and Requirement(line).name not in UNTESTED.get(python, {}):
            pins.append(line)
    return pins


def download(wanted: list[str], folder: Path, arch: str, python: str) -> None:
    """Download until nothing is lacking: pip reads markers as if for the Python that it runs on."""
    platforms = [f"--platform=manylinux_2_{minor}_{arch}" for minor in GLIBC]
    platforms.append(f"--platform=manylinux2014_{arch}")
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    argv += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    argv += [*platforms, "--constraint", str(folder.with_suffix(".txt")), "--dest", str(folder)]
    while wanted:
        done = subprocess.run([*argv, *wanted], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoWheelsError(f"Python {python} on {arch}, of {' '.join(wanted)}:\n{done.stderr}")
        wanted = lacking(folder, arch, python)


def lacking(folder: Path, arch: str, python: str) -> list[str]:
    """What the wheels of a folder need on that machine and Python, and is not among them."""
    target = {
        "python_version": python, "python_full_version": f"{python}.0", "extra": "",
        "platform_machine": arch, "platform_python_implementation": "CPython",
        "implementation_name": "cpython", "sys_platform": "linux", "os_name": "posix",
        "platform_system": "Linux",
    }  # fmt: skip
    needed = [requirement for wheel in folder.glob("*.whl") for requirement in requires(wheel)]
    here = {parse_wheel_filename(wheel.name)[0] for wheel in folder.glob("*.whl")}
    found = []
    for requirement in needed:
        applies = requirement.marker is None or requirement.marker.evaluate(target)
        if applies and canonicalize_name(requirement.name) not in here:
            found.append(f"{requirement.name}{requirement.specifier}")
    return sorted(set(found))


def requires(wheel: Path) -> list[Requirement]:
    """What a wheel says that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        metadata = Parser().parsestr(archive.read(name).decode())
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


def own_wheel(folder: Path) -> Path:
    """hpcdl's own wheel, of this checkout, built into an empty folder."""
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    argv += ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([*argv, str(REPOSITORY)], check=True)
    (path,) = folder.glob("*.whl")
    return path
