"""How long do 50 workers take to claim a sweep's trials, and how long does it take to read them all?"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from measure import in_turn, show, show_machine

from hpcdl.files import write_json
from hpcdl.sweeps.claims import Claims, Proposal
from hpcdl.sweeps.events import Claimed, Ended, Event, Rung, append_event
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.space import parse_space
from hpcdl.sweeps.state import SweepState
from hpcdl.sweeps.suggest import suggest

SPACE = parse_space(
    {
        "train.optimizer.learning_rate": "log:1e-4..1e-1",
        "train.batch_size": "int:log:16..512",
        "model.dropout": "0..0.6",
        "model.units": "int:1..8",
        "model.activation": "relu|tanh",
        "data.flip": [True, False],
    }
)
CLAIM_GOAL = 1 / 3
FOLD_GOAL_S, AGAIN_GOAL_S = 0.5, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=50, help="default: 50")
    parser.add_argument("--there", type=int, default=1000, help="trials before (default: 1000)")
    parser.add_argument("--new", type=int, default=200, help="trials to claim (default: 200)")
    parser.add_argument("--read", type=int, default=10_000, help="trials to read (default: 10000)")
    parser.add_argument("--pairs", type=int, default=1, help="how often, in turn (default: 1)")
    parser.add_argument("--folder", type=Path, help="where (default: a temporary folder)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sweep-claims-", dir=options.folder))
    show_machine()
    try:
        compare_claims(folder, options)
        measure_fold(folder, options.read, options.workers)
    finally:
        shutil.rmtree(folder)
    show_machine()


def compare_claims(folder: Path, options: argparse.Namespace) -> None:
    """Print what claiming takes here, and with Optuna's journal if Optuna is there."""
    sizes = (options.workers, options.there, options.new)
    what = "{} workers, {} trials there, {} new".format(*sizes)
    optuna = optuna_if_installed()
    if optuna is None:
        seconds = claim_here(folder, *sizes)
        print(f"{what:<44} {seconds:8.3f} s (no Optuna in this Python to compare with)")
        return
    ours, theirs = in_turn(
        lambda: claim_here(folder, *sizes),
        lambda: claim_in_optuna(optuna, folder, *sizes),
        options.pairs,
    )
    show(what, ours, theirs, CLAIM_GOAL)


def optuna_if_installed() -> ModuleType | None:
    try:
        import optuna  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna  # type: ignore[no-any-return,unused-ignore]


def claim_here(folder: Path, workers: int, there: int, new: int) -> float:
    """Seconds from the first claim of all workers to the last end."""
    paths = new_sweep(Path(tempfile.mkdtemp(dir=folder)) / "sweep")
    for number in range(there):
        paths.claim(number).symlink_to(f"1_{number % workers}")
    write_logs(paths, there, workers)

    def propose(number: int, state: SweepState) -> Proposal:
        return Proposal(suggest(SPACE, "random", 1, number))

    def work(worker: int) -> None:
        claims = Claims(paths, f"2_{worker}", there + new, propose)
        while (trial := claims.claim()) is not None:
            write_json(paths.result(trial.number), {"state": "done", "value": 0.5})
            claims.finish(trial)

    seconds = seconds_of(workers, work)
    state = SweepState()
    state.refresh(paths)
    ended = sum(state.has_ended(number) for number in state.trials)
    assert ended == there + new, f"{ended} trials have ended, of {there + new}"
    return seconds


def claim_in_optuna(optuna: ModuleType, folder: Path, workers: int, there: int, new: int) -> float:
    """The same with Optuna's journal file: ask and tell."""
    path = str(Path(tempfile.mkdtemp(dir=folder)) / "optuna.log")
    distributions = {
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "batch_size": optuna.distributions.IntDistribution(16, 512, log=True),
        "dropout": optuna.distributions.FloatDistribution(0.0, 0.6),
        "units": optuna.distributions.IntDistribution(1, 8),
        "activation": optuna.distributions.CategoricalDistribution(["relu", "tanh"]),
        "flip": optuna.distributions.CategoricalDistribution([True, False]),
    }
    parameters = {
        "learning_rate": 0.001,
        "batch_size": 32,
        "dropout": 0.1,
        "units": 2,
        "activation": "relu",
        "flip": True,
    }

    def storage() -> object:
        backend = optuna.storages.journal.JournalFileBackend(path)
        return optuna.storages.JournalStorage(backend)

    study = optuna.create_study(storage=storage(), study_name="sweep")
    trial = optuna.trial.create_trial(params=parameters, distributions=distributions, value=0.5)
    study.add_trials([trial] * there)

    def work(worker: int) -> None:
        sampler = optuna.samplers.RandomSampler(seed=worker)
        joined = optuna.load_study(storage=storage(), study_name="sweep", sampler=sampler)
        for _ in range(new // workers + (worker < new % workers)):
            joined.tell(joined.ask(distributions), 0.5)

    return seconds_of(workers, work)


def measure_fold(folder: Path, trials: int, workers: int) -> None:
    """Print what reading all tasks' logs takes: all of it, and again when nothing is new."""
    paths = new_sweep(folder / "read")
    write_logs(paths, trials, workers)
    state = SweepState()
    first_s = seconds_for(lambda: state.refresh(paths))
    assert len(state.trials) == trials
    again_s = seconds_for(lambda: state.refresh(paths))
    state.save_index(paths)
    index_s = seconds_for(lambda: SweepState.load_index(paths).refresh(paths))
    for what, seconds, goal in (
        (f"reading the logs of {trials} trials", first_s, FOLD_GOAL_S),
        ("again in the same process", again_s, AGAIN_GOAL_S),
        ("again in another process, from the index", index_s, AGAIN_GOAL_S),
    ):
        print(f"{what:<44} {seconds:8.3f} s{'':<34} goal <= {goal:g} s", flush=True)


def new_sweep(root: Path) -> SweepPaths:
    paths = SweepPaths(root)
    for made in (paths.root, paths.tasks, paths.claims, paths.open, paths.trials):
        made.mkdir()
    return paths


def write_logs(paths: SweepPaths, trials: int, tasks: int) -> None:
    """The logs of that many trials that have ended, two rungs each, without waiting for the disk."""
    fsync, os.fsync = os.fsync, lambda fd: None
    try:
        for number in range(trials):
            key = f"1_{number % tasks}"
            for event in events_of(number, key):
                append_event(paths.task_log(key), event)
    finally:
        os.fsync = fsync


def events_of(number: int, key: str) -> list[Event]:
    params = suggest(SPACE, "random", 1, number)
    now = time.time()
    return [
        Claimed(number, params, key, 1, now),
        Rung(number, 1, 0.25, now),
        Rung(number, 3, 0.375, now),
        Ended(number, "done", 0.5, 9, 9, 60.0, params, key, 1, now),
    ]


def seconds_of(workers: int, work: Callable[[int], None]) -> float:
    """Seconds from the moment at which all workers begin until the last one has ended."""
    read_end, write_end = os.pipe()
    processes = []
    for worker in range(workers):
        process = os.fork()
        if process == 0:
            status = 1
            try:
                os.close(write_end)
                os.read(read_end, 1)  # until the parent closes its end
                work(worker)
                status = 0
            finally:
                os._exit(status)
        processes.append(process)
    started = time.perf_counter()
    os.close(write_end)
    statuses = [os.waitpid(process, 0)[1] for process in processes]
    seconds = time.perf_counter() - started
    os.close(read_end)
    if any(statuses):
        sys.exit(f"{sum(map(bool, statuses))} of {workers} workers failed")
    return seconds


def seconds_for(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
