"""Packages beside the image, on the real Apptainer and SLURM: installed once, seen by jobs, hiding nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.testbed.conftest import IMAGES, Bed, new_bed
from tests.wheels import wheel

pytestmark = pytest.mark.testbed

JOB = 'name: a\ncontainer: {}\nresources: {{gpus: 0, time: "00:10:00"}}\nscript: program.py\npackages: requirements.txt\n'
PROGRAM = """
import json, numpy, extra_words
try:
    open(extra_words.__file__, "a")
    wrote = True
except OSError as error:
    wrote = error.strerror
told = {"extra": extra_words.__file__, "version": extra_words.VERSION}
print(json.dumps({**told, "numpy": numpy.__file__, "wrote": wrote}))
"""
ARGUMENTS = ("--cluster", "testbed.yaml", "--wheels", "wheels")


@pytest.fixture(scope="module")
def site(cluster: None) -> Bed:
    """A folder with wheels; what is built for images that belong to others goes to its runs."""
    bed = new_bed("test-packages")
    bed.profile.write_text(
        bed.profile.read_text().replace("/gpfs/scratch/nct00/{user}/runs", str(bed.runs))
    )
    bed.environment["XDG_CACHE_HOME"] = str(bed.folder / "cache")
    wheels = bed.folder / "wheels"
    wheels.mkdir()
    wheel(wheels, "extra_words", "1.2", ["numpy>=1.20", "leaf_words"])
    wheel(wheels, "leaf_words")
    wheel(wheels, "plain_words")
    wheel(wheels, "keras_words", requires=["tensorflow>=2.11"])
    wheel(wheels, "late_words", requires=["tensorflow>=9"])
    wheel(wheels, "old_words", requires=["numpy==1.2.3"])
    wheel(wheels, "numpy", "1.2.3")
    wheel(wheels, "sly_words", numpy="hidden = True\n")
    bed.write("requirements.txt", "extra-words>=1  # with what it needs\n")
    bed.write("plain.txt", "plain-words\n")
    bed.write("program.py", PROGRAM)
    for image in ("tensorflow", "tf2.11", "python"):
        bed.write(f"{image}.yaml", JOB.format(image))
    return bed


def build(bed: Bed, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return bed.run("hpcdl", "env", "build", *words, *ARGUMENTS, check=check)


@pytest.mark.parametrize("image", ["tensorflow", "tf2.11"])
def test_script_imports_readonly_packages(site: Bed, image: str) -> None:
    """The installed versions are imported from a read-only folder and noted in the manifest."""
    built = build(site, f"{image}.yaml")
    run = site.submit(f"{image}.yaml", "--no-check", "--wait")
    told = json.loads(run.log().splitlines()[-1])

    assert "installed: extra-words 1.2, leaf-words 1.0\n" in built.stderr
    assert built.stdout.strip() == run.json("plan.json")["container"]["overlay"]
    assert told["extra"] == "/opt/hpcdl/packages/extra_words/__init__.py"
    assert told["version"] == "1.2"
    assert told["numpy"].startswith("/usr/local/")
    assert told["wrote"] == "Read-only file system"
    assert run.json("manifest.json")["packages"]["packages"] == {
        "extra-words": "1.2",
        "leaf-words": "1.0",
    }
    assert run.json("plan.json")["container"]["requirements"] == ["extra-words>=1"]


def test_second_build_reuses_first(site: Bed) -> None:
    first = build(site, "python.yaml", "--set", "packages=plain.txt")
    again = build(site, "python.yaml", "--set", "packages=plain.txt")

    assert again.stdout == first.stdout
    assert again.stderr == "already installed: plain-words 1.0\n"


def test_check_reports_missing_packages(site: Bed) -> None:
    site.write("program2.py", "import plain_words\n")
    words = (
        "check",
        "python.yaml",
        "--set",
        "script=program2.py",
        "--set",
        "packages=plain2.txt",
        "-c",
        site.profile,
    )
    site.write("plain2.txt", "plain-words==1.0\n")

    before = site.run("hpcdl", *words, "--runs-dir", site.runs, "--json", check=False)
    build(site, "python.yaml", "--set", "packages=plain2.txt")
    after = site.run("hpcdl", *words, "--runs-dir", site.runs, "--json")

    found = json.loads(before.stdout)["findings"]
    assert [(row["check"], row["key"]) for row in found] == [("packages", "packages")]
    assert "hpcdl env build" in found[0]["fix"]
    told = json.loads(after.stdout)
    assert told["findings"] == []
    assert {"packages", "script"} <= set(told["passed"])
    assert "in addition to the image: plain-words 1.0" in told["notes"]


def test_submit_refuses_missing_packages(site: Bed) -> None:
    site.write("never.txt", "never-words\n")
    words = ("python.yaml", "--set", "packages=never.txt", "-c", site.profile)

    for command in (("submit", *words, "--no-check"), ("render", *words), ("shell", *words)):
        done = site.run("hpcdl", *command, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "are not installed: hpcdl env build" in done.stderr


def test_packages_lie_next_to_image(site: Bed) -> None:
    (site.folder / "mine.sif").symlink_to(IMAGES / "python3.11.sif")
    site.write("beside.txt", "plain-words>0\n")

    built = build(
        site, "python.yaml", "--set", "container=./mine.sif", "--set", "packages=beside.txt"
    )

    overlay = Path(built.stdout.strip())
    assert (overlay.parents[1], overlay.name) == (
        site.folder / "mine.sif.packages",
        "packages.sqfs",
    )
    assert {path.name for path in overlay.parent.iterdir()} == {"manifest.json", "packages.sqfs"}


def test_conflict_shows_message_of_pip(site: Bed) -> None:
    """A conflict with a package of the image shows both requirements and no traceback."""
    site.write("old.txt", "old-words\n")

    done = build(site, "tensorflow.yaml", "--set", "packages=old.txt", check=False)

    assert (done.returncode, done.stdout) == (2, "")
    message = done.stderr.partition("hpcdl: ")[2]
    assert "The image has numpy 2." in message
    assert "old-words 1.0 depends on numpy==1.2.3" in message
    assert "(constraint) numpy==2." in message
    assert "Traceback" not in done.stderr


@pytest.mark.cases("fault 1")
def test_tensorflow_cpu_is_tensorflow(site: Bed) -> None:
    """The images have tensorflow-cpu, and tf-keras and others ask for tensorflow."""
    site.write("keras.txt", "keras-words\n")
    assert (
        "installed: keras-words 1.0\n"
        in build(site, "tensorflow.yaml", "--set", "packages=keras.txt").stderr
    )

    site.write("late.txt", "late-words\n")
    failed = build(site, "tensorflow.yaml", "--set", "packages=late.txt", check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "tensorflow>=9" in failed.stderr


def test_package_hiding_numpy_is_refused(site: Bed) -> None:
    site.write("sly.txt", "sly-words\n")

    done = build(site, "tensorflow.yaml", "--set", "packages=sly.txt", check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert "the image has numpy already, which these packages would hide" in done.stderr


def test_failed_build_leaves_nothing(site: Bed) -> None:
    site.write("none.txt", "no-such-words\n")
    before = sorted((site.runs / ".packages").iterdir())

    assert build(site, "python.yaml", "--set", "packages=none.txt", check=False).returncode == 2

    assert sorted((site.runs / ".packages").iterdir()) == before


def test_two_builds_together(site: Bed) -> None:
    site.write("both.txt", "plain-words<2\n")
    words = ("hpcdl", "env", "build", "python.yaml", "--set", "packages=both.txt", *ARGUMENTS)

    ends = [started.communicate() for started in [site.start(*words), site.start(*words)]]

    assert len({out for out, _ in ends}) == 1, ends
    overlay = Path(ends[0][0].strip())
    assert overlay.exists()
    assert [path for path in overlay.parents[1].iterdir() if path.name.startswith(".")] == []


def test_folder_replaces_missing_mksquashfs(site: Bed) -> None:
    tools = site.folder / "tools"
    tools.mkdir()
    for name in ("hpcdl", "bash"):
        (tools / name).symlink_to(shutil.which(name, path=site.environment["PATH"]) or "")
    site.write("folder.txt", "extra-words==1.2\n")
    words = ("python.yaml", "--set", "packages=folder.txt")
    site.write(
        "program3.py",
        "import leaf_words, os\nprint(leaf_words.__file__, os.access('/opt/hpcdl/packages', os.W_OK))\n",
    )

    bed = Bed(site.folder, site.profile, site.runs, {**site.environment, "PATH": str(tools)})
    wheel(site.folder / "wheels", "numpy", "9.0", any_words="")  # the bare image has none
    overlay = Path(build(bed, *words).stdout.strip())
    run = site.submit(*words, "--set", "script=program3.py", "--no-check", "--wait")

    assert (overlay.name, (overlay / "leaf_words/__init__.py").exists()) == ("packages", True)
    assert run.log().splitlines()[-1] == "/opt/hpcdl/packages/leaf_words/__init__.py False"


def test_standalone_script_binds_packages(site: Bed) -> None:
    site.write("plain_program.py", "import plain_words\nprint(plain_words.__file__)\n")
    words = ("python.yaml", "--set", "packages=plain.txt", "--set", "script=plain_program.py")
    build(site, *words)
    site.run("hpcdl", "render", *words, "--cluster", site.profile, "-o", "plain.slurm")
    site.run("sbatch", "--wait", "--output=plain.out", "--error=plain.err", "plain.slurm")

    assert (
        site.folder / "plain.out"
    ).read_text() == "/opt/hpcdl/packages/plain_words/__init__.py\n"


def test_model_function_imports_packages(site: Bed) -> None:
    """It can import from pythonpath, too."""
    site.write("shared/sizes.py", "UNITS = 3\n")
    site.write(
        "network.py",
        "import extra_words, sizes\nimport tensorflow as tf\n\n"
        "def build(input_shape, classes):\n"
        "    assert extra_words.VERSION == '1.2'\n"
        "    return tf.keras.Sequential([tf.keras.layers.InputLayer(input_shape), tf.keras.layers.Flatten(),\n"
        "        tf.keras.layers.Dense(sizes.UNITS), tf.keras.layers.Dense(classes, activation='softmax')])\n",
    )
    site.write(
        "model.yaml",
        'name: m\ncontainer: tf2.11\nresources: {gpus: 0, time: "00:10:00"}\npackages: requirements.txt\n'
        "pythonpath: [shared]\ndata: {name: digits}\nmodel: {function: network:build}\ntrain: {epochs: 1}\n",
    )
    site.run("hpcdl", "data", "stage", "digits", "--data-root", site.folder / "data")
    build(site, "model.yaml")

    run = site.submit(
        "model.yaml", "--no-check", "--wait", "--set", f"cluster.data_root={site.folder}/data"
    )

    assert run.json("result.json")["state"] == "done"


def test_pip_index_token_is_hidden(site: Bed) -> None:
    """The index of pip's settings is asked, and no message shows its token."""
    site.write("index.txt", "index-words\n")
    settings = {
        "PIP_INDEX_URL": "http://me:t0ken@127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    bed = Bed(site.folder, site.profile, site.runs, {**site.environment, **settings})

    words = (
        "hpcdl",
        "env",
        "build",
        "python.yaml",
        "--set",
        "packages=index.txt",
        "--cluster",
        site.profile,
    )
    done = bed.run(*words, check=False)

    assert done.returncode == 2
    assert "@127.0.0.1:9/simple" in done.stderr
    assert "t0ken" not in done.stderr


def test_node_reports_removed_packages(site: Bed) -> None:
    site.write("gone.txt", "plain-words==1.0.0\n")
    words = ("python.yaml", "--set", "packages=gone.txt")
    overlay = Path(build(site, *words).stdout.strip())
    run = site.submit(*words, "--no-check", "--set", "slurm.begin=now+3")
    shutil.rmtree(overlay.parent)

    assert f"{overlay}, the job's packages: No such file" in json.dumps(run.wait())
