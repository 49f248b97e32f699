"""The wheel: exactly the package, its templates, jobs and containers; and it works from where it is unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hpcdl

REPOSITORY = Path(__file__).parents[1]
SHIPPED = ("templates", "jobs", "containers")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip(
        "hatchling", reason="pip install hatchling, to build the wheel without the network"
    )
    folder = tmp_path_factory.mktemp("wheel")
    argv = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        folder,
    ]
    subprocess.run(
        [sys.executable, *argv, REPOSITORY],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files_of(folder: Path) -> set[str]:
    """The files below a folder of the repository that git would keep."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder.name],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name for name in done.stdout.splitlines() if (REPOSITORY / name).exists()}


def test_content_exact(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    expected = files_of(REPOSITORY / "hpcdl")
    for folder in SHIPPED:
        expected |= {f"hpcdl/_data/{name}" for name in files_of(REPOSITORY / folder)}
    assert names == expected


def test_metadata_names_version(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"hpcdl-{hpcdl.__version__}.dist-info/METADATA").decode()
        scripts = archive.read(f"hpcdl-{hpcdl.__version__}.dist-info/entry_points.txt").decode()

    assert f"\nVersion: {hpcdl.__version__}\n" in text
    assert "hpcdl = hpcdl.cli:entrypoint" in scripts


def run_installed(installed: Path, tmp_path: Path, *argv: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "hpcdl", *argv],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_installed_code_is_used(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import hpcdl.shipped as s; print(s.__file__, s.folder('jobs'))"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == f"{installed}/hpcdl/shipped.py {installed}/hpcdl/_data/jobs\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("jobs", "list"),
        ("cluster", "show", "marenostrum5"),
        ("render", "mnist_script", "--cluster", "marenostrum5", "--set", "cluster.account=nct00"),
    ],
    ids=" ".join,
)
def test_installed_hpcdl_answers_the_same(installed, tmp_path, cli, argv):
    assert run_installed(installed, tmp_path, *argv) == cli(*argv).out


def test_installed_bundle_is_complete(installed, tmp_path):
    run_installed(installed, tmp_path, "render", "digits_cnn", "--cluster", "generic", "-o", "out")

    inside = {
        str(path.relative_to(tmp_path / "out" / "code"))
        for path in (tmp_path / "out" / "code").rglob("*.py")
    }
    assert inside == {name for name in files_of(REPOSITORY / "hpcdl") if name.endswith(".py")}


TYPED = """import hpcdl

job = hpcdl.load_job("mnist_script")
cluster = hpcdl.load_cluster("marenostrum5", ["cluster.account=nct00"])
text: str = hpcdl.render(job, cluster)
run = hpcdl.submit(job, cluster)
state: str = run.status().state
gpus: int = hpcdl.plan(job, cluster).size.gpus
number: int = hpcdl.render(job, cluster)
hpcdl.submit("mnist_script", cluster)
"""


def test_installed_names_are_typed(installed, tmp_path):
    """A type checker sees in a user's program what is right, and the two lines that are not."""
    (tmp_path / "program.py").write_text(TYPED)
    options = [
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        str(tmp_path / "cache"),
        "program.py",
    ]

    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(installed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    errors = [line for line in done.stdout.splitlines() if line.startswith("program.py")]
    assert [line.split(":")[1] for line in errors] == ["9", "10"], done.stdout + done.stderr
