"""The definition files: pinned, complete, and their scripts run by a real Apptainer where that needs no registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "containers"
FILES = sorted(FOLDER.glob("*.def"))
STAND_IN = Path(
    "/gpfs/scratch/nct00/images/tf2.21-py311.sif"
)  # Debian 12 with the CPU recipe's packages
SMALL = STAND_IN.with_name("python3.11.sif")  # Debian 12 with Python alone
SHARED = Path("/gpfs/scratch/nct00/hpcuser")

BIN = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # shellcheck comes with the development packages

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@dataclass
class Recipe:
    header: dict[str, str]
    sections: dict[str, str]


def read(path: Path) -> Recipe:
    head, *parts = re.split(r"^%(\w+)$\n", path.read_text(), flags=re.MULTILINE)
    header = dict(re.findall(r"^(\w+): (.+)$", head, flags=re.MULTILINE))
    return Recipe(header, dict(zip(parts[::2], parts[1::2], strict=True)))


def test_four_recipes() -> None:
    names = ["serving", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-ngc"]
    assert [path.stem for path in FILES] == names


@each_file
def test_recipe_complete(path: Path) -> None:
    recipe = read(path)
    assert recipe.header.keys() == {"Bootstrap", "From"}
    if path.stem == "serving":
        assert list(recipe.sections) == ["labels", "post", "test", "runscript", "help"]
    else:
        assert list(recipe.sections) == ["labels", "post", "test", "help"]
        assert "import matplotlib, tensorflow" in recipe.sections["test"]
    assert path.name in (FOLDER / "README.md").read_text()


@each_file
def test_recipe_pinned(path: Path) -> None:
    recipe = read(path)
    base = re.fullmatch(
        r"(\S+:[\w.-]*\d+\.\d+[\w.-]*)(?:@(sha256:[0-9a-f]{64}))?", recipe.header["From"]
    )
    assert base, recipe.header["From"]
    labels = dict(
        line.split(maxsplit=1) for line in recipe.sections["labels"].split("\n") if line.strip()
    )
    assert labels["org.opencontainers.image.base.name"].endswith(base[1])
    assert labels.get("org.opencontainers.image.base.digest") == base[2]
    if not base[2]:
        assert "the digest is not" in path.read_text()
    wanted = re.search(r"pip install --no-cache-dir (.*)", recipe.sections["post"])
    if path.stem != "serving":  # it installs nothing
        assert wanted and all("==" in word for word in wanted[1].split())


@each_file
def test_scripts_shellcheck(path: Path) -> None:
    sections = read(path).sections
    for section in sections.keys() & {"post", "test", "runscript"}:
        for checker in (["bash", "-n"], ["shellcheck", "--shell=sh", "-"]):
            done = subprocess.run(
                checker, input=sections[section], capture_output=True, text=True, env={"PATH": BIN}
            )
            assert done.returncode == 0, done.stdout + done.stderr


# From here on: a real Apptainer, as the test bed's ordinary user, with the test bed's image in the base's place.


@pytest.fixture
def folder() -> Iterator[Path]:
    made = SHARED / "test-containers"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    shutil.chown(made, "hpcuser", "hpcuser")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def apptainer(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = [
        "env",
        "-i",
        "PATH=/usr/bin:/bin",
        f"HOME={folder}",
        f"APPTAINER_TMPDIR={folder}",
    ]
    argv = ["runuser", "-u", "hpcuser", "--", *environment, "apptainer", *map(str, words)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300)


def offline(post: str) -> str:
    """%post as it is, but for pip: no network here, and this Debian wants to be asked first."""
    return f"export PIP_NO_INDEX=1 PIP_BREAK_SYSTEM_PACKAGES=1\n{post}"


@pytest.mark.testbed
def test_cpu_recipe_builds(folder: Path) -> None:
    path = FOLDER / "tensorflow-cpu.def"
    header, recipe = read(path).header, path.read_text()
    recipe = recipe.replace(header["From"], str(STAND_IN)).replace(
        "Bootstrap: docker", "Bootstrap: localimage"
    )
    (folder / "here.def").write_text(recipe.replace("%post\n", f"%post\n{offline('')}"))
    built = apptainer(folder, "build", "--fakeroot", "--sandbox", "image", "here.def")
    assert built.returncode == 0, built.stderr[-2000:]
    assert "TensorFlow 2.21.0" in built.stdout + built.stderr
    labels = apptainer(folder, "inspect", "image").stdout
    assert f"org.opencontainers.image.base.digest: {header['From'].split('@')[1]}" in labels
    assert "TensorFlow 2.21 for CPUs" in apptainer(folder, "run-help", "image").stdout


@pytest.mark.testbed
@pytest.mark.parametrize("name", ["tensorflow-gpu", "tensorflow-ngc"])
def test_gpu_scripts_run(folder: Path, name: str) -> None:
    sections = read(FOLDER / f"{name}.def").sections
    (folder / "post").write_text(offline(sections["post"]))
    (folder / "test").write_text(sections["test"])
    contained = ("exec", "--containall", "--bind", folder, "--pwd", folder)
    post = apptainer(
        folder, *contained, "--fakeroot", "--writable-tmpfs", STAND_IN, "sh", "-ex", "post"
    )
    assert post.returncode == 0, post.stderr[-2000:]
    test = apptainer(folder, *contained, STAND_IN, "sh", "-ex", "test")
    assert test.returncode != 0
    assert "built without CUDA" in test.stderr


# Stands in for TensorFlow's server, which no registry, wheel or package gives here: it shows its arguments.
SERVER = "/usr/local/bin/tensorflow_model_server"


@pytest.mark.testbed
def test_serving_recipe_builds(folder: Path) -> None:
    path = FOLDER / "serving.def"
    recipe = path.read_text().replace(read(path).header["From"], str(SMALL))
    recipe = recipe.replace("Bootstrap: docker", "Bootstrap: localimage")
    server = f"printf '#!/bin/sh\\necho \"$@\"\\n' >{SERVER} && chmod +x {SERVER}"
    (folder / "here.def").write_text(recipe.replace("%post\n", f"%post\n    {server}\n"))
    built = apptainer(folder, "build", "--fakeroot", "--sandbox", "image", "here.def")
    assert built.returncode == 0, built.stderr[-2000:]

    without = apptainer(folder, "run", "--containall", "image")
    assert without.returncode == 2
    assert "expected an export of hpcdl at /models" in without.stderr

    (folder / "export").mkdir()
    (folder / "export/models.config").write_text("model_config_list {}")
    shutil.chown(folder / "export", "hpcuser", "hpcuser")
    models = f"{folder}/export:/models"
    run = apptainer(folder, "run", "--containall", "--bind", models, "image", "--port=9500")
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        "--model_config_file=/models/models.config",
        "--allow_version_labels_for_unavailable_models=true",
        "--port=8500",
        "--rest_api_port=8501",
        "--port=9500",
    ]
