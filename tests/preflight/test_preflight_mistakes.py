"""What would keep a job from running: each row plants one mistake, and says what the user hears."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcdl.errors import JobError
from hpcdl.job import load_job
from hpcdl.preflight import hostpython
from tests.preflight.conftest import ASSOCIATIONS, NODE, PARTITION, QOS, World, sif

Plant = Callable[[World], Any]
SMALL = (
    NODE.format("n1")
    .replace("RealMemory=500000", "RealMemory=2000000")
    .replace("Gres=gpu:4", "Gres=(null)")
)
TYPED = NODE.format("n1").replace("Gres=gpu:4", "Gres=gpu:h100:4(S:0-1)")
REFUSES = (
    "echo 'sbatch: error: Batch job submission failed: Invalid feature specification' >&2; exit 1"
)


def nothing(world: World) -> None:
    pass


def row(
    name: str, check: str, cause: str, fix: str, *sets: str, plant: Plant = nothing, job: str = "model.yaml",
    case: str = "",
) -> Any:  # fmt: skip
    return pytest.param(
        check,
        cause,
        fix,
        sets,
        plant,
        job,
        id=name,
        marks=[pytest.mark.cases(case)] if case else [],
    )


def broken(world: World, content: bytes) -> None:
    (world.data / "tiny.npz").write_bytes(content)
    (world.data / "tiny.npz.sha256").unlink()


def lost_by_purge(world: World) -> None:
    world.write("init.sh", 'module() { [ "$1" = load ] || export PURGED=1; }\n')
    world.command(
        "venv", '#!/bin/sh\n[ -z "$PURGED" ] || { echo cannot run after a purge >&2; exit 127; }\n'
    )


def two_architectures(world: World) -> None:
    """The job's partition has nodes of one kind, another partition those of the image's."""
    arm = NODE.format("n4").replace("x86_64", "aarch64").replace("Partitions=acc", "Partitions=gh")
    world.slurm(node=f"{NODE.format('n1')}\n{arm}")
    world.write("tf.sif", sif(b"04"))


def arm_python(world: World) -> None:
    """The head of an ELF file for aarch64 (e_machine 183)."""
    path = world.write(
        "bin/arm", b"\x7fELF" + bytes([2, 1, 1]) + bytes(11) + (183).to_bytes(2, "little")
    )
    path.chmod(0o755)


def old_numpy_name(world):
    world.stub(numpy="__version__ = '2.0.1'\n")
    world.write("program.py", "import numpy as np\nnp.float(1)\n")


def png(height: int, width: int) -> bytes:
    """As much of a PNG as its head says, and its end."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + bytes([0, 0, 0, 13])
        + b"IHDR"
        + struct.pack(">II", width, height)
        + b"..IEND"
    )


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def few_images(top: Path) -> None:
    for number in range(2, 9):
        (top / f"b/{number}.png").unlink()


def no_records(top: Path) -> None:
    for part in ("train", "test"):
        (top / f"{part}.tfrecord").touch()


def pack(world: World, content: bytes, **changes: Any) -> None:
    """A packed set whose array has this content; it was packed with ten bytes."""
    top = world.pictures()
    (top / "train.npy").write_bytes(content)
    part = {"rows": 1, "files": [{"name": "train.npy", "bytes": 10}], "labels": "train.labels.npy"}
    about = {
        "format": "hpcdl-pack",
        "version": 1,
        "storage": "npy",
        "classes": ["a", "b"],
        "channels": 3,
        "image_size": [4, 4],
        "parts": {"train": part},
    }
    (top / "pack.json").write_text(json.dumps({**about, **changes}))


def weights_without_top(world):
    world.weights("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5")
    world.write("program.py", "import keras\nkeras.applications.MobileNetV2()\n")


def smaller_weights(world):
    world.weights("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5")
    call = "MobileNetV2(include_top=False, alpha=0.5, input_shape=(96, 96, 3))"
    world.write("program.py", f"from keras.applications import MobileNetV2\n{call}\n")


LIMITS = [
    row("account", "account", "you have no account nct01; did you mean nct00?", "cluster.account=nct00",
        "cluster.account=nct01"),
    row("no-account", "account", "you have no account on this cluster", "ask the site",
        plant=lambda w: w.slurm(associations="")),
    row("partition", "partition", "there is no partition ac; did you mean acc?", "cluster.partition=acc",
        "cluster.partition=ac"),
    row("no-partition", "partition", "this cluster has no default one", "cluster.partition=acc",
        plant=lambda w: w.slurm(partition=PARTITION.replace("Default=YES", "Default=NO"))),
    row("partition-account", "partition", "partition acc does not take account nct00", "cluster.account=abc|def",
        plant=lambda w: w.slurm(partition=PARTITION.replace("AllowAccounts=ALL", "AllowAccounts=def,abc"))),
    row("partition-qos", "partition", "partition acc does not take qos acc_debug", "cluster.qos=normal",
        plant=lambda w: w.slurm(partition=PARTITION.replace("AllowQos=ALL", "AllowQos=normal"))),
    row("qos", "QoS", "there is no QoS acc_debgu; did you mean acc_debug?", "cluster.qos=acc_debug|normal|small",
        "cluster.qos=acc_debgu"),
    row("qos-not-mine", "QoS", "account nct00 may not use QoS high", "cluster.qos=acc_debug|normal|small",
        "cluster.qos=high"),
    row("qos-time", "time", "resources.time is 04:00:00, but QoS acc_debug allows 02:00:00",
        "use --set cluster.qos=normal|small, or ask for less: --set resources.time=02:00:00",
        "resources.time=04:00:00"),
    row("default-qos-time", "time", "QoS normal allows 00:30:00", "resources.time=00:30:00", "cluster.qos=null",
        plant=lambda w: w.slurm(qos=QOS.replace("normal||", "normal|00:30:00|"))),
    row("partition-qos-time", "time", "QoS part allows 00:10:00", "ask for less", plant=lambda w: w.slurm(
        qos=f"{QOS}\npart|00:10:00||||", partition=PARTITION.replace("QoS=N/A", "QoS=part"))),
    row("partition-time", "time", "is 4-00:00:00, but partition acc allows 3-00:00:00", "ask for less",
        "cluster.qos=normal", "resources.time=4-00:00:00"),
    row("account-time", "time", "account nct00 allows 00:30:00", "ask for less", "cluster.qos=normal",
        plant=lambda w: w.slurm(associations=f"{ASSOCIATIONS}00:30:00")),
    row("cpus", "size", "90 CPUs are asked for, but no node here has more than 80", "at most 80: resources.cpus",
        "cluster.node.cpus=100", "resources.cpus=90"),
    row("gpus", "size", "8 GPUs are asked for, but no node here has more than 4", "at most 4", "cluster.node.gpus=8",
        "resources.gpus=8"),
    row("nodes", "size", "5 nodes are asked for, but 4 here are large enough", "at most 4: resources.nodes",
        "resources.nodes=5-9"),
    row("nodes-partition", "size", "3 nodes are asked for, but the partition allows 2", "at most 2",
        "resources.nodes=3", plant=lambda w: w.slurm(partition=PARTITION.replace("MaxNodes=UNLIMITED", "MaxNodes=2"))),
    row("qos-gpus-of-nodes", "size", "4 GPUs are asked for, but QoS small allows 2", "resources.gpus", "cluster.qos=small",
        "resources.gpus=2", "resources.nodes=2"),
    row("memory", "size", "614400 MB are asked for, but no node here has more than 500000", "resources.memory_gb",
        "cluster.memory_request=mem", "resources.memory_gb=600"),
    row("together", "size", "no node has 20 CPUs, 1 GPUs and 614400 MB together", "80 CPUs, 4 GPUs, 500000 MB",
        "cluster.memory_request=mem", "resources.memory_gb=600",
        plant=lambda w: w.slurm(node=f"{NODE.format('n0')}\n{SMALL}")),
    row("gpu-type", "size", "1 GPUs of type a100 are asked for", "cluster.gpu_type=h100", "cluster.gpu_type=a100",
        plant=lambda w: w.slurm(node=TYPED)),
    row("no-gpu-types", "size", "GPUs of type a100", "leave gpu_type out", "cluster.gpu_type=a100"),
    row("qos-gpus", "size", "3 GPUs are asked for, but QoS small allows 2", "resources.gpus", "cluster.qos=small",
        "resources.gpus=3"),
    row("sbatch", "sbatch --test-only", "SLURM refuses it: Batch job submission failed: Invalid feature specification",
        "hpcdl submit --dry-run", "slurm={constraint: nothing}", plant=lambda w: w.slurm(sbatch=REFUSES)),
]  # fmt: skip

IMAGES = [
    row("no-image", "image", "there is no image .*/tf.sif", "hpcdl cluster show",
        plant=lambda w: (w.folder / "tf.sif").unlink()),
    row("no-image-in-job", "image", "there is no image .*/mine.sif", "local .sif", "container=./mine.sif"),
    row("web-page", "image", "is a web page (it begins with '<!DOCTYPE')", "docker://tensorflow/tensorflow",
        plant=lambda w: w.write("tf.sif", "<!DOCTYPE html><html>")),
    row("no-sif", "image", "is not a SIF image (it begins with 'hsqs", "pull it again",
        plant=lambda w: w.write("tf.sif", b"hsqs" + bytes(200))),
    row("folder-for-image", "image", "data is a folder, which Apptainer calls a sandbox", "apptainer build data.sif",
        "container=./data"),
    row("address-for-image", "image", "docker://a/b:c is an address, and jobs run a local file",
        "apptainer pull NAME.sif docker://a/b:c", "cluster.images.tensorflow.path=docker://a/b:c"),
    row("cut-image", "image", "is cut short: it has 177 bytes, and its header says 228", "copy or pull it again",
        plant=lambda w: w.write("tf.sif", sif()[:177])),
    row("empty-image", "image", "is not a SIF image", "pull it again", plant=lambda w: w.write("tf.sif", "")),
    row("architecture", "image", "is for aarch64, but the nodes are x86_64", "built for these nodes",
        plant=lambda w: w.write("tf.sif", sif(b"04"))),
    row("architecture-of-the-partition", "image", "is for aarch64, but the nodes are x86_64", "built for these nodes",
        plant=two_architectures, case="fault 2"),
    row("architecture-of-the-profile", "image", "is for x86_64, but the nodes are aarch64", "built for these nodes",
        "cluster.architecture=aarch64", case="fault 2",
        plant=lambda w: w.slurm(node=NODE.format("n1").replace("Arch=x86_64 ", ""))),
    row("no-python", "image", "has no command python9", "python3", "cluster.images.tensorflow.python=python9"),
    row("old-tensorflow", "image", "its TensorFlow is 2.9.1; models need 2.11 or newer", "newer image",
        plant=lambda w: w.stub(tensorflow="2.9.1")),
    row("no-tensorflow", "image", "has no tensorflow", "image with TensorFlow", plant=lambda w: w.stub(
        tensorflow="\nraise ImportError('No module named tensorflow', name='tensorflow')\n")),
    row("broken-tensorflow", "image",
        "importing tensorflow fails in .*: libcudart.so.11: cannot open shared object file",
        "another image", plant=lambda w: w.stub(
            tensorflow="\nraise ImportError('libcudart.so.11: cannot open shared object file')\n")),
    row("outside", "image", "numpy 2.0.1 is imported from .*/stubs/numpy.py, outside the image", "PYTHONPATH under env",
        "cluster.binds=[{folder}]"),
]  # fmt: skip

DATA = [
    row("not-staged", "data", "mnist is not staged: there is no .*/data/mnist.npz",
        "on a machine with internet: hpcdl data stage mnist --data-root /",
        "data.name=mnist"),
    row("digits-not-staged", "data", "digits is not staged", "hpcdl data stage digits --data-root", "data.name=digits"),
    row("folder-not-staged", "data", "fashion_mnist is not staged", "hpcdl data stage fashion_mnist --data-root",
        "data.name=fashion_mnist"),
    row("own-not-staged", "data", "mine is not staged", "hpcdl data stage mine --from FILE.npz --data-root",
        "data.name=mine"),
    row("no-path", "data", "there is no .*/nothing.npz", "correct data.path", "data={path: nothing.npz}"),
    row("changed", "data", "is not the file that was staged", "stage the set again",
        plant=lambda w: w.stage(sums=False, y_test=np.zeros(6))),
    row("no-npz", "data", "is not an .npz file", "stage it again", plant=lambda w: broken(w, b"<html>not found")),
    row("cut", "data", "is not an .npz file", "stage it again", plant=lambda w: broken(w, w.stage().read_bytes()[:900])),
    row("array-missing", "data", "y_test: is not in .*.npz; found x_train, y_train, x_test", "docs/my-data.md",
        plant=lambda w: w.stage(y_test=None)),
    row("objects", "data", "y_train: holds Python objects", "docs/my-data.md",
        plant=lambda w: w.stage(y_train=np.array([1, None] * 15, object))),
    row("flat-images", "data", "x_train: has shape (30, 784); expected (rows, height, width)", "docs/my-data.md",
        plant=lambda w: w.stage(x_train=np.zeros((30, 784)))),
    row("other-images", "data", "x_test: images of shape (32, 32, 1); expected (28, 28, 1)", "docs/my-data.md",
        plant=lambda w: w.stage(x_test=np.zeros((6, 32, 32)))),
    row("too-few-labels", "data", "x_train: has 30 images but y_train has 29 labels", "docs/my-data.md",
        plant=lambda w: w.stage(y_train=np.arange(29) % 3)),
    row("empty", "data", "x_train: has shape (0, 28, 28)", "docs/my-data.md",
        plant=lambda w: w.stage(x_train=np.zeros((0, 28, 28)), y_train=np.zeros(0, int))),
    row("negative-labels", "data", "y_train: values go from -1.0 to 1.0; expected class numbers", "docs/my-data.md",
        plant=lambda w: w.stage(y_train=np.arange(30) % 3 - 1)),
    row("fractions", "data", "y_train: holds fractions", "docs/my-data.md",
        plant=lambda w: w.stage(y_train=np.tile([0, 1, 2.5], 10))),
    row("one-class", "data", "y_train: holds class 0 alone", "docs/my-data.md",
        plant=lambda w: w.stage(y_train=np.zeros(30, int), y_test=np.zeros(6, int))),
    row("unknown-class", "data", "y_test: holds class 7; expected classes 0 to 2 as in y_train", "docs/my-data.md",
        plant=lambda w: w.stage(y_test=np.full(6, 7))),
    row("class-missing", "data", "y_train: class 1 has 0; expected at least 2", "docs/my-data.md",
        plant=lambda w: w.stage(y_train=np.arange(30) % 2 * 2, y_test=np.arange(6) % 2 * 2)),
    row("class-not-in-test", "data", "y_test: has no row of class 2; expected some of each", "docs/my-data.md",
        plant=lambda w: w.stage(y_test=np.arange(6) % 2)),
    row("class-not-validated", "data", "data.validation_split 0.01 would take 0 of the 10 rows of class 0",
        "docs/my-data.md", "data.validation_split=0.01"),
    row("class-not-in-each-fold", "data", "y_train has 10 rows of class 0; train.cross_validation 11 needs that many",
        "docs/my-data.md", "train={cross_validation: 11}"),
    row("empty-folder", "data", "pictures: is empty", "a folder of images for each class", "data={path: pictures}",
        plant=lambda w: (w.folder / "pictures").mkdir()),
    row("image-cut", "data", "pictures: b/3.png: is cut short: the image has no end", "hpcdl data pack",
        "data={path: pictures}", plant=lambda w: cut(w.pictures() / "b/3.png")),
    row("no-image-file", "data", "pictures: b/notes.doc: is not a .jpg, .jpeg or .png file", "hpcdl data pack",
        "data={path: pictures}", plant=lambda w: (w.pictures() / "b/notes.doc").write_text("x")),
    row("one-folder", "data", "holds folders of these classes: a; expected at least 2", "correct it",
        "data={path: pictures}", plant=lambda w: shutil.rmtree(w.pictures() / "b")),
    row("image-sizes", "data", "images differ in size, from 4x4 to 5x6 pixels", "data.image_size: [height, width]",
        "data={path: pictures}", plant=lambda w: (w.pictures() / "b/3.png").write_bytes(png(5, 6))),
    row("folder-too-small", "data", "data.test_split 0.2 would take 0 of the 2 images of class b", "more images",
        "data={path: pictures}",
        plant=lambda w: few_images(w.pictures())),
    row("images-too-small", "data", "convolution 2 (kernel 5 and 2x2 pooling) gets 2x2 pixels", "fewer filters",
        "data={path: pictures, image_size: [9, 9]}", "model={name: cnn, filters: [8, 8], kernel_size: 5}",
        plant=lambda w: w.pictures()),
    row("records-any-size", "data", "TFRecords hold images of any size", "data.image_size", "data={path: pictures}",
        plant=lambda w: no_records(w.pictures())),
    row("records-without-train", "data", "none whose name begins with train; it has test.tfrecord", "train and test",
        "data={path: pictures, image_size: [9, 9]}", plant=lambda w: (w.pictures() / "test.tfrecord").touch()),
    row("records-in-gzip", "data", "train.tfrecord are compressed as a whole", "gunzip",
        "data={path: pictures, image_size: [9, 9]}",
        plant=lambda w: (w.pictures() / "train.tfrecord").write_bytes(gzip.compress(b"x"))),
    row("pack-cut", "data", "train.npy: has 9 bytes; it was packed with 10", "hpcdl data pack", "data={path: pictures}",
        plant=lambda w: pack(w, b"123456789")),
    row("pack-damaged", "data", "pack.json: is damaged", "hpcdl data pack", "data={path: pictures}",
        plant=lambda w: pack(w, b"1234567890", parts={"train": 3})),
    row("pack-without-size", "data", "its images differ in size", "set data.image_size", "data={path: pictures}",
        plant=lambda w: pack(w, b"1234567890", image_size=None, storage="tfrecord")),
    row("function-not-there", "script", "my_set.py has no load", "define it there: def load()",
        "data={function: my_set:load}", plant=lambda w: w.write("my_set.py", "def lod():\n    pass\n")),
    row("function-module-not-there", "script", "data.function imports my_set, which the image does not have", "next to",
        "data={function: my_set:load}"),
    row("regression", "data", "30 rows for classes 0 to 900", "docs/my-data.md",
        plant=lambda w: w.stage(y_train=np.arange(30) * 900 // 29)),
    row("small-images", "data", "convolution 3 (kernel 5 and 2x2 pooling) gets 4x4 pixels",
        "smaller kernel_size",
        "model={name: cnn, filters: [8, 8, 8], kernel_size: 5}"),
    row("memory-for-data", "data", "the data need about 0.5 GB of memory, and the job has 0.1 GB",
        "resources.memory_gb=1",
        "resources.memory_gb=0.1"),
]  # fmt: skip

SCRIPTS = [
    row("syntax", "script", "program.py does not compile under the image's Python 3.*: line 1:", "py_compile",
        plant=lambda w: w.write("program.py", "print 'x'\n"), job="script.yaml"),
    row("import", "script", "program.py imports pandas_, which the image does not have", "next to the script",
        plant=lambda w: w.write("program.py", "import os\nimport pandas_\n"), job="script.yaml"),
    row("import-beside", "script", "helper.py imports pandas_", "next to the script", plant=lambda w: (
        w.write("program.py", "import helper\n"), w.write("helper.py", "from pandas_ import x\n")), job="script.yaml"),
    row("shadow", "script", "keras.py has the name of the module keras", "rename it", plant=lambda w: (
        w.write("program.py", "import keras\n"), w.write("keras.py", "")), job="script.yaml"),
    row("load-data", "script", "program.py:2: load_data gets a path, and Keras 3.15.0 refuses", "numpy.load",
        plant=lambda w: w.write("program.py", "import keras\nkeras.datasets.mnist.load_data(path='/d/mnist.npz')\n"),
        job="script.yaml"),
    row("lacking", "script", "program.py:2: tensorflow 2.21.0 has no tensorflow.no_such", "whose version has it",
        plant=lambda w: w.write("program.py", "import tensorflow as tf\ntf.no_such.thing()\n"), job="script.yaml"),
    row("lacking-since", "script", "program.py:2: numpy 2.0.1 has no numpy.float: it left with numpy 1.24; see float",
        "whose version has it", plant=old_numpy_name, job="script.yaml"),
    row("weights", "weights", "program.py:2: VGG16 uses ImageNet's weights, include_top=False, which are not in",
        "on a machine with internet: hpcdl data stage weights/VGG16 --data-root /",
        plant=lambda w: w.write("program.py",
            "from tensorflow.keras import applications as a\na.VGG16(include_top=False)\n"), job="script.yaml"),
    row("weights-of-other-size", "weights", "program.py:2: MobileNetV2 uses ImageNet's weights, include_top=False",
        "stage weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_96_no_top.h5 --data-root /",
        plant=smaller_weights, job="script.yaml"),
    row("weights-with-top", "weights", "MobileNetV2 uses ImageNet's weights, which are not in",
        "hpcdl data stage weights/MobileNetV2 --include-top --data-root",
        plant=weights_without_top, job="script.yaml"),
    row("function-module", "script", "model.function imports nets, which the image does not have", "next to",
        "model={function: 'nets:build'}"),
    row("function", "script", "nets.py has no build", "def build(input_shape, classes)",
        "model={function: 'nets:build'}",
        plant=lambda w: w.write("nets.py", "def make():\n    pass\n")),
]  # fmt: skip

HOST = [
    row("host-python-of-another-kind", "host Python", "arm is for aarch64, but the nodes are x86_64",
        "a login node with such a processor", "cluster.host_python={folder}/bin/arm", plant=arm_python, case="fault 3"),
    row("no-host-python", "host Python", "there is no /nowhere/python", "cluster.host_python=",
        "cluster.host_python=/nowhere/python"),
    row("bare-host-python", "host Python", "bare cannot run hpcdl's worker: .*No module named 'msgspec'",
        "bin/bare -m pip install /",
        "cluster.host_python={folder}/bin/bare", plant=lambda w: w.command(
            "bare", '#!/bin/sh\nexec python3 -I -S "$@"\n')),
    row("old-host-python", "host Python", "cannot run hpcdl's worker: it is Python 3.6", "-m pip install /",
        "cluster.host_python={folder}/bin/old",
        plant=lambda w: w.command("old", "#!/bin/sh\necho 'it is Python 3.6; expected 3.10 or newer' >&2; exit 1\n")),
    row("host-python-no-program", "host Python", "tf.sif cannot be executed", "permissions",
        "cluster.host_python={folder}/tf.sif"),
    row("host-module", "host Python", "modules cannot be loaded: no such module", "module avail",
        "cluster.modules=[tf]", "cluster.module_init={folder}/init.sh",
        plant=lambda w: w.write(
            "init.sh", 'module() { [ "$1" = purge ] || { echo no such module >&2; return 1; }; }\n')),
    row("host-python-loses-library", "host Python", "after source .*init.sh; module purge.*: cannot run after a purge",
        "cluster.host_modules", "cluster.modules=[tf]", "cluster.module_init={folder}/init.sh",
        "cluster.host_python={folder}/bin/venv", plant=lost_by_purge),
]  # fmt: skip

FILES = [
    row("runs-root-is-file", "file system", "but .*/tf.sif is a file", "--runs-dir",
        "cluster.runs_root={folder}/tf.sif/runs"),
    row("bind", "file system", "/nowhere does not exist, but the container is to show it", "binds",
        "cluster.binds=['/nowhere:/x']"),
    row("dangling-bind", "file system", "link is a link to /nowhere, which does not exist", "binds",
        "cluster.binds=['{folder}/link']", plant=lambda w: (w.folder / "link").symlink_to("/nowhere")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "cause", "fix", "sets", "plant", "job"),
    [*LIMITS, *IMAGES, *DATA, *SCRIPTS, *HOST, *FILES],
)
def test_mistake_is_found(world, check, cause, fix, sets, plant, job):
    plant(world)

    report = world.check(
        job, *(text.replace("{folder}", str(world.folder)) for text in sets), only=check
    )

    assert report.skipped == []
    assert report.blocks
    pattern = ".*".join(map(re.escape, cause.split(".*")))
    assert [
        finding
        for _, finding in report.findings
        if re.search(pattern, finding.cause) and fix in finding.fix
    ], report


def test_node_local_places(world, monkeypatch):
    monkeypatch.setattr(hostpython, "NODE_LOCAL", (str(world.folder),))
    world.command("python", "#!/bin/sh\n")

    python = world.check(
        "model.yaml", f"cluster.host_python={world.bin}/python", only="host Python"
    )
    runs = world.check("model.yaml", f"cluster.runs_root={world.folder}/runs", only="file system")

    assert "which the compute nodes do not share" in python.findings[0][1].cause
    assert "the compute nodes would not find the run" in runs.findings[0][1].cause


def test_full_file_system(world, monkeypatch):
    class Full:
        f_bavail, f_frsize, f_files, f_favail = 1000, 4096, 5000, 20

    monkeypatch.setattr("hpcdl.preflight.filesystem.os.statvfs", lambda path: Full)

    findings = [finding for _, finding in world.check(only="file system").findings]
    assert ["has 4 MB free" in findings[0].cause, findings[0].blocks] == [True, True]
    assert ["has room for only 20 more files" in findings[1].cause, findings[1].blocks] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("program", "part"),
    [
        (
            "import keras\nkeras.datasets.mnist.load_data(keras.path)\n",
            "program.py:2: load_data gets a path",
        ),
        ("def f():\n    import pandas_\n", "program.py imports pandas_"),
        ("import sys\nsys.path.append('x')\nimport pandas_\n", "program.py imports pandas_"),
        ("import random\n", "random.py has the name of the module random"),
    ],
)
def test_doubtful_program_gives_a_warning(world, program, part):
    """What may go well is a warning and does not block the submission."""
    world.write("program.py", program)
    world.write("random.py", "") if "random" in program else None

    report = world.check("script.yaml", only="script")

    assert not report.blocks
    assert [part in finding.cause for _, finding in report.findings] == [True]


@pytest.mark.cases("F18")
@pytest.mark.parametrize("time", ["00:00:30", "00:01:00"])
def test_limit_within_the_stop_margin(world, time):
    """A training would be asked to stop before its first step; a script may not even look for that."""
    (model,) = world.check("model.yaml", f"resources.time={time}", only="time").findings
    (script,) = world.check("script.yaml", f"resources.time={time}", only="time").findings

    assert f"resources.time is {time} and stop_margin_s is 60" in model[1].cause
    assert (
        "--set resources.time=00:02:00, or stop later: --set cluster.stop_margin_s=10"
        in model[1].fix
    )
    assert (model[1].blocks, script[1].blocks) == (True, False)
    for fine in ("resources.time=00:01:01", "cluster.stop_margin_s=10"):
        assert world.check("model.yaml", f"resources.time={time}", fine, only="time").findings == []


def test_missing_data_root_warns_for_scripts(world):
    """Only a script gets this warning from the check of the file systems."""
    (finding,) = world.check(
        "script.yaml", f"cluster.data_root={world.folder}/none", only="file system"
    ).findings

    assert f"there is no data_root {world.folder}/none" in finding[1].cause
    assert not finding[1].blocks
    assert (
        world.check(
            "model.yaml", f"cluster.data_root={world.folder}/none", only="file system"
        ).findings
        == []
    )


def test_unavailable_nodes_are_a_warning(world):
    """Nodes that are large enough but out of service may come back."""
    world.slurm(node=NODE.format("n1").replace("State=IDLE", "State=DOWN*+DRAIN"))

    report = world.check(only="size")
    assert not report.blocks
    assert report.findings[0][1].cause == "the nodes that are large enough are out of service (n1)"


@pytest.mark.cases("C47")
@pytest.mark.parametrize(
    "image", ["docker://a/b", "oras://a.b/c:d", "library://a/b", "https://a.b/c.sif"]
)
def test_addresses_are_not_images(world, image):
    """A job file with one is refused at once; the profile's is found by the check."""
    with pytest.raises(
        JobError, match=f"{image} is an address, and jobs run a local file: pull it once"
    ):
        load_job(world.folder / "model.yaml", [f"container='{image}'"])


@pytest.mark.cases("C47")
def test_sandbox_gets_build_command(world, cli):
    (world.folder / "box" / ".singularity.d").mkdir(parents=True)

    answer = cli("image", "inspect", world.folder / "box")
    assert answer.code == 2 and f"apptainer build box.sif {world.folder}/box" in answer.err
