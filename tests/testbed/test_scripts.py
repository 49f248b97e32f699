"""Script jobs in both TensorFlow images, offline: staged sets and weights without touching the script; hpcdl shell."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from tests.testbed.conftest import CHECKOUT, SCRATCH, Bed, Run, new_bed, until

pytestmark = pytest.mark.testbed

IMAGES = ("tensorflow", "tf2.11")

# What a user's script does that was written on a laptop with internet.
PROGRAM = """
import json, os, socket, sys
import tensorflow as tf
(x, y), (x_test, y_test) = tf.keras.datasets.fashion_mnist.load_data()
model = tf.keras.applications.MobileNetV2(weights="imagenet", include_top=False, input_shape=(224, 224, 3))
try:
    socket.create_connection(("127.0.0.1", 9), 2)
    network = "up"
except OSError as error:
    network = error.strerror
print(json.dumps({
    "fashion": [list(x.shape), list(x_test.shape), int(y[:100].sum())],
    "kernel": float(abs(model.get_layer("Conv1").get_weights()[0]).sum()),
    "network": network,
    "tmp": sorted(os.listdir("/tmp")),
    "home": os.path.expanduser("~"),
    "host_home": os.path.exists("/home/hpcuser"),
    "writable": os.access(os.environ["HPCDL_DATA_ROOT"], os.W_OK),
    "cwd": os.getcwd(), "args": sys.argv[1:], "greeting": os.environ["GREETING"],
}))
"""
JOB = """
name: offline
resources: {gpus: 1, time: "00:10:00"}
script: program.py
args: [--epochs, 3]
env: {GREETING: hello}
"""


@pytest.fixture(scope="module")
def offline(cluster: None) -> Bed:
    """A cluster whose containers run in a network namespace with no way out, not even to this machine."""
    bed = new_bed("test-scripts")
    wrapper = bed.write(
        "singularity", '#!/bin/sh\nexec unshare --map-current-user --net apptainer "$@"\n'
    )
    wrapper.chmod(0o755)
    profile = bed.profile.read_text().replace("runtime: singularity", f"runtime: {wrapper}")
    bed.profile.write_text(profile)
    bed.write("program.py", PROGRAM)
    bed.write("job.yaml", JOB)
    return bed


@pytest.fixture(scope="module")
def offline_runs(offline: Bed) -> dict[str, Run]:
    return {image: offline.submit("job.yaml", "--set", f"container={image}") for image in IMAGES}


@pytest.mark.parametrize("image", IMAGES)
def test_keras_finds_staged_files_offline(offline_runs: dict[str, Run], image: str) -> None:
    """Sets and weights load without a network, from a data root that the job cannot write."""
    run = offline_runs[image]
    result = run.wait()
    assert result["state"] == "done", run.log()
    seen = json.loads(run.log().splitlines()[-1])
    assert seen["network"] == "Network is unreachable"
    with gzip.open(SCRATCH / "data/fashion-mnist/train-labels-idx1-ubyte.gz") as stream:
        labels = sum(stream.read()[8:108])
    assert seen["fashion"] == [[60000, 28, 28], [10000, 28, 28], labels]
    assert seen["kernel"] > 100
    assert not [name for name in seen["tmp"] if "keras" in name.lower()]
    assert (seen["home"], seen["host_home"]) == (f"{run.path}/home", False)
    assert ((SCRATCH / "data").owner(), seen["writable"]) == ("hpcdata", False)
    assert (seen["cwd"], seen["args"], seen["greeting"]) == (
        f"{run.path}/work",
        ["--epochs", "3"],
        "hello",
    )


def warn_each(bed: Bed, runs: list[Run], text: str) -> None:
    """Send SLURM's warning to each run as soon as it has printed something."""
    waiting = list(runs)

    def warn() -> bool:
        for run in list(waiting):
            if (run.path / "logs/1.log").exists() and text in run.log():
                bed.run("scancel", "--batch", "--signal=USR2", run.job_id)
                waiting.remove(run)
        return not waiting

    until(warn)


def test_readme_script_outlives_its_time_limit(bed: Bed) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    bed.write("train.py", script)
    bed.write("job.yaml", "name: readme\nresources: {gpus: 1, time: 00:10:00}\nscript: train.py\n")
    runs = [bed.submit("job.yaml", "--set", f"container={image}") for image in IMAGES]
    warn_each(bed, runs, "Epoch 3/20")
    for run in runs:
        assert run.wait()["state"] == "done", run.log(2)
        (saved,) = map(int, re.findall(r"goes on after epoch (\d+) of 20", run.log(2)))
        epochs = [
            list(map(int, re.findall(r"^Epoch (\d+)/20", run.log(n), re.MULTILINE))) for n in (1, 2)
        ]
        assert saved >= 2
        assert epochs[0][:saved] + epochs[1] == list(range(1, 21))
        assert float(run.log(2).rpartition("test accuracy ")[2]) > 0.8


HEEDS_SIGNAL = """
import signal, sys, time
seen = []
signal.signal(signal.SIGUSR2, lambda number, frame: seen.append(number))
print("ready", flush=True)
while not seen:
    time.sleep(0.1)
time.sleep(2)  # a second one would come meanwhile
import decimal, email.mime.text, sqlite3, unittest, xml.dom.minidom  # the image's files are still there
print("signals", len(seen))
"""


def test_script_gets_stop_signal_once(bed: Bed) -> None:
    """The signal reaches the script and not the processes that mount the image."""
    bed.write("heeds.py", HEEDS_SIGNAL)
    bed.write(
        "job.yaml", "name: heeds\nresources: {gpus: 0}\nscript: heeds.py\nstop_signal: USR2\n"
    )
    runs = [bed.submit("job.yaml", "--set", f"container={image}") for image in ("python", *IMAGES)]
    warn_each(bed, runs, "ready")
    for run in runs:
        assert run.wait()["state"] == "done", run.log()
        assert run.log().endswith("ready\nsignals 1\n")


def test_script_is_frozen_at_submission(bed: Bed) -> None:
    bed.write("helper.py", "ANSWER = 1\n")
    script = bed.write("program.py", "import helper\nprint('answer', helper.ANSWER)\n")
    bed.write(
        "job.yaml",
        "name: frozen\ncontainer: python\nresources: {gpus: 0}\nscript: program.py\nslurm: {hold: ''}\n",
    )
    run = bed.submit("job.yaml")
    script.write_text("print('edited')\n")
    bed.write("helper.py", "ANSWER = 2\n")
    bed.run("scontrol", "release", run.job_id)
    assert run.wait()["state"] == "done"
    assert "answer 1" in run.log()
    assert "edited" not in run.log()


NOTEBOOK = [
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nimport tensorflow as tf",
    "%%time\nx = tf.constant(20)",
    "@tf.function\ndef f(x):\n    if x > 1:\n        return x + 1\n    return x",
    "print('x is', int(f(x)))",
    "plt.plot([1, 2])\nplt.show()\nfig, ax = plt.subplots()\nax.plot([3, 4])",
    "words = !echo from the shell\nwords",
    "await main()",
]


@pytest.mark.cases("F1", "F14", "C4")
@pytest.mark.parametrize("image", ["tensorflow", "tf2.11"])
def test_notebook_runs_as_it_is(bed: Bed, image: str) -> None:
    """Magics run, figures are kept, and an error names the cell, under Python 3.9 and 3.11."""
    cells = [{"cell_type": "code", "source": source} for source in NOTEBOOK]
    bed.write("book.ipynb", json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    bed.write(
        "job.yaml", f"name: book\ncontainer: {image}\nresources: {{gpus: 0}}\nscript: book.ipynb\n"
    )
    run = bed.submit("job.yaml")

    assert run.wait()["state"] == "failed"
    log = run.log()
    assert "hpcdl: book.ipynb, cell 1, line 1: %matplotlib inline is left out" in log
    assert "\nWall time: " in log
    assert "x is 21" in log
    assert "['from the shell']" in log
    assert 'File "book.ipynb, cell 7", line 1, in <module>' in log
    assert "Agg is" not in log
    assert sorted(path.name for path in (run.path / "figures").iterdir()) == [
        "cell-5-1.png",
        "cell-5-2.png",
    ]


@pytest.mark.cases("F14")
@pytest.mark.parametrize("image", ["tensorflow", "tf2.11"])
def test_script_keeps_its_figures(bed: Bed, image: str) -> None:
    """plt.show() of a script saves a file in both images, in the run and in a rendered folder."""
    bed.write("plot.py", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n")
    bed.write(
        "job.yaml", f"name: plot\ncontainer: {image}\nresources: {{gpus: 0}}\nscript: plot.py\n"
    )
    run = bed.submit("job.yaml")
    bed.run("hpcdl", "render", "job.yaml", "--cluster", bed.profile, "-o", "plot/")
    bed.run("sbatch", "--wait", "--chdir=plot", "plot/job.sbatch")

    assert run.wait()["state"] == "done"
    assert run.log().endswith(f"hpcdl: figure saved: {run.path}/figures/figure-1.png\n")
    assert (bed.folder / "plot/figures/figure-1.png").read_bytes().startswith(b"\x89PNG")


ASK = "import json, os; print(json.dumps([os.environ['HOME'], os.getcwd(), sorted(os.listdir('/')), sorted(os.environ)]))"


def test_shell_opens_container_of_run(offline_runs: dict[str, Run], offline: Bed) -> None:
    run = offline_runs["tensorflow"]
    run.wait()
    offline.write("ask.py", ASK)
    home, cwd, root, names = json.loads(
        offline.run("hpcdl", "shell", run.path, "--", "python", "ask.py").stdout
    )
    assert (home, cwd) == (f"{run.path}/home", str(offline.folder)), (
        "who names a program names files from here"
    )
    assert "gpfs" in root
    assert {"GREETING", "KERAS_HOME", "HPCDL_DATA_ROOT", "HPCDL_STOP_FILE"} <= set(names)
    typed = offline.run(
        "hpcdl", "shell", run.path, stdin="echo $GREETING; ls ~/.keras/datasets | grep fashion\n"
    )
    assert typed.stdout.splitlines() == ["hello", "fashion-mnist"]
    assert (
        offline.run("hpcdl", "shell", run.path, stdin="pwd\n").stdout.strip() == f"{run.path}/work"
    )


@pytest.mark.cases("F13")
def test_local_run_uses_module_container(bed: Bed) -> None:
    """The container command comes with a module of the profile's, on the login node as on the compute nodes."""
    bed.write("a.py", "import os\nprint(sorted(os.environ))\n")
    words = (
        "--set",
        "container=python",
        "--gpus",
        "0",
        "--cluster",
        bed.profile,
        "--runs-dir",
        bed.runs,
    )
    answer = bed.run("hpcdl", "submit", "a.py", "--backend", "local", *words, "--wait")
    assert "without the container" not in answer.stderr
    assert "SINGULARITY_CONTAINER" in Run(bed, Path(answer.stdout.strip())).log()


def test_shell_opens_container_of_job(bed: Bed) -> None:
    bed.write("program.py", "print(1)\n")
    bed.write(
        "job.yaml",
        "name: try\ncontainer: python\nresources: {gpus: 1}\nscript: program.py\nenv: {A: 'b c'}\n",
    )
    options = ("--cluster", bed.profile, "--runs-dir", bed.runs)
    # The runtime comes with a module here, as on most clusters: the shell loads it.
    words = " ".join(map(str, options))
    shell = f'source /etc/profile.d/modules.sh; export -f module; exec hpcdl shell job.yaml {words} -- python -c "{ASK}"'
    asked = bed.run("bash", "-c", shell)
    home, cwd, _, names = json.loads(asked.stdout)
    assert cwd == str(bed.folder)
    assert home.startswith(str(bed.runs))
    assert "A" in names


FAILS_LATE = """
import os
import tensorflow as tf
from hpcdl.trainer.callback import SaveAndStop, log_metrics
model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(tf.zeros((64, 2)), tf.zeros((64, 1)), epochs=3, callbacks=[SaveAndStop()])
log_metrics(test_loss=0.25)
open("nothing.csv")
"""


@pytest.mark.cases("C12", "F20")
def test_log_and_metrics_of_a_script(bed: Bed) -> None:
    """In both images: noise lies apart, bars are lines, epochs are metrics, a missing file is the cause."""
    bed.write("late.py", FAILS_LATE)
    bed.write("job.yaml", "name: late\nresources: {gpus: 0}\nscript: late.py\n")
    runs = [bed.submit("job.yaml", "--set", f"container={image}") for image in IMAGES]
    for run in runs:
        result = run.wait()
        assert (result["cause"], result["metrics"]["test_loss"]) == ("user_code", 0.25), run.log()
        assert [row.get("epoch") for row in run.lines("metrics.jsonl")] == [1, 2, 3, None]
        assert run.log().startswith("Epoch 1/3\n")
        assert not re.search(r"[\r\b]|oneDNN|cuInit", run.log())
        assert "oneDNN custom operations" in (run.path / "logs/1.tensorflow.log").read_text()
        assert (run.path / "logs/1.stderr.log").read_text().startswith("Traceback")
        assert (run.path / "state").stat().st_mode & 0o777 == 0o700
