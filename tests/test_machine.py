"""A user's own machine that is not like a node: macOS lacks some of Linux's calls."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from hpcdl.contract import machine
from hpcdl.launch import memory, node_checks, processes

LIKE_MACOS = "import os; del os.sched_getaffinity; "


def test_cpus_with_and_without_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5}, raising=False)
    assert machine.cpus() == 3

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert machine.cpus() == 7


def test_no_module_needs_affinity_on_import():
    modules = "hpcdl.staging.pack, hpcdl.launch.node_checks, hpcdl.submission.send, hpcdl.contract.machine"
    subprocess.run([sys.executable, "-c", f"{LIKE_MACOS} import {modules}"], check=True)


def test_node_check_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")

    assert list(node_checks._cpus(SimpleNamespace(cpus=4))) == []  # type: ignore[arg-type]


def test_child_without_prctl(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())

    processes.die_with_parent()


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_memory_in_the_systems_unit(monkeypatch, platform, unit):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(
        "resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=3 * 1024**3 // unit)
    )

    assert memory.peak_memory_gb() == 3.0
