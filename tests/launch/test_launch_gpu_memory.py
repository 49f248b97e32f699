"""Shares of a GPU's memory, with a stand-in for nvidia-smi: no machine of the tests has a GPU."""

from __future__ import annotations

import os

import pytest

from hpcdl.errors import RunError
from hpcdl.launch.gpu_memory import gpu_memory_mb, memory_share_mb


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Makes an nvidia-smi that prints these words and ends with this status."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(words, status=0):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{words}'\nexit {status}\n")
        program.chmod(0o755)

    return make


def test_equal_shares_of_smallest_gpu(nvidia_smi):
    nvidia_smi("81559\\n65536\\n")

    assert gpu_memory_mb() == [81559, 65536]
    assert memory_share_mb(4) == 65536 // 4 - 1024


def test_too_many_trials_are_refused(nvidia_smi):
    nvidia_smi("16384\\n")

    assert memory_share_mb(8) == 1024
    with pytest.raises(RunError, match=r"leaves 796 MiB .* use trials_per_gpu: 8 or less"):
        memory_share_mb(9)


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("NVIDIA-SMI has failed", 9, "says: NVIDIA-SMI has failed"),
        ("[N/A]\\n", 0, r"says: \[N/A\]"),
        ("", 0, "try it in a job on that node"),
    ],
)
def test_unknown_memory_is_an_error(nvidia_smi, words, status, reason):
    nvidia_smi(words, status)

    with pytest.raises(RunError, match=reason):
        gpu_memory_mb()


def test_missing_nvidia_smi_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RunError, match=r"nvidia-smi .*No such file"):
        memory_share_mb(2)


def test_parts_of_gpus_are_refused(nvidia_smi, monkeypatch):
    nvidia_smi("81559\\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-41b36014")

    with pytest.raises(RunError, match="trials_per_gpu: 1"):
        memory_share_mb(2)
