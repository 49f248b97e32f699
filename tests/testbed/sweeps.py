"""Sweeps of the test bed: sending one, waiting for its tasks, and accounting for its trials."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.conftest import Bed

JOB = """
name: tiny
container: python
resources: {gpus: 1, time: "00:05:00"}
script: sweep_script.py
args: [--rate, 0.5, --epochs, 6]
"""


@dataclass
class Sweep:
    """A sweep that was sent, seen from the login node."""

    bed: Bed
    path: Path

    @property
    def job_id(self) -> str:
        """The first array's id."""
        submitted = json.loads((self.path / "submitted.json").read_text())
        return str(submitted["arrays"][0]["job_id"])

    @property
    def job_ids(self) -> list[str]:
        """The ids of all arrays."""
        submitted = json.loads((self.path / "submitted.json").read_text())
        return [str(array["job_id"]) for array in submitted["arrays"] if array["job_id"]]

    def trials(self) -> list[Path]:
        return sorted((self.path / "trials").iterdir())

    def release(self) -> None:
        """Let the trials go on that the script's option --held holds."""
        for trial in self.trials():
            (trial / "go").touch()

    def events(self) -> list[dict[str, Any]]:
        """What all tasks' logs say."""
        events = []
        for log in sorted((self.path / "tasks").iterdir()):
            events += [json.loads(line) for line in log.read_text().splitlines()]
        return events

    def ends(self) -> dict[int, dict[str, Any]]:
        """The end of each trial; it checks that none has two."""
        ends = [event for event in self.events() if event["event"] == "end"]
        counts = Counter((event["trial"], event["turn"]) for event in ends)
        assert set(counts.values()) <= {1}, counts
        return {event["trial"]: event for event in ends}

    def tasks(self) -> dict[str, tuple[str, str, str]]:
        """The tasks that wait or run: their states, reasons and nodes."""
        jobs = f"--jobs={','.join(self.job_ids)}"
        argv = ["squeue", "--noheader", "--array", "--format=%i|%T|%r|%N", jobs]
        text = subprocess.run(argv, capture_output=True, text=True).stdout
        rows = [line.split("|") for line in text.splitlines()]
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def run_to_end(self, timeout_s: float = 240.0) -> None:
        """Wait until no task is left; requeued ones start soon."""
        deadline = time.monotonic() + timeout_s
        held: Counter[str] = Counter()  # how often a task was seen held back
        while tasks := self.tasks():
            assert time.monotonic() < deadline, (tasks, self.logs())
            for task, (state, reason, _) in tasks.items():
                if state == "PENDING" and reason == "BeginTime":
                    held[task] += 1
                    if held[task] % 4 == 0:  # its node is done with its last attempt
                        self.start_now(task)
            time.sleep(1)

    def start_now(self, task: str) -> None:
        """Start a task that SLURM holds back after its requeue; it may have started by itself."""
        self.bed.run("scontrol", "update", f"JobId={task}", "StartTime=now", check=False)

    def logs(self) -> str:
        texts = []
        for log in sorted((self.path / "logs").iterdir()):
            texts.append(f"== {log.name}\n{log.read_text()}")
        return "\n".join(texts)

    def account(self, trials: int, epochs: int) -> None:
        """Check that each trial was claimed, has ended once, and has each epoch once."""
        assert len(self.trials()) == trials
        assert sorted(self.ends()) == list(range(trials)), self.logs()
        for trial in self.trials():
            lines = (trial / "metrics.jsonl").read_text().splitlines()
            numbers = [json.loads(line)["epoch"] for line in lines]
            result = json.loads((trial / "result.json").read_text())
            assert numbers == list(range(1, len(numbers) + 1)), (trial, numbers)
            assert result["state"] == "pruned" or len(numbers) == epochs, (trial, result)


def prepare_job(bed: Bed, text: str = JOB) -> None:
    """Put the script and its job file into the bed's folder."""
    bed.write("job.yaml", text)
    script = Path(__file__).with_name("sweep_script.py")
    shutil.copy(script, bed.folder)
    shutil.chown(bed.folder / script.name, "hpcuser")


def send_sweep(bed: Bed, *options: object, job: object = "job.yaml") -> Sweep:
    """`hpcdl sweep`: the sweep whose path is all of stdout."""
    done = bed.run(
        "hpcdl", "sweep", job, "--cluster", bed.profile, "--runs-dir", bed.runs, *options
    )
    assert done.stdout.count("\n") == 1, done.stdout
    return Sweep(bed, Path(done.stdout.rstrip("\n")))
