"""A simulated day of a sweep: does every trial end, and end once, while workers are killed at random?"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from measure import show_machine

from hpcdl.cluster import load_cluster
from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.files import write_json
from hpcdl.job import load_job
from hpcdl.launch import trials as launch_trials
from hpcdl.launch.task import TaskContext
from hpcdl.run.paths import RunPaths
from hpcdl.submission import sweep as submission
from hpcdl.sweeps.claims import offer
from hpcdl.sweeps.events import Ended, decode_lines
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.missing import missing_events, read_trial
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState
from hpcdl.sweeps.suggest import suggest

EPOCHS = 4
FAILED = 70
SPACE = {
    "args.learning_rate": "log:1e-4..1e-1",
    "args.batch": "int:log:16..512",
    "args.flip": "a|b",
}
JOB = 'name: day\nresources: {time: "12:00:00"}\nscript: program.py\n'
PROFILE = "name: day\nruns_root: {folder}/runs\ndata_root: {folder}/data\n"
# What befalls a worker, and how often: requeued by SLURM, lost with its node, warned of its limit
FAULTS = {"killed": 7, "lost": 2, "warned": 1}


@dataclass
class Day:
    """A day as it goes: how much of it there is, and what happened.

    Args:
        folder: where; an empty one.
        trials: how many.
        workers: how many at once.
        minute_s: how long a simulated minute takes.
        faults_per_hour: how many workers are killed or warned in a simulated hour.
        seed: of the faults.
    """

    folder: Path
    trials: int
    workers: int
    minute_s: float
    faults_per_hour: float
    seed: int = 1
    faults: Counter[str] = field(default_factory=Counter)
    doomed: dict[int, str] = field(default_factory=dict)  # killed, and perhaps not yet gone
    offered: int = 0
    started: int = 0
    wall_s: float = 0.0

    def __post_init__(self) -> None:
        self.alive = self.folder / "alive"
        self.alive.mkdir()
        self.complaints = self.folder / "complaints"
        self.complaints.touch()
        self.settings = SweepSettings(
            name="day",
            over=SPACE,
            method="random",
            metric="score",
            direction="maximize",
            trials=self.trials,
            at_once=self.workers,
        )
        self.paths = new_sweep(self.folder, self.settings)

    @property
    def hours(self) -> float:
        return self.wall_s / self.minute_s / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--workers", type=int, default=200, help="default: 200")
    parser.add_argument(
        "--minute", type=float, default=0.1, help="seconds of a simulated minute (default: 0.1)"
    )
    parser.add_argument(
        "--faults", type=float, default=10, help="in a simulated hour (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the faults (default: 1)")
    parser.add_argument("--folder", type=Path, help="where (default: a temporary folder)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sweep-day-", dir=options.folder))
    show_machine()
    day = Day(folder, options.trials, options.workers, options.minute, options.faults, options.seed)
    try:
        simulate(day)
        problems = audit(day)
        report(day, problems)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if problems:
        sys.exit(f"{len(problems)} problems")


def report(day: Day, problems: list[str]) -> None:
    faults = ", ".join(f"{number} {kind}" for kind, number in sorted(day.faults.items()))
    print(f"{day.trials} trials, {day.workers} workers: {day.hours:.1f} h in {day.wall_s:.0f} s")
    print(f"workers started {day.started}; {faults}; {day.offered} trials offered again")
    show_machine()
    for problem in problems[:20]:
        print(problem)
    if not problems:
        print(f"all {day.trials} trials have ended, each once; no epoch is missing or there twice")


def new_sweep(folder: Path, settings: SweepSettings) -> SweepPaths:
    """The folder of a sweep of a script, made as `hpcdl sweep --backend local` makes it."""
    (folder / "job.yaml").write_text(JOB)
    (folder / "program.py").write_text("print('never started')\n")
    (folder / "day.yaml").write_text(PROFILE.format(folder=folder))
    cluster = load_cluster(str(folder / "day.yaml"))
    job = load_job(folder / "job.yaml")
    prepared = submission.prepare_sweep(job, cluster, settings, backend="local")
    with replaced(submission, "send_tasks", lambda *arguments, **options: []):
        return submission.send_sweep(prepared)


@contextmanager
def replaced(module: object, name: str, other: object) -> Iterator[None]:
    real = getattr(module, name)
    setattr(module, name, other)
    try:
        yield
    finally:
        setattr(module, name, real)


def simulate(day: Day) -> None:
    """Run the day: start the workers, let faults befall them, start them again."""
    chance = random.Random(day.seed)
    fault_s = 60 * day.minute_s / day.faults_per_hour
    started = time.perf_counter()
    workers: dict[int, str] = {}
    for number in range(day.workers):
        start_worker(day, f"local_{number}", workers)
    next_fault = started + fault_s
    while workers:
        reap(day, workers)
        now = time.perf_counter()
        if workers and now >= next_fault:
            next_fault = now + chance.expovariate(1 / fault_s)
            kind = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
            befall(day, workers, chance.choice(list(workers)), kind)
        time.sleep(0.002)
    day.wall_s = time.perf_counter() - started


def start_worker(day: Day, key: str, workers: dict[int, str]) -> None:
    day.paths.task_stop(key).unlink(missing_ok=True)
    day.started += 1
    pid = os.fork()
    if pid:
        workers[pid] = key
        return
    status = FAILED
    try:
        status = work(day, key)
    except BaseException:
        complain(day, f"{key}: {traceback.format_exc()}")
    finally:
        os._exit(status)


def befall(day: Day, workers: dict[int, str], pid: int, kind: str) -> None:
    """One fault; what a kill leads to follows when the process is gone."""
    if kind == "warned":
        day.faults[kind] += 1
        day.paths.task_stop(workers[pid]).touch()
    elif pid not in day.doomed:
        day.doomed[pid] = kind
        os.kill(pid, signal.SIGKILL)


def offer_orphans(paths: SweepPaths, key: str) -> int:
    """Offer the trials again that a task had in hand, as `hpcdl retry` does; how many."""
    state = SweepState()
    state.refresh(paths)
    for event in missing_events(paths, state):
        state.add(event)
    offered = 0
    for number in paths.claimed_numbers():
        is_open = state.has_ended(number) or paths.offer(number).exists()
        if not is_open and paths.owner(number) == key:
            offer(paths, number)
            offered += 1
    for number, taker in paths.taken_offers():
        if taker == key:
            offer(paths, number)
            offered += 1
    return offered


def reap(day: Day, workers: dict[int, str]) -> None:
    """Go on with those workers that have ended, as SLURM or the user would."""
    while workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid not in workers:
            continue  # somebody else's child
        kind, key = day.doomed.pop(pid, ""), workers.pop(pid)
        if os.WIFSIGNALED(status) and kind:
            day.faults[kind] += 1
            if kind == "lost":
                day.offered += offer_orphans(day.paths, key)
                key = f"local_{day.workers + day.started}"
            start_worker(day, key, workers)
        elif os.waitstatus_to_exitcode(status) == EXIT_STOPPED:
            start_worker(day, key, workers)
        elif status != 0:
            complain(day, f"{key} ended with status {os.waitstatus_to_exitcode(status)}")


def work(day: Day, key: str) -> int:
    """hpcdl's worker, with a program that only waits in the place of a trainer."""
    os.nice(5)  # so that the faults come in time
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

    def attempt(paths: RunPaths, job_id: str | None, task: TaskContext) -> int:
        return pretend(day, paths, task)

    with replaced(launch_trials, "attempt", attempt):
        return launch_trials.Worker(day.paths, day.settings, key, key).run()


def pretend(day: Day, paths: RunPaths, task: TaskContext) -> int:
    """A trial of some minutes, which goes on after the epochs that are there."""
    number = int(paths.root.name)
    if Path(paths.result).exists():
        return 0  # as the real attempt: it has ended, and only the log's line is missing
    minutes = random.Random(number).uniform(5, 55)
    with (day.alive / str(number)).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            complain(day, f"trial {number} runs twice at the same time")
        epochs = len(read_epochs(paths))
        while epochs < EPOCHS:
            time.sleep(minutes * day.minute_s / EPOCHS)
            epochs += 1
            line = json.dumps({"epoch": epochs, "score": number / (epochs + 1)})
            with open(paths.metrics, "a") as metrics:
                metrics.write(line + "\n")
            for watcher in task.watchers:
                watcher.look(time.time(), os.getpid())
            if paths.stop.exists() and epochs < EPOCHS:
                return EXIT_STOPPED
        write_json(paths.result, result_of(number, minutes))
    return 0


def result_of(number: int, minutes: float) -> dict[str, object]:
    best = {"value": number / 2, "epoch": 1, "epochs": EPOCHS, "seconds": minutes * 60}
    return {"schema_version": 1, "name": "day", "state": "done", "attempts": [], **best}


def read_epochs(paths: RunPaths) -> list[int]:
    try:
        lines = Path(paths.metrics).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line)["epoch"] for line in lines]


def complain(day: Day, text: str) -> None:
    with day.complaints.open("a") as complaints:
        complaints.write(text.rstrip() + "\n")


def audit(day: Day) -> list[str]:
    """What is lost, twice, or otherwise than it was to be; nothing if all is well."""
    paths = day.paths
    problems = day.complaints.read_text().splitlines()
    ends: Counter[int] = Counter()
    for log in paths.tasks.glob("*.jsonl"):
        events, damaged = decode_lines(log.read_bytes())
        if damaged:
            problems.append(f"{log.name} has damaged lines")
        ends.update(event.trial for event in events if isinstance(event, Ended))
    state = SweepState()
    state.refresh(paths)
    ends.update(e.trial for e in missing_events(paths, state) if isinstance(e, Ended))
    if paths.claimed_numbers() != list(range(day.trials)):
        problems.append(f"{len(paths.claimed_numbers())} trials are claimed")
    for number in range(day.trials):
        if ends[number] != 1:
            problems.append(f"trial {number} has ended {ends[number]} times")
        if read_epochs(paths.trial_run(number)) != list(range(1, EPOCHS + 1)):
            problems.append(f"trial {number}: epochs {read_epochs(paths.trial_run(number))}")
        trial = read_trial(paths, number)
        expected = suggest(day.settings.space, "random", day.settings.seed, number)
        if trial is None or trial.params != expected:
            problems.append(f"trial {number} has other parameters: {trial}")
    if paths.offered_numbers() or paths.taken_offers():
        problems.append("offers are left over")
    return problems


if __name__ == "__main__":
    main()
