"""The machine with GPUs, what is trained on it once for all tests, and the report of what was seen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hpcdl import __version__
from tests.gpu.machine import Gpu, Machine, Training, find_gpus

_REPORT: dict[str, Any] = {}


@pytest.fixture(scope="session")
def emulated() -> int:
    """How many CPU devices stand in for GPUs; 0 where these tests are about real ones."""
    return int(os.environ.get("HPCDL_TEST_EMULATED_GPUS", "0"))


@pytest.fixture(scope="session")
def gpus(emulated: int) -> list[Gpu]:
    found = find_gpus()
    if not found and not emulated:
        pytest.skip("there is no GPU: nvidia-smi lists none")
    return found


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, gpus: list[Gpu], emulated: int) -> Machine:
    folder = tmp_path_factory.mktemp("gpu")
    image = os.environ.get("HPCDL_TEST_GPU_IMAGE", "")
    _REPORT["hpcdl"], _REPORT["image"] = __version__, image
    _REPORT["gpus"] = [vars(gpu) for gpu in gpus]
    return Machine(folder, len(gpus) or emulated, image, bool(emulated))


@pytest.fixture(scope="session")
def train(machine: Machine):
    """Trains each way once, and notes it for the report."""
    trained: dict[str, Training] = {}

    def once(name: str, **settings: Any) -> Training:
        if name not in trained:
            trained[name] = machine.train(name, **settings)
            result = trained[name].result
            keys = ("devices", "precision", "jit", "test", "timing", "versions", "warnings")
            _REPORT[name] = {key: result[key] for key in keys}
            _REPORT[name]["most_used_mb"] = trained[name].most_used_mb
        return trained[name]

    return once


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was seen: this is the file to send."""
    if _REPORT and not os.environ.get("HPCDL_TEST_EMULATED_GPUS"):
        path = Path(session.config.rootpath, "gpu-report.json")
        path.write_text(json.dumps(_REPORT, indent=2) + "\n")
        print(f"\nwhat was seen on the GPUs: {path}")
