"""What a node shows to `hpcdl cluster test`: each value by itself, and what is missing hides nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hpcdl.trainer import node_facts as module
from hpcdl.trainer.node_facts import node_facts, write_facts

SMI = """#!/bin/sh
[ "$1" ] && echo "535.86.10, NVIDIA H100" && echo "535.86.10, NVIDIA H100" && exit
echo "| NVIDIA-SMI 535.86.10   Driver Version: 535.86.10   CUDA Version: 12.2 |"
"""


NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root, as whom the tests may run, can read all files."""
    own = os.geteuid()
    os.seteuid(own or NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)


def facts_of_data(node: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an ordinary user's job sees of the data."""
    monkeypatch.chdir(node)
    monkeypatch.setenv("HPCDL_DATA_ROOT", "data")
    node.chmod(0o755)
    with ordinary_user():
        return dict(node_facts(time.time())["data_root"])


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


def test_others_files_are_passed_over(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """data_root is shared: somebody's private folder there breaks nothing."""
    data = node / "data"
    (data / "private").mkdir(mode=0)
    (data / "private.npz").write_bytes(bytes(5 << 20))
    (data / "private.npz").chmod(0)
    (data / "loop").symlink_to("loop")
    (data / "gone").symlink_to("nowhere")
    facts = facts_of_data(node, monkeypatch)

    assert (facts["read_mb"], facts["closed"]) == (3, 3)


@pytest.mark.parametrize("mode", [0, 0o444])
def test_closed_data_root_is_named(node: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """With the right to list it alone, nothing in it can be read."""
    (node / "data").chmod(mode)
    facts = facts_of_data(node, monkeypatch)
    (node / "data").chmod(0o755)

    assert facts == {"error": "data: Permission denied"}


def test_enough_data_opens_no_more(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_READ_MB", 2)
    small = node / "data" / "small.npz"
    small.write_bytes(b"x")
    small.chmod(0)
    facts = facts_of_data(node, monkeypatch)

    assert (facts["read_mb"], facts["closed"]) == (3, 0)
