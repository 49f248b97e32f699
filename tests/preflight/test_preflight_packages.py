"""What a job has beside its image: what is not installed, is for something else, or hides the image's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.files import sha256_file
from hpcdl.job import load_job
from hpcdl.packages import key, located
from hpcdl.planning import plan

SCRIPT = 'name: a\nresources: {gpus: 1, time: "01:00:00"}\nscript: program.py\n'
IMPORTS = "import json, no_such_words\nimport tensorflow\n"


@pytest.fixture
def asking(world):
    """A job that asks for one package, which its script imports."""
    world.write("job.yaml", f"{SCRIPT}packages: requirements.txt\n")
    world.write("requirements.txt", "no-such-words==1.0\n")
    world.write("program.py", IMPORTS)
    return world


def install(world, *sets: str, **changes: object) -> Path:
    """What `hpcdl env build` leaves, without a container to build it with."""
    cluster = load_cluster(str(world.folder / "site.yaml"))
    decided = located(plan(load_job(world.folder / "job.yaml", sets), cluster), cluster)
    folder = Path(f"{world.folder}/tf.sif.packages") / key(decided)
    (folder / "packages").mkdir(parents=True)
    container = decided.require_container()
    image = {"path": container.image, "sha256": sha256_file(Path(container.image))}
    made = {
        "file": "packages",
        "requirements": container.requirements,
        "packages": {"no-such-words": "1.0"},
        "image": image,
    }
    (folder / "manifest.json").write_text(json.dumps({**made, **changes}))
    return folder


def test_packages_not_installed(asking):
    report = asking.check("job.yaml")

    assert [name for name, _ in report.findings] == [
        "packages"
    ]  # the import that they bring is not told as well
    found = report.findings[0][1]
    assert (
        found.cause
        == f"{asking.folder}/requirements.txt is not installed for {asking.folder}/tf.sif"
    )
    assert found.fix.startswith(f"hpcdl env build {asking.folder}/job.yaml")
    assert (found.source, found.key, found.blocks) == ("job", "packages", True)


def test_installed_packages_pass(asking):
    install(asking)

    report = asking.check("job.yaml", only="packages")

    assert (report.findings, report.notes) == ([], ["in addition to the image: no-such-words 1.0"])


@pytest.mark.tensorflow
def test_imports_are_searched_in_packages(asking):
    install(asking)

    assert [finding.cause for _, finding in asking.check("job.yaml", only="script").findings] == [
        # this stand-in has no container to bind it in
        "program.py imports no_such_words, which the image does not have"
    ]


def test_packages_of_other_requirements(asking):
    install(asking)
    asking.write("requirements.txt", "no-such-words==2.0\nother\n")

    report = asking.check("job.yaml", only="packages")

    cause = report.findings[0][1].cause
    assert cause.endswith(
        "(other requirements are installed; new: no-such-words==2.0, other; gone: no-such-words==1.0)"
    )


def test_requirements_ignore_order_and_comments(asking):
    asking.write("requirements.txt", "b\na\n")
    install(asking)
    asking.write("requirements.txt", "# words\na # first\n\nb\n")

    assert asking.check("job.yaml", only="packages").findings == []


def test_packages_of_replaced_image(asking):
    """Packages that were installed for an older file of the image's name do not count."""
    install(asking)
    asking.write("tf.sif", (asking.folder / "tf.sif").read_bytes() + b"newer")

    report = asking.check("job.yaml", only="packages")

    assert "(it is for another image with that name, " in report.findings[0][1].cause


def test_missing_image_is_reported_once(asking):
    """A missing image is a finding of the image's check, not of the packages'."""
    (asking.folder / "tf.sif").unlink()

    assert [name for name, _ in asking.check("job.yaml").findings] == ["image"]


@pytest.mark.parametrize("name", ["numpy/__init__.py", "keras.py", "tensorflow/__init__.py"])
def test_pythonpath_must_not_hide_image_modules(world, name):
    """A module in a pythonpath folder that hides one of the image is a finding."""
    path = world.folder / "mine" / name
    path.parent.mkdir(parents=True)
    path.touch()
    world.write("job.yaml", f"{SCRIPT}pythonpath: [mine]\n")

    report = world.check("job.yaml", only="packages")

    module = name.partition("/")[0].removesuffix(".py")
    assert [(f.cause, f.key) for _, f in report.findings] == [
        (
            f"{world.folder}/mine has its own {module}, which would be imported instead of the image's",
            "pythonpath[0]",
        )
    ]


def test_pythonpath_with_own_folder(world):
    (world.folder / "mine").mkdir()
    world.write("program.py", "import helper_words\n")
    world.write("job.yaml", f"{SCRIPT}pythonpath: [mine]\n")

    assert [name for name, _ in world.check("job.yaml").findings] == ["script"]
    world.write("mine/helper_words.py", "x = 1\n")
    report = world.check("job.yaml")

    assert report.findings == []
    assert "packages" in report.passed


def test_image_reports_numpy_outside_image(world):
    """The image's own Python shows where numpy is imported from."""
    world.command(
        "container", '#!/bin/sh\nwhile [ "$1" != env ]; do shift; done\nexec "$@"\n'
    )  # the folder comes first
    for name in ("tensorflow", "keras"):
        world.write(f"stubs/{name}.py", "__version__ = '2.21.0'\n")
    (world.folder / "mine").mkdir()
    world.write("mine/numpy.pyi", "")
    (world.folder / "mine/numpy.py").symlink_to(world.folder / "stubs/numpy.py")
    world.write("job.yaml", f"{SCRIPT}pythonpath: [mine, stubs]\n")

    causes = [finding.cause for _, finding in world.check("job.yaml", only="image").findings]

    assert f"numpy 2.0.1 is imported from {world.folder}/mine/numpy.py, outside the image" in causes


def test_plan_keeps_the_requirements(asking):
    cluster = load_cluster(str(asking.folder / "site.yaml"))
    decided = plan(load_job(asking.folder / "job.yaml"), cluster)

    assert decided.require_container().requirements == ["no-such-words==1.0"]
