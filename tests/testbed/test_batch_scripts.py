"""Somebody's own batch scripts on the real SLURM: looked at, and run both as they are and adopted, with equal output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.conftest import SCRATCH, Bed, Run, new_bed

pytestmark = pytest.mark.testbed

IMAGES = "/gpfs/scratch/nct00/images"
# Says what a program can tell of where and how it runs
TELLS = """
import json, os, sys
names = ("EPOCHS", "OMP_NUM_THREADS", "GREETING")
told = {name: os.environ.get(name) for name in names}
told.update(args=sys.argv[1:], cwd=os.getcwd(), cpus=len(os.sched_getaffinity(0)))
told["python"] = sys.version_info[:2]
print("told", json.dumps(told, sort_keys=True))
"""
ON_NODES = """
import os
rank, count = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
if rank == 0:
    print("told", count, "workers")
"""
TRAINS = """
import numpy as np
import tensorflow as tf
tf.keras.utils.set_random_seed(1)
with np.load("/gpfs/scratch/nct00/mnist.npz") as data:
    x, y = data["x_train"][:500] / 255, data["y_train"][:500]
model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(10)])
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("sgd", loss)
history = model.fit(x, y, epochs=2, verbose=0, shuffle=False)
print("told", round(history.history["loss"][-1], 5))
"""
HEAD = """#!/bin/bash
#SBATCH --job-name=both-ways
#SBATCH --account=nct00
#SBATCH --output=out.txt
#SBATCH --time=00:05:00
"""
SCRIPTS = {
    "long-options": f"""{HEAD}#SBATCH --cpus-per-task=3
module purge
module load singularity
IMAGE={IMAGES}/python3.11.sif
export EPOCHS=3
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
singularity exec --bind "$PWD" "$IMAGE" python programs/tells.py --epochs "$EPOCHS" 'two words'
""",
    "short-options": f"""#!/bin/bash -l
#SBATCH -J short -A nct00
#SBATCH -N 1 -n 1 -c2 -t 5
#SBATCH -o out.txt -D .
ml purge; ml load singularity
export SINGULARITYENV_GREETING="good day"
cd programs
singularity exec -B "$SLURM_SUBMIT_DIR" {IMAGES}/python3.11.sif python tells.py -v
""",
    "array-task": f"""{HEAD}#SBATCH --array=4
#SBATCH --cpus-per-task=2
#SBATCH --export=ALL,EPOCHS=7
module load singularity
seed=$SLURM_ARRAY_TASK_ID
srun --cpus-per-task=2 singularity exec --bind "$PWD" \\
    {IMAGES}/python3.11.sif python programs/tells.py --seed "$seed" --epochs "$EPOCHS"
""",
    "two-nodes": f"""{HEAD}#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
set -e
module load singularity
srun --cpus-per-task=2 singularity exec --bind "$PWD" \\
    {IMAGES}/python3.11.sif python programs/on_nodes.py
""",
    "training": f"""{HEAD}#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=20
module purge
module load singularity
image={IMAGES}/tf2.21-py311.sif
if [ ! -f "$image" ]; then
    echo "no $image" >&2
    exit 1
fi
export TF_CPP_MIN_LOG_LEVEL=3
singularity exec --bind "$PWD" --bind /gpfs/scratch/nct00 "$image" python programs/trains.py
""",
}


@pytest.fixture(scope="module")
def folder(cluster: None) -> Bed:
    """A folder with the scripts and their programs."""
    bed = new_bed("test-batch-scripts")
    programs = {"tells": TELLS, "on_nodes": ON_NODES, "trains": TRAINS}
    for name, text in programs.items():
        bed.write(f"programs/{name}.py", text)
    (bed.folder / "programs").chmod(0o777)
    bed.environment["XDG_CACHE_HOME"] = str(bed.folder / "programs" / "cache")
    return bed


def told(text: str) -> list[str]:
    """The lines that a program printed of itself."""
    return re.findall(r"^told (.*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def both_ways(folder: Bed) -> dict[str, tuple[str, Run]]:
    """Each script as it is and adopted, all sent before one is waited for: its own output, and the run."""
    sent, runs = {}, {}
    for name, text in SCRIPTS.items():
        script, job = folder.write(f"{name}.slurm", text), f"{name}.yaml"
        output = folder.folder / f"{name}.txt"
        sent[name] = folder.start("sbatch", "--wait", f"--output={output}", script.name)
        folder.run("hpcdl", "adopt", script.name, "-o", job)
        runs[name] = folder.submit(job)
    outputs = {}
    for name, process in sent.items():
        _, words = process.communicate(timeout=300)
        assert process.returncode == 0, words
        outputs[name] = ((folder.folder / f"{name}.txt").read_text(), runs[name])
    return outputs


@pytest.mark.parametrize("name", SCRIPTS)
def test_adopted_script_prints_the_same(both_ways: dict[str, tuple[str, Run]], name: str) -> None:
    output, run = both_ways[name]

    assert run.wait()["state"] == "done", run.log()
    assert told(output)
    assert told(run.log()) == told(output)


def check(bed: Bed, script: str, *options: object) -> dict[str, Any]:
    done = bed.run("hpcdl", "check", script, "--json", *options, check=False)
    assert done.returncode in (0, 2), done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    assert content["could_run"] == (done.returncode == 0)
    return content


@pytest.mark.parametrize(
    ("name", "with_profile"), [("long-options", True), ("two-nodes", False), ("training", False)]
)
def test_good_script_draws_nothing(folder: Bed, name: str, with_profile: bool) -> None:
    """All checks are made, with a profile and without one; nothing of the script is run."""
    folder.write(f"{name}.slurm", SCRIPTS[name])
    options = ("--cluster", folder.profile) if with_profile else ()
    content = check(folder, f"{name}.slurm", *options)

    blocking = [item for item in content["findings"] if item["blocks"]]
    assert (blocking, content["skipped"]) == ([], [])
    made = {"account", "partition", "QoS", "time", "size", "image", "script", "sbatch --test-only"}
    assert made <= {*content["passed"], *(item["check"] for item in content["findings"])}


@pytest.mark.parametrize(
    ("before", "after", "check_name", "line", "fix"),
    [
        ("account=nct00", "account=nct01", "account", 3, "#SBATCH --account=nct00"),
        ("00:05:00", "99-00:00:00", "time", 5, "#SBATCH --time="),
        ("cpus-per-task=20", "cpus-per-task=900", "size", 7, "--cpus-per-task"),
        ("tf2.21-py311.sif", "tf9.sif", "image", 16, "pull one"),
        ("trains.py", "trained.py", "script", 16, "correct that line"),
        ("--gres=gpu:1", "--partition=nowhere", "partition", 6, "#SBATCH --partition="),
    ],
)
def test_planted_mistake_has_its_line(
    folder: Bed, before: str, after: str, check_name: str, line: int, fix: str
) -> None:
    text = SCRIPTS["training"].replace(before, after)
    folder.write("planted.slurm", text)
    content = check(folder, "planted.slurm", "--cluster", folder.profile)

    found = [item for item in content["findings"] if item["check"] == check_name]
    assert [item["where"] for item in found] == [f"planted.slurm:{line}"], content
    assert fix in found[0]["fix"]
    assert not content["could_run"]


def test_import_that_the_image_lacks(folder: Bed) -> None:
    """The script under the image's own Python."""
    folder.write("programs/lacks.py", "import torch\n")
    text = SCRIPTS["training"].replace("trains.py", "lacks.py")
    folder.write("lacks.slurm", text)
    content = check(folder, "lacks.slurm")

    (found,) = [item for item in content["findings"] if item["check"] == "script"]
    assert "torch" in found["cause"]
    assert found["where"].startswith("lacks.slurm:")


def test_nothing_of_a_script_is_run(folder: Bed) -> None:
    mark = folder.folder / "programs" / "ran"
    words = f'touch {mark}\nx=$(touch {mark})\nmodule load "singularity; touch {mark}"\n'
    folder.write("runs.slurm", SCRIPTS["long-options"].replace("module purge\n", words))
    check(folder, "runs.slurm", "--cluster", folder.profile)
    folder.run("hpcdl", "adopt", "runs.slurm")

    assert not mark.exists()


def test_course_script_is_mended_and_adopted(folder: Bed) -> None:
    """The course's own MNIST.slurm has a blank in its image's path."""
    course = Path(__file__).parents[1] / "batchscript" / "corpus" / "MNIST.slurm"
    folder.write("MNIST.slurm", course.read_text())
    folder.write("programs/MNIST.py", TELLS)
    content = check(folder, "MNIST.slurm", "--cluster", folder.profile)
    torn = [item for item in content["findings"] if item["check"] == "torn-path"]
    assert torn
    mended = course.read_text().replace("nct00/ MN5", "nct00/MN5").replace("acc_debug", "normal")
    folder.write("MNIST.slurm", mended)
    folder.run("hpcdl", "adopt", "MNIST.slurm", "-o", "mnist.yaml")

    content = check(folder, "mnist.yaml", "--cluster", folder.profile)
    rendered = folder.run("hpcdl", "render", "mnist.yaml", "--cluster", folder.profile).stdout

    assert content["could_run"], content
    assert str(SCRATCH / "MN5-NGC-TensorFlow-23.03.sif") in rendered
    assert f"#SBATCH --chdir={folder.folder}/programs" in rendered
