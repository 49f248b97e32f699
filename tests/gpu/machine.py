"""The machine that the GPU tests run on: its GPUs, and the trainings that they are asked for."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SMI_FIELDS = ("index", "name", "driver_version", "memory.total", "memory.used")
MEMORY_EVERY_S = 0.5


@dataclass(frozen=True)
class Gpu:
    """One GPU, as nvidia-smi tells of it; memory in MiB."""

    index: int
    name: str
    driver: str
    total_mb: float
    used_mb: float


@dataclass
class Training:
    """One training that ended: its result, its lines of metrics and its log.

    Args:
        result: of result.json.
        epochs: the lines of metrics.jsonl.
        log: the trainer's.
        most_used_mb: the most memory that was in use on each GPU meanwhile, by its index.
    """

    result: dict[str, Any]
    epochs: list[dict[str, Any]]
    log: str
    most_used_mb: dict[int, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        return float(self.result["test"]["accuracy"])


def read_gpus(text: str) -> list[Gpu]:
    """The GPUs in the output of nvidia-smi with `SMI_FIELDS`, as CSV without head and units."""
    gpus = []
    for index, name, driver, total, used in csv.reader(text.splitlines(), skipinitialspace=True):
        gpus.append(Gpu(int(index), name, driver, float(total), float(used)))
    return gpus


def find_gpus() -> list[Gpu]:
    """This machine's GPUs that CUDA_VISIBLE_DEVICES leaves; none without nvidia-smi."""
    argv = ["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    gpus, visible = read_gpus(done.stdout), os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not all(word.isdigit() for word in visible.split(",")):
        return gpus
    numbers = [int(word) for word in visible.split(",")]
    return [gpu for gpu in gpus if gpu.index in numbers]


def memory_while(running: subprocess.Popen[str]) -> dict[int, float]:
    """The most memory in use on each GPU, in MiB, until a program ends."""
    most: dict[int, float] = {}
    while running.poll() is None:
        for gpu in find_gpus():
            most[gpu.index] = max(most.get(gpu.index, 0.0), gpu.used_mb)
        time.sleep(MEMORY_EVERY_S)
    return most


class Machine:
    """Trains jobs with hpcdl on this machine.

    Args:
        folder: for the runs.
        gpus: how many it has.
        image: a container image to train in; without it, this Python's TensorFlow trains.
        emulated: whether CPU devices stand in for the GPUs, to try these tests themselves.
    """

    def __init__(self, folder: Path, gpus: int, image: str = "", emulated: bool = False) -> None:
        self.folder, self.gpus, self.emulated = folder, gpus, emulated
        site: dict[str, Any] = {
            "name": "this-machine",
            "data_root": str(folder),
            "runs_root": str(folder / "runs"),
            "node": {"cpus": os.cpu_count() or 1, "gpus": max(1, gpus), "memory_gb": 32},
        }
        if emulated:
            site["emulate_gpus"] = True
        if image:
            site["images"] = {"tensorflow": os.path.abspath(image)}
        (folder / "site.yaml").write_text(yaml.safe_dump(site))
        self._hpcdl("data", "stage", "digits", "--data-root", str(folder))

    def train(
        self, name: str, gpus: int = 1, env: dict[str, str] | None = None, **train: Any
    ) -> Training:
        """One training of the digits that come with scikit-learn, to its end.

        Raises:
            AssertionError: it failed; with what it said.
        """
        job = {
            "name": name,
            "resources": {"gpus": gpus, "time": "00:10:00"},
            "data": {"name": "digits"},
            "model": {"name": "cnn", "filters": [32, 64], "kernel_size": 3, "dense": [128]},
            "train": {"epochs": 8, "batch_size": 64, "seed": 1, **train},
            "test": {"explain": "none"},
            "env": env or {},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(job))
        words = ("submit", str(path), "--cluster", str(self.folder / "site.yaml"))
        running = self._start(*words, "--backend", "local", "--wait")
        most: dict[int, float] = {}
        watching = threading.Thread(target=lambda: most.update(memory_while(running)))
        watching.start()
        output, _ = running.communicate(timeout=600)
        watching.join()
        assert running.returncode == 0, output
        run = max((self.folder / "runs" / name).iterdir())
        lines = (run / "metrics.jsonl").read_text().splitlines()
        result = json.loads((run / "result.json").read_text())
        log = "".join(file.read_text() for file in sorted((run / "logs").glob("*.log")))
        return Training(result, [json.loads(line) for line in lines], log, most)

    def _hpcdl(self, *words: str) -> None:
        process = self._start(*words)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output

    def _start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "hpcdl", *words], cwd=self.folder, text=True, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
