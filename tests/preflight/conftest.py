"""A small site in a folder: SLURM's commands say what a real one said, and a container command runs this Python."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.files import sha256_file
from hpcdl.job import load_job
from hpcdl.preflight import Report, Subject, check, hostpython
from hpcdl.preflight.all_checks import CHECKS, check_all
from hpcdl.submission.prepare import prepare

# Said by SLURM 22.05 (scontrol and sacctmgr of the test bed), shortened
PARTITION = (
    "PartitionName=acc AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A "
    "DefaultTime=NONE MaxNodes=UNLIMITED MaxTime=3-00:00:00 MinNodes=0 Nodes=n[1-4] State=UP TotalCPUs=320 "
    "TotalNodes=4 DefMemPerNode=UNLIMITED TRES=cpu=320,mem=2000000M,node=4,billing=320,gres/gpu=16"
)
NODE = (
    "NodeName={} Arch=x86_64 CoresPerSocket=40  CPUAlloc=20 CPUEfctv=80 CPUTot=80 CPULoad=3.43 "
    "AvailableFeatures=(null) Gres=gpu:4 NodeAddr=127.0.0.1 Version=22.05.8 "
    "OS=Linux 6.18.44-fc-v657 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=500000 AllocMem=0 FreeMem=19258 "
    "State=IDLE ThreadsPerCore=1 Owner=N/A Partitions=acc  BootTime=2026-11-21T08:59:03 CfgTRES=cpu=80,mem=500000M"
)
CONFIG = "AccountingStorageEnforce = associations,limits,qos\nClusterName             = testbed"
QOS = "normal|||||\nacc_debug|02:00:00||||\nsmall|||gres/gpu=2||\nhigh|||||"
ASSOCIATIONS = "nct00|acc_debug,normal,small|normal||"
STARTS = (
    "sbatch: Job 7 to start at 2026-11-21T14:05:00 using 20 processors on nodes n1 in partition acc"
)

RUNTIME = """#!/bin/sh
# Everything up to `env` is about the image.
while [ "$1" != env ]; do shift; done
PYTHONPATH={stubs}${{PYTHONPATH:+:$PYTHONPATH}}
export PYTHONPATH
exec "$@"
"""
# A module that has every name but those that no version had
STUB = """__version__ = {version!r}
class Anything:
    def __getattr__(self, name):
        if name.startswith(("_", "no_such")):
            raise AttributeError(name)
        return self
__getattr__ = Anything().__getattr__
"""
PROFILE = """name: here
node: {{cpus: 80, gpus: 4, memory_gb: 488}}
account: nct00
qos: acc_debug
runtime: container
images: {{tensorflow: {{path: "{folder}/tf.sif", python: {python}}}}}
data_root: {folder}/data
runs_root: {folder}/runs
"""
MODEL = 'name: a\nresources: {gpus: 1, time: "01:00:00"}\ndata: {name: tiny}\nmodel: {name: mlp}\n'
SCRIPT = 'name: a\nresources: {gpus: 1, time: "01:00:00"}\nscript: program.py\n'


def sif(architecture: bytes = b"02", data: int = 100) -> bytes:
    """A SIF file's header, and data."""
    magic = bytes(32) + b"SIF_MAGIC\0" + b"01\0" + architecture + b"\0" + bytes(16)
    return magic + struct.pack("<8q", 0, 0, 47, 48, 128, 0, 128, data) + bytes(data)


class World:
    """A site and a user's files on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.data = folder, folder / "bin", folder / "data"
        for path in (self.bin, self.data, folder / "stubs"):
            path.mkdir()
        self.stub(tensorflow="2.21.0", keras="3.15.0", numpy="2.0.1")
        self.command("container", RUNTIME.format(stubs=folder / "stubs"))
        self.slurm()
        self.write("tf.sif", sif())
        self.write("site.yaml", PROFILE.format(folder=folder, python=sys.executable))
        self.write("model.yaml", MODEL)
        self.write("script.yaml", SCRIPT)
        self.write("program.py", "import json\nimport tensorflow\n")
        self.stage()

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def command(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def stub(self, **modules: str) -> None:
        """What the image's Python imports: modules of some version, or that raise."""
        for name, version in modules.items():
            text = version if "\n" in version else STUB.format(version=version)
            (self.folder / "stubs" / f"{name}.py").write_text(text)

    def slurm(
        self, partition: str = PARTITION, node: str | None = None, config: str = CONFIG, qos: str = QOS,
        associations: str = ASSOCIATIONS, sbatch: str = f"echo '{STARTS}' >&2",
    ) -> None:  # fmt: skip
        """What SLURM's commands say."""
        nodes = node or "\n".join(NODE.format(f"n{i}") for i in range(1, 5))
        show = f"case $3$2 in *partition*) cat <<'.'\n{partition}\n.\n;; *node*) cat <<'.'\n{nodes}\n.\n;;"
        self.command("scontrol", f"#!/bin/sh\n{show} *) cat <<'.'\n{config}\n.\nesac\n")
        told = f"case $* in *'show qos'*) cat <<'.'\n{qos}\n.\n;; *) cat <<'.'\n{associations}\n.\nesac\n"
        self.command("sacctmgr", f"#!/bin/sh\n{told}")
        self.command("sbatch", f"#!/bin/sh\ncat >{self.folder}/tried\n{sbatch}\n")

    def pictures(self) -> Path:
        """A folder of images of two classes, nine each; they have heads alone."""
        top = self.folder / "pictures"
        head = (
            b"\x89PNG\r\n\x1a\n"
            + bytes([0, 0, 0, 13])
            + b"IHDR"
            + struct.pack(">II", 4, 4)
            + b"..IEND"
        )
        for name in ("a", "b"):
            (top / name).mkdir(parents=True)
            for number in range(9):
                (top / name / f"{number}.png").write_bytes(head)
        return top

    def weights(self, name: str) -> None:
        """A file of weights among the staged ones."""
        (self.data / "models").mkdir()
        (self.data / "models" / name).touch()

    def stage(self, name: str = "tiny", sums: bool = True, **changes: object) -> Path:
        """A data set of three classes, with some of its arrays changed (None: left out)."""
        import numpy as np

        arrays: dict[str, Any] = {
            "x_train": np.zeros((30, 28, 28), np.uint8), "y_train": np.arange(30) % 3,
            "x_test": np.zeros((6, 28, 28), np.uint8), "y_test": np.arange(6) % 3,
        }  # fmt: skip
        for images in ("x_train", "x_test"):
            arrays[images][:, 0] = 255  # white: images that are black throughout would be doubted
        arrays.update(changes)
        path = self.data / f"{name}.npz"
        given: dict[str, Any] = {
            key: np.asarray(value) for key, value in arrays.items() if value is not None
        }
        np.savez(path, **given)
        if sums:
            path.with_name(f"{path.name}.sha256").write_text(f"{sha256_file(path)}  {path.name}\n")
        return path

    def check(self, job: str = "model.yaml", *sets: str, only: str | None = None) -> Report:
        """What the checks find, or one of them."""
        loaded = load_job(
            self.folder / job, [text for text in sets if not text.startswith("cluster.")]
        )
        cluster = load_cluster(
            str(self.folder / "site.yaml"), [text for text in sets if text.startswith("cluster.")]
        )
        subject = Subject(prepare(loaded, cluster), cluster)
        if only is None:
            return check_all(subject)
        (named,) = (each for each in CHECKS if each.name == only)
        return check(subject, [(named.name, named.check)])


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.setattr(hostpython, "NODE_LOCAL", ("/local",))  # tests have their folders in /tmp
    return made
