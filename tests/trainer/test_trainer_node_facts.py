"""What a node shows to `hpcdl cluster test`: each value by itself, and what is missing hides nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hpcdl.trainer.node_facts import node_facts, write_facts

SMI = """#!/bin/sh
[ "$1" ] && echo "535.86.10, NVIDIA H100" && echo "535.86.10, NVIDIA H100" && exit
echo "| NVIDIA-SMI 535.86.10   Driver Version: 535.86.10   CUDA Version: 12.2 |"
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("tmp", "data/deep", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data" / "deep" / "set.npz").write_bytes(bytes(3 << 20))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("HPCDL_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


def test_driver_and_gpus_are_listed(node: Path) -> None:
    smi = node / "bin" / "nvidia-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    facts = node_facts(time.time())

    assert facts["smi"] == ["NVIDIA H100"] * 2
    assert (facts["driver"], facts["driver_cuda"]) == ("535.86.10", "12.2")


def test_data_and_scratch_are_measured(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_GPUS", "2,3")
    facts = node_facts(5.0)
    write_facts(str(node / "site.json"), facts)

    assert facts["data_root"]["read_mb"] == 3
    assert facts["scratch"]["mb_per_s"] > 0
    assert list((node / "tmp").iterdir()) == []
    content = json.loads((node / "site.json").read_text())
    assert content["started"] == 5.0
    assert content["variables"]["SLURM_JOB_GPUS"] == "2,3"
    assert content["driver"] is None


def test_missing_folders_have_an_error(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(node / "nowhere"))
    monkeypatch.setenv("HPCDL_DATA_ROOT", str(node / "none"))
    facts = node_facts(time.time())

    assert facts["scratch"] == {"error": "No such file or directory"}
    assert facts["data_root"] == {"error": f"{node}/none: No such file or directory"}
