"""A run that a cluster has trained, made by hand, and images to predict with its model."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.files import write_json, write_text
from hpcdl.job import load_job
from hpcdl.run import Run
from hpcdl.submission import create
from hpcdl.submission.prepare import prepare

PROFILE = Path(__file__).parents[1] / "testbed" / "testbed.yaml"
JOB = """
name: hands
resources: {gpus: 2, time: "20:00:00"}
data: {path: data.npz}
model: {name: mlp, dense: [4]}
train: {epochs: 1}
env: {NCCL_DEBUG: INFO}
slurm: {constraint: h100}
"""
RESULT: dict[str, Any] = {
    "state": "done",
    "model": {
        "name": "mlp",
        "parameters": 9,
        "trainable_parameters": 9,
        "file": "model/model.keras",
        "input": {"shape": [8, 8, 3], "dtype": "float32", "range": [0, 255]},
        "output": "softmax",
        "needs": [],
    },
    "data": {
        "rows_train": 9, "rows_validation": 0, "rows_test": 9,
        "image_shape": [8, 8, 3], "classes": 2, "class_names": ["cat", "dog"],
    },
}  # fmt: skip
Make = Callable[..., Run]


def png(width: int = 8, height: int = 8) -> bytes:
    """A black image."""
    chunks = [b"\x89PNG\r\n\x1a\n"]
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(height * (3 * width + 1)))
    for name, content in ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b"")):
        checksum = zlib.crc32(name + content)
        chunks.append(struct.pack(">I", len(content)) + name + content)
        chunks.append(struct.pack(">I", checksum))
    return b"".join(chunks)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "new images"
    folder.mkdir()
    (folder / "a.png").write_bytes(png())
    (folder / "b.PNG").write_bytes(png(20, 30))
    return folder


@pytest.fixture
def done(write_job: Any, tmp_path: Path) -> Make:
    """Makes a run that a cluster has trained; `changes` are keys of its result."""

    def make(text: str = JOB, **changes: Any) -> Run:
        job = load_job(write_job(text))
        prepared = prepare(job, load_cluster(str(PROFILE)), runs_dir=str(tmp_path / "runs"))
        paths = prepared.paths
        create.create(paths, prepared.job, prepared.plan, prepared.spec, ["hpcdl"])
        write_text(paths.script, prepared.script or "")
        events = [
            {"event": "start", "attempt": 1, "time": 1.0},
            {"event": "end", "attempt": 1, "time": 2.0, "reason": "done"},
        ]
        write_text(paths.attempts, "".join(json.dumps(event) + "\n" for event in events))
        write_json(paths.result, {**RESULT, "attempts": [], **changes})
        (paths.root / "model").mkdir()
        (paths.root / "model/model.keras").write_bytes(b"weights")
        return Run(paths.root)

    return make
