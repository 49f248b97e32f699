"""Runs on this machine, for real: `hpcdl submit --backend local` of small scripts, and what can be seen of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Wait until a condition holds, and give what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return value


def alive_in_group(group: int) -> list[int]:
    """The processes of a group that have not ended; a zombie has."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@dataclass
class LocalRun:
    """A run of this machine, seen from outside."""

    path: Path

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())

    def lines(self, name: str) -> list[Any]:
        path = self.path / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, attempt: int = 1) -> str:
        path = self.path / "logs" / f"{attempt}.log"
        return path.read_text() if path.exists() else ""

    @property
    def group(self) -> int:
        """Its worker's process group."""
        return int(self.json("submitted.json")["pid"])

    def until_log(self, text: str) -> None:
        until(lambda: text in self.log())

    until = staticmethod(until)

    def alive(self) -> list[int]:
        return alive_in_group(self.group)


@dataclass
class Machine:
    """A user's folder on this machine, with job files, data and runs."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def argv(self, *argv: object) -> list[str]:
        return [sys.executable, "-m", "hpcdl", *map(str, argv)]

    def hpcdl(self, *argv: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*argv),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def start(self, *argv: object) -> subprocess.Popen[str]:
        """Start a command line as the leader of a group, as a terminal does."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.argv(*argv),
            cwd=self.folder,
            env=self.environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
            # A terminal's programs heed Ctrl-C, also where the tests themselves were started to ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def job(self, script: str, **keys: Any) -> list[str]:
        """A script job, as the arguments of `hpcdl submit`."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "a.py").write_text(script)
        job = {"name": "a", "script": "a.py", "resources": {"gpus": 0}, **keys}
        (self.folder / "job.yaml").write_text(yaml.safe_dump(job, allow_unicode=True))
        (self.folder / "data" / "models").mkdir(parents=True, exist_ok=True)
        data_root = f"cluster.data_root={self.folder}/data"
        return [
            "submit",
            "job.yaml",
            "--backend",
            "local",
            "--runs-dir",
            "runs",
            "--set",
            data_root,
        ]

    def submit(self, script: str, *options: str, **keys: Any) -> LocalRun:
        """Submit a script; stdout is the run's path alone."""
        done = self.hpcdl(*self.job(script, **keys), *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        return LocalRun(Path(done.stdout.rstrip("\n")))

    def runs(self) -> list[LocalRun]:
        return [
            LocalRun(path.parent)
            for path in sorted(self.folder.glob("runs/[!.]*/[!.]*/submitted.json"))
        ]

    def until_run(self) -> LocalRun:
        """Wait for the first run."""
        first: LocalRun = until(self.runs)[0]
        return first

    def end_all(self) -> None:
        for run in self.runs():
            if run.alive():
                os.killpg(run.group, signal.SIGKILL)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.end_all()


@pytest.fixture(scope="module")
def hostile_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A user whose folders have names that bash would tear apart."""
    made = Machine(
        tmp_path_factory.mktemp("machine") / 'it\'s "a" $(touch pwned); `touch pwned` & *'
    )
    made.folder.mkdir()
    yield made
    made.end_all()
