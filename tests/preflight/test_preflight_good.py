"""Jobs that could run: nothing is found, and what cannot be looked at here refuses nothing."""

from __future__ import annotations

from datetime import datetime

import pytest

from hpcdl.preflight.trial import would_start
from tests.preflight.conftest import ASSOCIATIONS, CONFIG, NODE, PARTITION

LIMITS = ("account", "partition", "QoS", "time", "size")
MANY = "import json\ntry:\n    import cupy\nexcept ImportError:\n    cupy = None\nimport helper\nfrom package import x\n"


@pytest.mark.parametrize(
    ("job", "sets"),
    [
        ("model.yaml", ()),
        ("script.yaml", ()),
        ("model.yaml", ("cluster.qos=normal", "resources.time=3-00:00:00")),
        ("model.yaml", ("resources.time=02:00:00",)),
        ("model.yaml", ("resources.gpus=4", "resources.cpus=80")),
        ("model.yaml", ("cluster.qos=small", "resources.gpus=2")),
        ("model.yaml", ("cluster.memory_request=mem", "resources.memory_gb=400")),
        ("model.yaml", ("resources.gpus=0",)),
        ("model.yaml", ("cluster.partition=acc",)),
        ("model.yaml", ("model={name: cnn, filters: [8, 8]}",)),
        (
            "model.yaml",
            (
                "model={name: mlp, dense: [64, 64], dropout: 0.2}",
                "train={optimizer: sgd, epochs: 50}",
            ),
        ),
        (
            "model.yaml",
            ("data.validation_split=0.2", "train={early_stopping: {monitor: val_loss}}"),
        ),
        ("model.yaml", ("cluster.gpu_request=gpus-per-node", "cluster.memory_request=mem-per-gpu")),
        ("model.yaml", ("cluster.account=null", "cluster.qos=null")),
        ("model.yaml", ("slurm={mail-type: END, comment: night run}",)),
        ("model.yaml", ("cluster.requeue=false", "cluster.max_requeues=3")),
        (
            "model.yaml",
            (
                "data={path: data/tiny.npz}",
                "resources.memory_gb=16",
                "cluster.memory_request=mem-per-cpu",
            ),
        ),
        ("model.yaml", ("data={path: pictures}",)),
        ("model.yaml", ("data={function: my_set:load, args: {n: 3}}",)),
        ("script.yaml", ("args=[a, b]", "env={GREETING: hello}")),
        ("script.yaml", ("workdir=data", "stop_signal=USR1")),
        pytest.param(
            "script.yaml",
            ("cluster.binds=[/usr/share]", "env={PYTHONPATH: /usr/share}"),
            marks=pytest.mark.tensorflow,  # imported by this Python, which stands in for the image's
        ),
    ],
)
def test_good_jobs_have_no_findings(world, job, sets):
    world.pictures()
    world.write("my_set.py", "def load(n):\n    pass\n")
    report = world.check(job, *sets)

    assert (report.findings, report.skipped) == ([], [])
    assert any(note.startswith("would start ") for note in report.notes)
    assert "TensorFlow 2.21.0, Keras 3.15." in " ".join(report.notes)


def test_sbatch_tests_the_exact_script(world):
    world.check()

    tried = (world.folder / "tried").read_text()
    assert tried.startswith("#!/bin/bash\n# a on here: 1 node, 1 GPU")
    assert "#SBATCH --qos=acc_debug\n" in tried


def test_optional_and_local_imports_pass(world):
    """Imports that may fail, and modules next to the script, are not findings."""
    world.write("program.py", MANY)
    world.write("helper.py", "import numpy\n")
    (world.folder / "package").mkdir()
    world.write("package/__init__.py", "x = 1\n")

    assert world.check("script.yaml", only="script").findings == []


def test_staged_or_unused_weights_pass(world):
    world.weights("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5")
    world.write(
        "program.py",
        "from tensorflow.keras.applications import MobileNetV2, VGG16\n"
        "MobileNetV2(include_top=False)\nVGG16(weights=None)\nVGG16(weights='my.h5')\n",
    )

    assert world.check("script.yaml", only="weights").findings == []


def test_slurm_estimate_is_readable():
    now = datetime(2026, 11, 21, 14, 2, 10)

    def told(*when):
        return would_start(datetime(*when), now)

    assert told(2026, 11, 21, 14, 2, 30) == told(2026, 11, 21, 14, 0, 0) == "would start now"
    assert told(2026, 11, 21, 14, 5, 0) == "would start about 14:05, in 3 min (SLURM's estimate)"
    assert (
        told(2026, 11, 21, 16, 7, 10) == "would start about 16:07, in 2 h 5 min (SLURM's estimate)"
    )
    assert (
        told(2026, 11, 23, 15, 2, 10)
        == "would start about 2026-11-23 15:02, in 2 d 1 h (SLURM's estimate)"
    )


def test_set_without_checksums(world):
    world.stage("byhand", sums=False)

    assert world.check("model.yaml", "data.name=byhand", only="data").findings == []


def test_site_without_accounting(world):
    world.slurm(config="AccountingStorageEnforce = none\nClusterName = x", associations="")

    for check in LIMITS:
        report = world.check("model.yaml", "cluster.account=any", "cluster.qos=any", only=check)
        assert (report.findings, report.skipped) == ([], [])


def test_limits_that_are_not_enforced(world):
    world.slurm(config=CONFIG.replace("associations,limits,qos", "associations"))

    assert world.check("model.yaml", "resources.time=10:00:00", only="time").findings == []


def test_qos_overrides_partition_time_limit(world):
    world.slurm(
        qos="acc_debug|||||PartitionTimeLimit", partition=PARTITION.replace("3-00:00:00", "30:00")
    )

    assert world.check(only="time").findings == []


def test_qos_limit_beats_account_limit(world):
    world.slurm(associations=f"{ASSOCIATIONS}00:30:00")

    assert world.check(only="time").findings == []


def test_powered_down_node_is_usable(world):
    world.slurm(node=NODE.format("n1").replace("State=IDLE", "State=IDLE+POWERED_DOWN"))

    assert world.check(only="size").findings == []


def test_silent_slurm_refuses_nothing(world):
    for name in ("scontrol", "sbatch"):
        world.command(
            name,
            "#!/bin/sh\necho 'Unable to contact slurm controller (connect failure)' >&2\nexit 1\n",
        )

    report = world.check()
    assert report.findings == []
    skipped = dict(report.skipped)
    assert {*skipped} == {"account", "partition", "QoS", "time", "size", "sbatch --test-only"}
    assert "connect failure" in skipped["account"]


def test_no_container_command_here(world):
    (world.bin / "container").unlink()

    report = world.check()
    assert report.findings == []
    assert report.skipped == [("image", "there is no container command on this machine")]


def test_image_is_inspected_once(world):
    world.check("script.yaml")
    world.command("container", "#!/bin/sh\nexit 1\n")

    report = world.check("script.yaml")
    assert (report.findings, report.skipped) == ([], [])


def test_changed_script_is_checked_again(world):
    world.check("script.yaml")
    world.write("program.py", "print 'old'\n")

    assert [name for name, _ in world.check("script.yaml").findings] == ["script"]


def test_refusal_is_not_cached(world):
    assert world.check("model.yaml", "cluster.account=nct01").blocks
    world.slurm(associations="nct01|acc_debug|acc_debug||")

    assert world.check("model.yaml", "cluster.account=nct01").findings == []
