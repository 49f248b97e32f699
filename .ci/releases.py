"""Tests hpcdl on other releases of its dependencies, and moves the versions that it is tested with.

    python3 .ci/releases.py lowest   the host's tests with the lowest releases of pyproject.toml
    python3 .ci/releases.py newest   the host's tests with the newest releases that it admits
    python3 .ci/releases.py update   write the newest releases into .ci/tested-X.Y.txt and
                                     .ci/newest-X.Y.txt, for this Python X.Y
    python3 .ci/releases.py wanted   print what the host's tests want, with the bounds of
                                     pyproject.toml: the second test bed installs it

`make demo`, `make test` and CI install the versions of .ci/tested-X.Y.txt, so that a release made
today cannot break them. .ci/newest-X.Y.txt has the releases that `newest` last passed with. They
can differ: without TensorFlow, other packages may be newer.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
TESTED = REPOSITORY / f".ci/tested-{PYTHON}.txt"
NEWEST = REPOSITORY / f".ci/newest-{PYTHON}.txt"
HOST = "digits,report,images,predict,dev"  # extras of the host's tests: all without TensorFlow
ALL = f"tensorflow,tensorboard,{HOST},docs"
FREE = {"matplotlib", "pandas"}  # their tested versions need a newer numpy: pip chooses
# Left out: what needs TensorFlow or SLURM, the slow tests of files and kills, and the installer,
# which brings its own releases.
LEFT_OUT = (
    "trainer", "testbed", "containers", "test_hostile.py", "run/test_run_damaged.py",
    "sweeps/test_sweep_kills.py", "launch/test_sweep_day.py", "launch/test_launch_local.py",
    "test_offline.py",
)  # fmt: skip
TESTS = ["tests", *(f"--ignore=tests/{name}" for name in LEFT_OUT)]


def main(verb: str) -> int:
    """Do one of the four; the exit status says whether it passed."""
    if verb == "lowest":
        return lowest()
    if verb == "newest":
        return newest()
    if verb == "update":
        return update()
    if verb == "wanted":
        print("\n".join(wanted(HOST.split(","))))
        return 0
    print(__doc__)
    return 2


def lowest() -> int:
    """Run the host's tests with the lowest releases: is each bound of pyproject.toml true?"""
    folder = REPOSITORY / ".venv-lowest"
    pins = folder.with_suffix(".txt")
    pins.write_text("".join(f"{pin}\n" for pin in lowest_pins()))
    if not install(folder, HOST, pins):
        return 1
    return run_tests(folder)


def lowest_pins() -> list[str]:
    """Each dependency's lower bound as an exact version, and the tested versions of the tools."""
    tools = {name_of(requirement) for requirement in set(wanted(["dev"])) - set(wanted([]))}
    bounds: dict[str, str] = {}
    for requirement in wanted(["digits", "report", "images", "predict"]):
        name, _, bound = requirement.partition(">=")
        bounds[name] = max(bounds.get(name, bound), bound, key=version_key)
    pins = [f"{name}=={bound}" for name, bound in bounds.items()]
    for line in read_versions(TESTED):
        if name_of(line) in tools - FREE:
            pins.append(line)
    return pins


def wanted(extras: list[str]) -> list[str]:
    """What pyproject.toml wants for hpcdl with some of its extras."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    requirements = list(project["dependencies"])
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    return requirements


def newest() -> int:
    """Run the host's tests with the newest releases, unless all are those of TESTED.

    `make test` has run the same tests with TESTED's, and `lowest` has run them without TensorFlow.

    Where they fail with releases that NEWEST does not have yet, a release has broken something
    and no change of hpcdl's has: that is said, and does not fail.
    """
    folder = REPOSITORY / ".venv-newest"
    is_installed = install(folder, HOST)
    if is_installed and set(freeze(folder)) <= set(read_versions(TESTED)):
        print(f"the newest releases are those of {TESTED.name}, with which make test runs")
        return 0
    passed = is_installed and run_tests(folder) == 0
    moved = [line for line in freeze(folder) if line not in read_versions(NEWEST)]
    if not passed and moved:
        print(f"WARNING: the tests fail with releases that are newer than {NEWEST.name}:")
        print("".join(f"    {line}\n" for line in moved), end="")
        print("Make hpcdl work with them, or bound them in pyproject.toml; then: make update")
        return 0
    return 0 if passed else 1


def update() -> int:
    """Write the newest releases into both files, and print what has moved."""
    for extras, target in ((HOST, NEWEST), (ALL, TESTED)):
        folder = REPOSITORY / ".venv-update"
        if not install(folder, extras):
            return 1
        before, versions = read_versions(target), freeze(folder)
        head = f"# Python {PYTHON}, extras {extras}; made by: make update\n"
        target.write_text(head + "".join(f"{line}\n" for line in versions))
        for line in versions:
            if line not in before:
                print(f"{target.name}: {line}")
        shutil.rmtree(folder)
    print("next: make test, then commit both files")
    return 0


def install(folder: Path, extras: str, constraints: Path | None = None) -> bool:
    """Make a new environment with this checkout and some extras; whether that worked."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    if constraints is not None:
        pip += ["--constraint", constraints]
    for wanted in (["hatchling", "editables"], ["--no-build-isolation", "-e", f".[{extras}]"]):
        if subprocess.run([*pip, *wanted], cwd=REPOSITORY, check=False).returncode:
            return False
    return True


def run_tests(folder: Path) -> int:
    """Run the host's tests that need no TensorFlow, test bed or mkdocs; their exit status."""
    print("with " + " ".join(freeze(folder)))
    options = [
        "-q",
        "-m",
        "not tensorflow and not testbed and not site and not gpu",
        "-p",
        "no:cacheprovider",
    ]
    argv = [folder / "bin/python", "-m", "pytest", *options, *TESTS]
    return subprocess.run(argv, cwd=REPOSITORY, check=False).returncode


def freeze(folder: Path) -> list[str]:
    """The packages of an environment with their versions, but for hpcdl itself."""
    argv = [folder / "bin/python", "-m", "pip", "freeze", "--exclude-editable"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def read_versions(path: Path) -> list[str]:
    """The ``name==version`` lines of a file; none where there is no such file."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def name_of(requirement: str) -> str:
    """The package's name in a requirement, as pip compares names (PEP 503)."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def version_key(version: str) -> tuple[int, ...]:
    """A version of numbers and dots as something that compares."""
    return tuple(int(part) for part in version.split("."))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else ""))
