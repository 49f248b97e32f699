"""The test bed as fixtures: a login shell of its ordinary user, a folder on its shared file system, its profile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRATCH = Path("/gpfs/scratch/nct00")
IMAGES = SCRATCH / "images"
VENV = Path("/opt/hpcdl-testbed/venv/bin")
LOGIN = {
    "PATH": f"{VENV}:/usr/local/bin:/usr/bin:/bin",
    "HOME": "/home/hpcuser",
    "USER": "hpcuser",
    "LOGNAME": "hpcuser",
    "LANG": "C.UTF-8",
}


@dataclass
class Bed:
    """A login shell of hpcuser, in a new folder on the shared file system."""

    folder: Path
    profile: Path
    runs: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(LOGIN))

    def command(self, *argv: object) -> list[str]:
        pairs = [f"{key}={value}" for key, value in self.environment.items()]
        return ["runuser", "-u", "hpcuser", "--", "env", "-i", *pairs, *map(str, argv)]

    def run(
        self, *argv: object, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as hpcuser; check that it succeeds."""
        done = subprocess.run(
            self.command(*argv),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert not check or done.returncode == 0, (
            f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def start(self, *argv: object) -> subprocess.Popen[str]:
        """Start a command as hpcuser, its output piped."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*argv), cwd=self.folder, stdout=pipe, stderr=pipe, text=True
        )

    def submit(self, job: object, *options: object) -> Run:
        """`hpcdl submit`: the run whose path is all of stdout."""
        done = self.run(
            "hpcdl", "submit", job, "--cluster", self.profile, "--runs-dir", self.runs, *options
        )
        assert done.stdout.count("\n") == 1, done.stdout
        return Run(self, Path(done.stdout.rstrip("\n")))

    def write(self, name: str, text: str) -> Path:
        """A file of hpcuser's in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        shutil.chown(path, "hpcuser")
        return path


@dataclass
class Run:
    """A submitted run, seen from the login node."""

    bed: Bed
    path: Path

    def json(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.path / name).read_text())
        return value

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.path / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def status(self) -> dict[str, Any]:
        rows = json.loads(self.bed.run("hpcdl", "status", self.path, "--json").stdout)
        status: dict[str, Any] = rows[0]
        return status

    def wait(self) -> dict[str, Any]:
        """Wait for its end; its result."""
        self.bed.run("hpcdl", "wait", self.path, check=False)
        return self.json("result.json")

    def log(self, attempt: int = 1) -> str:
        return (self.path / f"logs/{attempt}.log").read_text()

    @property
    def job_id(self) -> str:
        return str(self.json("submitted.json")["job_id"])


def until(condition: Any, timeout_s: float = 120.0) -> Any:
    """Wait until a condition holds, and give what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.3)
    return value


def start_again(run: Run) -> None:
    """Start a requeued job now: SLURM holds it back for a while, so that the nodes are done with its last attempt."""

    def held() -> bool:
        argv = ["squeue", "--noheader", "--format=%T %r", f"--jobs={run.job_id}"]
        return (
            subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            == "PENDING BeginTime\n"
        )

    until(held)
    time.sleep(2)
    # It may have started by itself meanwhile.
    run.bed.run("scontrol", "update", f"JobId={run.job_id}", "StartTime=now", check=False)


def site_packages() -> str:
    """Where the login node's Python keeps packages, below its environment or ~/.local: lib/python3.11/site-packages."""
    asks = (
        "import sys, sysconfig; print(sysconfig.get_path('purelib').removeprefix(sys.prefix + '/'))"
    )
    return subprocess.run(
        [VENV / "python", "-c", asks], capture_output=True, text=True, check=True
    ).stdout.strip()


def new_bed(name: str) -> Bed:
    folder = SCRATCH / "hpcuser" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    profile = folder / "testbed.yaml"
    shutil.copy(Path(__file__).with_name("testbed.yaml"), profile)
    shutil.chown(folder, "hpcuser", "hpcuser")
    return Bed(folder, profile, folder / "runs")


def cancel_jobs(runs: Path) -> None:
    """Cancel the jobs of all runs in a folder that have not ended."""
    for folder, _, files in os.walk(runs):  # a worker may still tidy up: walk() bears it
        if "submitted.json" not in files or "result.json" in files:
            continue
        job_id = json.loads(Path(folder, "submitted.json").read_text()).get("job_id")
        if job_id:
            subprocess.run(["scancel", "--quiet", job_id], check=False)


@pytest.fixture(scope="session")
def cluster() -> None:
    """The test bed, with this checkout's hpcdl on its login node."""
    subprocess.run(
        ["bash", str(Path(__file__).with_name("testbed.sh")), "install", str(CHECKOUT)], check=True
    )


@pytest.fixture
def bed(cluster: None, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """A new folder for one test; what it leaves running is cancelled."""
    made = new_bed(f"test-{request.node.name[:60].translate(str.maketrans('[]/', '---'))}")
    yield made
    cancel_jobs(made.folder)
    if not request.session.testsfailed:
        shutil.rmtree(made.folder, ignore_errors=True)
