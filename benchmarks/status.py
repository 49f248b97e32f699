"""How long does `hpcdl status` take with 10,000 finished runs, and how many files does it touch?"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measure import show_machine

GOAL_S = 1.0
MADE_AT = 1.7e9  # unix time of the first run
# What strace calls each look at a file: newer kernels and libraries use the later names
STATS = ("stat", "lstat", "newfstatat", "statx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--times", type=int, default=5, help="how often each (default: 5)")
    parser.add_argument("--folder", type=Path, help="where (default: a temporary folder)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="status-", dir=options.folder))
    show_machine()
    try:
        root = folder / "runs"
        for number in range(options.runs):
            make_run(root, number)
        measure(root, options.runs, options.times)
    finally:
        shutil.rmtree(folder)
    show_machine()


def make_run(root: Path, number: int) -> None:
    """A finished training's folder, with the files that status reads."""
    created = MADE_AT + 60 * number
    run_id = time.strftime("%Y%m%d-%H%M", time.gmtime(created)) + f"-{number:04x}"
    folder = root / f"job-{number % 10}" / run_id
    (folder / "logs").mkdir(parents=True)
    epochs = [{"epoch": epoch, "val_accuracy": 0.9 + epoch / 100} for epoch in range(1, 6)]
    attempt = {"attempt": 1, "job_id": str(number), "node": "n1"}
    start = {**attempt, "event": "start", "time": created + 10}
    end = {**attempt, "event": "end", "time": created + 300, "reason": "done", "status": 0}
    files = {
        "manifest.json": {"created": created},
        "plan.json": {"name": "job", "policy": {"min_poll_s": 60}},
        "run.json": {"train": {"epochs": 5}},
        "submitted.json": {"backend": "slurm", "job_id": str(number), "time": created},
        "heartbeat.json": {"phase": "done", "epoch": 5, "epochs": 5, "time": created + 299},
        "result.json": {"state": "done", "test": {"accuracy": 0.97}, "attempts": [attempt]},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    lines: dict[str, list[dict[str, Any]]] = {
        "attempts.jsonl": [start, end],
        "metrics.jsonl": epochs,
    }
    for name, rows in lines.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(folder / "attempts.jsonl", (created + 300, created + 300))


def measure(root: Path, runs: int, times: int) -> None:
    """Print seconds and counts of each way to look."""
    index = root / ".index"

    def forget() -> None:
        shutil.rmtree(index, ignore_errors=True)

    def remember() -> None:
        if not index.exists():
            hpcdl(root, "--all")

    looks: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
        "first look, no index": (forget, ("--all",)),
        "warm, all runs": (remember, ("--all",)),
        "warm, all runs, --json": (remember, ("--all", "--json")),
        "warm, --state failed": (remember, ("--state", "failed")),
        "warm, the newest 20": (remember, ()),
        "--fresh, all runs": (remember, ("--all", "--fresh")),
    }
    starts = [seconds_of([sys.executable, "-m", "hpcdl", "--help"]) for _ in range(times)]
    print(f"{'hpcdl --help':<28} {least(starts)}", flush=True)
    for what, (prepare, options) in looks.items():
        seconds = []
        for _ in range(times):
            prepare()
            seconds.append(seconds_of(command(root, options)))
        prepare()
        opens, stats = counts(root, options)
        goal = f"goal <= {GOAL_S:g} s" if what.startswith("warm") else ""
        print(
            f"{what:<28} {least(seconds)}; a run: {opens / runs:.3f} opens, "
            f"{stats / runs:.3f} stats  {goal}".rstrip(),
            flush=True,
        )


def command(root: Path, options: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "hpcdl", "status", "--runs-dir", str(root), *options]


def hpcdl(root: Path, *options: str) -> None:
    subprocess.run(command(root, options), check=True, capture_output=True)


def seconds_of(argv: Sequence[str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    elapsed_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(seconds: Sequence[tuple[float, float]]) -> str:
    """The least of each: the other work on a busy machine only adds to it."""
    elapsed_s = min(clock for clock, _ in seconds)
    return f"{elapsed_s:7.2f} s, processor {min(cpu for _, cpu in seconds):5.2f} s"


def counts(root: Path, options: Sequence[str]) -> tuple[int, int]:
    """How often a file below the runs' folder is opened, and how often one is looked at.

    Folders that are listed are not counted.
    """
    with tempfile.NamedTemporaryFile("r", errors="replace") as trace:
        calls = ",".join(("openat", "open", *STATS))
        strace = ["strace", "-qq", "-e", f"trace=?{calls.replace(',', ',?')}"]
        subprocess.run(
            [*strace, "-o", trace.name, *command(root, options)], check=True, capture_output=True
        )
        opens = stats = 0
        for line in trace:
            if f'"{root}/' not in line or "O_DIRECTORY" in line:
                continue
            name = line.partition("(")[0]
            opens += name in ("open", "openat")
            stats += name in STATS
    return opens, stats


if __name__ == "__main__":
    main()
