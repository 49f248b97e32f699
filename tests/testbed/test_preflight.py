"""`hpcdl check` against the real SLURM, the real images and real modules: good jobs pass, planted mistakes do not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.conftest import IMAGES, SCRATCH, Bed, new_bed

pytestmark = pytest.mark.testbed

SCRIPT = (
    'name: a\ncontainer: {image}\nresources: {{gpus: 1, time: "00:10:00"}}\nscript: program.py\n'
)
EVERYTHING = [
    "job file",
    "account",
    "partition",
    "QoS",
    "time",
    "size",
    "image",
    "host Python",
    "file system",
]


@pytest.fixture(scope="module")
def site(cluster: None) -> Bed:
    """One folder for all: what was asked of the images is remembered for this user."""
    bed = new_bed("test-preflight")
    cache = bed.folder / "cache"
    cache.mkdir()
    shutil.chown(cache, "hpcuser")
    bed.environment["XDG_CACHE_HOME"] = str(cache)
    return bed


def check(bed: Bed, job: str, *options: object) -> dict[str, Any]:
    done = bed.run(
        "hpcdl",
        "check",
        job,
        "--cluster",
        bed.profile,
        "--runs-dir",
        bed.runs,
        "--json",
        *options,
        check=False,
    )
    assert done.returncode in (0, 2), done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["could_run"] == (done.returncode == 0)
    return told


def script_job(bed: Bed, program: str, image: str = "python") -> str:
    bed.write("program.py", program)
    bed.write("job.yaml", SCRIPT.format(image=image))
    return "job.yaml"


@pytest.mark.parametrize("image", ["tensorflow", "tf2.11"])
def test_good_model_jobs(site: Bed, image: str) -> None:
    told = check(site, "mnist_cnn", "--set", f"container={image}")

    assert (told["findings"], told["skipped"]) == ([], [])
    assert set(told["passed"]) == {*EVERYTHING, "data", "sbatch --test-only"}
    assert any(note.startswith("would start ") for note in told["notes"])
    version = {"tensorflow": "2.21.", "tf2.11": "2.11."}[image]
    assert any(note.startswith(f"TensorFlow {version}") for note in told["notes"])


@pytest.mark.parametrize("job", ["mnist_mlp", "mnist_cnn_mirrored", "mnist_script"])
def test_shipped_jobs_are_good(site: Bed, job: str) -> None:
    told = check(site, job)

    assert (told["findings"], told["skipped"]) == ([], [])


def test_good_script(site: Bed) -> None:
    site.write("beside.py", "import json\n")
    told = check(
        site,
        script_job(
            site, "import os, beside\ntry:\n    import numpy\nexcept ImportError:\n    pass\n"
        ),
    )

    assert (told["findings"], told["skipped"]) == ([], [])
    assert "script" in told["passed"]


@pytest.mark.second_bed
@pytest.mark.parametrize(
    ("options", "name", "cause"),
    [
        (["cluster.account=nct01"], "account", "you have no account nct01; did you mean nct00?"),
        (["cluster.partition=ac"], "partition", "there is no partition ac; did you mean acc?"),
        (["cluster.qos=acc_debgu"], "QoS", "there is no QoS acc_debgu; did you mean acc_debug?"),
        (
            ["cluster.qos=acc_debug", "resources.time=04:00:00"],
            "time",
            "but QoS acc_debug allows 02:00:00",
        ),
        (["resources.time=4-00:00:00"], "time", "but partition acc allows 3-00:00:00"),
        (["resources.gpus=5"], "size", "5 GPUs are asked for, but no node here has more than 4"),
        (["slurm={constraint: h100}"], "sbatch --test-only", "Invalid feature specification"),
        (
            ["data.name=cifar"],
            "data",
            "cifar is not staged: there is no /gpfs/scratch/nct00/data/cifar.npz",
        ),
        (["container=python"], "image", "has no tensorflow"),
        (["cluster.images.tensorflow.python=python2"], "image", "has no command python2"),
        (["cluster.modules=[singularity, nothing]"], "host Python", "modules cannot be loaded: "),
        (["cluster.host_python=/usr/bin/python3"], "host Python", "cannot run hpcdl's worker"),
        (["cluster.binds=[/gpfs/projects]"], "file system", "/gpfs/projects does not exist"),
    ],
    ids=lambda value: value[0].split("=")[0] if isinstance(value, list) else "",
)
def test_mistakes(site: Bed, options: list[str], name: str, cause: str) -> None:
    words = [word for text in options for word in ("--set", text)]
    if any(text.startswith("cluster.images") for text in options):
        sif = json.dumps(str(IMAGES / "tf2.21-py311.sif"))
        words = ["--set", f"cluster.images={{tensorflow: {{path: {sif}, python: python2}}}}"]

    told = check(site, "mnist_cnn", *words)

    assert not told["could_run"]
    assert [row for row in told["findings"] if row["check"] == name and cause in row["cause"]], told


@pytest.mark.second_bed
def test_job_that_never_starts_is_found(site: Bed) -> None:
    """SLURM's own test lets a time above the QoS's limit through."""
    told = check(
        site, "mnist_cnn", "--set", "cluster.qos=acc_debug", "--set", "resources.time=04:00:00"
    )

    assert [row["check"] for row in told["findings"]] == ["time"]
    assert "sbatch --test-only" in told["passed"]


@pytest.mark.parametrize(
    ("program", "image", "cause"),
    [
        ("match 1:\n    case 1: pass\n", "tf2.11", "does not compile under the image's Python 3.9"),
        ("import pandas\n", "tf2.11", "program.py imports pandas, which the image does not have"),
        (
            "import tensorflow as tf\ntf.keras.datasets.mnist.load_data(path='/d/mnist.npz')\n",
            "tensorflow",
            "program.py:2: load_data gets a path, and Keras 3",
        ),
        (
            "from tensorflow.keras.optimizers import Lion\n",
            "tf2.11",
            "program.py:1: tensorflow 2.11.1 has no tensorflow.keras.optimizers.Lion: it came with TensorFlow 2.13",
        ),
        (
            "import numpy as np\nx = np.float(1)\n",
            "tensorflow",
            "has no numpy.float: it left with numpy 1.24",
        ),
    ],
    ids=["syntax", "import", "load_data", "since", "until"],
)
def test_scripts(site: Bed, program: str, image: str, cause: str) -> None:
    told = check(site, script_job(site, program, image))

    assert [row["check"] for row in told["findings"]] == ["script"]
    assert cause in told["findings"][0]["cause"]


def test_keras_2_loads_data_by_path(site: Bed) -> None:
    program = "import tensorflow as tf\ntf.keras.datasets.mnist.load_data(path='/d/mnist.npz')\n"

    assert check(site, script_job(site, program, "tf2.11"))["findings"] == []


@pytest.mark.parametrize("content", ["page", "cut"])
def test_images(site: Bed, content: str) -> None:
    path = site.write("my.sif", "<!DOCTYPE html>\n")
    if content == "cut":
        with (IMAGES / "python3.11.sif").open("rb") as whole:
            path.write_bytes(whole.read(1_000_000))

    told = check(site, "mnist_cnn", "--set", f"container={path}")

    assert [row["check"] for row in told["findings"]] == ["image"]
    assert {"page": "is a web page", "cut": "is cut short"}[content] in told["findings"][0]["cause"]


def test_runs_in_tmp(site: Bed) -> None:
    told = check(site, "mnist_cnn", "--runs-dir", "/tmp/runs")  # noqa: S108 - that is the mistake

    assert [row["check"] for row in told["findings"]] == ["file system"]


def test_folder_of_other_user(site: Bed) -> None:
    told = check(site, "mnist_cnn", "--runs-dir", SCRATCH / "runs")

    assert "you cannot write in /gpfs/scratch/nct00" in told["findings"][0]["cause"]


def test_second_time_asks_no_container(site: Bed) -> None:
    check(site, "mnist_cnn")
    cache = Path(site.environment["XDG_CACHE_HOME"], "hpcdl", "images.json")
    before = cache.stat().st_mtime_ns

    assert check(site, "mnist_cnn")["could_run"]
    assert cache.stat().st_mtime_ns == before


@pytest.mark.cases("F24")
@pytest.mark.parametrize("image", ["tensorflow", "tf2.11"])
def test_other_script_needs_no_tensorflow(site: Bed, image: str) -> None:
    """Once an image was looked into, a script with other imports and names is checked in seconds."""
    first = "import json\nimport tensorflow as tf\ntf.keras.Model\n"
    other = (
        "import csv, h5py\nimport tensorflow as tf\ntf.keras.layers.Dense\ntf.data.Dataset.range\n"
    )
    check(site, script_job(site, first, image))

    began = time.monotonic()
    told = check(site, script_job(site, other, image))
    took_s = time.monotonic() - began

    assert (told["findings"], told["skipped"]) == ([], [])
    assert took_s < 10, "importing TensorFlow alone takes that long on this machine"


@pytest.mark.cases("F14")
def test_colab_is_found(site: Bed) -> None:
    """The image has a package google, and not Colab's part of it."""
    told = check(site, script_job(site, "from google.colab import drive\n", "tensorflow"))

    assert [row["cause"] for row in told["findings"]] == [
        "program.py imports google.colab, which the image does not have"
    ]


@pytest.mark.cases("F11")
def test_other_mnist_is_found(site: Bed) -> None:
    """The test bed's mnist.npz has the images, and is not the file that Keras wants."""
    program = "from tensorflow.keras.datasets import mnist\nmnist.load_data()\n"
    told = check(site, script_job(site, program, "tensorflow"))

    assert "mnist.npz is another one by its checksum" in told["findings"][0]["cause"]


LEGACY_KERAS = 'env={TF_USE_LEGACY_KERAS: "1"}'
NO_TF_KERAS = "TF_USE_LEGACY_KERAS asks for tf-keras, which cannot be imported in"


@pytest.mark.cases("fault 1")
def test_missing_tf_keras_is_found(site: Bed) -> None:
    """TensorFlow 2.21's image has no tf-keras; TensorFlow 2.11 does not know the variable."""
    told = check(site, "mnist_cnn", "--set", LEGACY_KERAS)
    assert [(row["check"], row["blocks"]) for row in told["findings"]] == [("image", True)]
    assert told["findings"][0]["cause"].startswith(NO_TF_KERAS)
    assert told["findings"][0]["fix"].startswith(
        "name tf-keras==2.21.* in a requirements file (packages:)"
    )

    program = "import tensorflow as tf\ntf.keras.Sequential()\n"
    told = check(site, script_job(site, program, "tensorflow"), "--set", LEGACY_KERAS)
    assert [
        row["cause"].startswith(f"program.py:2: {NO_TF_KERAS}") for row in told["findings"]
    ] == [True]

    told = check(site, "mnist_cnn", "--set", "container=tf2.11", "--set", LEGACY_KERAS)
    assert told["findings"] == []


@pytest.mark.cases("fault 1")
def test_run_reports_missing_tf_keras(site: Bed) -> None:
    """Sent without the check: the trainer and a script end with the remedy."""
    training = site.submit("mnist_cnn", "--no-check", "--set", LEGACY_KERAS).wait()
    assert (training["state"], training["cause"]) == ("failed", "internal")
    assert (
        training["message"] == "TF_USE_LEGACY_KERAS=1 asks for tf-keras, which cannot be imported"
    )
    job = script_job(site, "import tensorflow as tf\ntf.keras.Sequential()\n", "tensorflow")
    script = site.submit(job, "--no-check", "--set", LEGACY_KERAS).wait()
    assert (script["state"], script["cause"]) == ("failed", "user_code")
    for result in (training, script):
        assert result["hint"].startswith(
            "name tf-keras, of TensorFlow's own version, in a requirements file"
        )


@pytest.mark.cases("fault 1")
def test_variable_of_image_counts(site: Bed) -> None:
    """Apptainer gives what begins with APPTAINERENV_ to the image, as if the image had it."""
    site.environment["APPTAINERENV_TF_USE_LEGACY_KERAS"] = "1"
    try:
        facts = json.loads(
            site.run("hpcdl", "image", "inspect", IMAGES / "tf2.21-py311.sif", "--json").stdout
        )
    finally:
        del site.environment["APPTAINERENV_TF_USE_LEGACY_KERAS"]
    assert (facts["tensorflow"][:5], facts["keras"]) == ("2.21.", None)


def submit(bed: Bed, *options: object) -> subprocess.CompletedProcess[str]:
    return bed.run(
        "hpcdl",
        "submit",
        "mnist_cnn",
        "--cluster",
        bed.profile,
        "--runs-dir",
        bed.runs,
        *options,
        check=False,
    )


def queue(bed: Bed) -> str:
    return bed.run("squeue", "--noheader", "--me", "--format=%i %Z").stdout


def test_submit_refuses_failing_jobs(site: Bed) -> None:
    runs_before = sorted(site.runs.glob("*/*"))
    done = submit(site, "--set", "cluster.qos=acc_debug", "--set", "resources.time=04:00:00")

    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    title = next(line for line in lines if line.startswith("mnist-cnn on testbed"))
    assert title.endswith("1 problem, nothing was submitted")
    assert any(
        line.startswith(" ✗ time  ") and "QoS acc_debug allows 02:00:00" in line for line in lines
    )
    assert str(site.folder) not in queue(site)
    assert sorted(site.runs.glob("*/*")) == runs_before


def test_submit_lists_its_checks(site: Bed) -> None:
    done = submit(site, "--set", "slurm={hold: ''}")
    site.run("hpcdl", "cancel", done.stdout.strip())

    told = re.search(
        r"^checked in [\d.]+ s · submitted as job \d+ on testbed · (.*)$", done.stderr, re.MULTILINE
    )
    assert told, done.stderr
    assert "TensorFlow 2.21." in told[1]


def test_submit_without_the_checks(site: Bed) -> None:
    done = submit(site, "--no-check", "--set", "slurm={hold: ''}", "--set", "data.name=nowhere")
    site.run("hpcdl", "cancel", done.stdout.strip())

    assert done.returncode == 0
    assert "submitted as job" in done.stderr
