"""Do runs on this machine survive whatever happens to them, and end as if it had not? Ends with 1 if one does not."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from faults import KINDS, MOMENTS, Fault, Kind, happen, is_done
from small_disk import SmallDisk, can_mount
from verdict import End, end_of, judge
from victim import UNLIMITED_S, LossError, Shape, Victim, in_session, until

FAULTS_PER_VICTIM = 10
# Where a victim lives, and what the kinds of faults need that can happen to it there.
SETTINGS = {
    "plain": {"", "container"},
    "disk": {"", "disk"},
    "quota": {"", "quota"},
    "limit": {"limit"},
}


@dataclass(frozen=True)
class Stage:
    """What all victims of one chaos share.

    Args:
        folder: for their folders.
        shape: of their training.
        options: more of `hpcdl submit`.
        reference: what a run ended with that nothing happened to.
        startup_s: how long that one took to begin training.
    """

    folder: Path
    shape: Shape
    options: Sequence[str]
    reference: End
    startup_s: float


@dataclass
class Outcome:
    """What happened to one victim; `lost` says what is wrong with it."""

    folder: Path
    faults: list[Fault] = field(default_factory=list)
    lost: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=200, help="how many faults are to happen (default: 200)"
    )
    parser.add_argument("--seed", type=int, default=1, help="which ones, and when (default: 1)")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(KINDS), help="only these (default: all that can be here)"
    )
    parser.add_argument(
        "--parallel", type=int, default=1, help="how many runs at a time (default: 1)"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the runs go (default: a temporary folder)"
    )
    parser.add_argument(
        "submit",
        nargs="*",
        help="more options of hpcdl submit, after --: a profile with a container",
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=options.folder))
    kinds = possible(options.kinds or list(KINDS), folder, bool(options.submit))
    print(f"seed {options.seed}, in {folder}: {', '.join(kind.name for kind in kinds)}", flush=True)
    lacking = {
        kind.name: kind.needs for kind in KINDS.values() if kind not in kinds and not options.kinds
    }
    if lacking:
        print(
            "not here: " + ", ".join(f"{name} (needs a {need})" for name, need in lacking.items()),
            flush=True,
        )
    started = time.monotonic()
    stage = set_stage(folder, Shape(), options.submit)
    outcomes = chaos(stage, kinds, options.kills, options.seed, options.parallel)
    print_table(outcomes)
    print(
        f"{(time.monotonic() - started) / 60:.0f} minutes; training began {stage.startup_s:.0f} s after submit"
    )
    if any(outcome.lost for outcome in outcomes):
        sys.exit(1)
    shutil.rmtree(folder)


def possible(names: Sequence[str], folder: Path, container: bool) -> list[Kind]:
    """The kinds that can be made to happen on this machine, by this user."""
    can = {
        "": True,
        "limit": True,
        "container": container,
        "disk": not container and can_mount(folder / "try"),
        "quota": not container and can_mount(folder / "try", quota=True),
    }
    return [KINDS[name] for name in names if can[KINDS[name].needs]]


def set_stage(folder: Path, shape: Shape, options: Sequence[str] = ()) -> Stage:
    """Make the run that nothing happens to."""
    victim = Victim(folder / "reference", shape, folder / "reference/runs", options)
    started = time.monotonic()
    victim.submit()
    until(lambda: victim.phase() == "training", "the reference run to train")
    startup_s = time.monotonic() - started
    until(lambda: victim.status().final, "the reference run to be done")
    if victim.status().state != "done":
        raise LossError(f"the reference run is {victim.status()}")
    return Stage(folder, shape, options, end_of(victim), startup_s)


def chaos(
    stage: Stage, kinds: Sequence[Kind], kills: int, seed: int, parallel: int
) -> list[Outcome]:
    """Let faults happen to one victim after another until there were enough."""
    outcomes: list[Outcome] = []
    special = {kind.needs for kind in kinds}
    settings = [
        name
        for name, offers in SETTINGS.items()
        if offers & special and (name in special or name == "plain")
    ]

    def one(number: int) -> None:
        left = kills - sum(len(outcome.faults) for outcome in outcomes)
        if left > 0:
            chance, setting = Random(f"{seed} {number}"), settings[number % len(settings)]
            fitting = [kind for kind in kinds if kind.needs in SETTINGS[setting]]
            planned = plan(fitting, chance, min(left, FAULTS_PER_VICTIM))
            outcomes.append(torment(stage, f"{number + 1}-{setting}", setting, planned, chance))
            tell(outcomes, kills)

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(one, range(kills)))
    print(flush=True)
    return outcomes


def plan(kinds: Sequence[Kind], chance: Random, count: int) -> list[tuple[Kind, str]]:
    """Faults for one victim, at moments in the order in which they can come; half of them are what only it can have."""
    moments = chance.choices(list(MOMENTS), list(MOMENTS.values()), k=count)
    special, plain = (
        [kind for kind in kinds if kind.needs],
        [kind for kind in kinds if not kind.needs],
    )
    deck: list[Kind] = []
    while len(deck) < count:
        deck += [
            kind
            for some in (special, plain)
            if some
            for kind in chance.sample(some, min(len(some), 5))
        ]
    chance.shuffle(deck)
    return list(zip(deck, sorted(moments, key=lambda wanted: wanted == "evaluating"), strict=False))


def torment(
    stage: Stage, name: str, setting: str, faults: Sequence[tuple[Kind, str]], chance: Random
) -> Outcome:
    """Let these faults happen to one run, see it to its end, and judge that. Its folder stays if it was lost."""
    outcome = Outcome(stage.folder / name)
    with ExitStack() as cleaning:
        disk = None
        if setting in ("disk", "quota"):
            disk = SmallDisk(outcome.folder / "disk", quota=setting == "quota")
            cleaning.callback(disk.remove)
        shape, limit_s = stage.shape, UNLIMITED_S
        if (
            setting == "limit"
        ):  # much longer than training takes to begin, and long enough for about half of it
            limit_s = round(5 * stage.startup_s + chance.uniform(2, 6))
            shape = replace(
                shape, step_s=2 * (limit_s - stage.startup_s) / (shape.epochs * shape.steps)
            )
        runs = disk.root if disk else outcome.folder / "runs"
        victim = Victim(outcome.folder, shape, runs, stage.options, limit_s)
        cleaning.callback(victim.end)
        try:
            victim.submit()
            for kind, wanted in faults:
                if not happen(victim, kind, wanted, stage.startup_s, disk, chance, outcome.faults):
                    break
            until(lambda: is_done(victim, outcome.faults), "its end")
            until(lambda: not any(map(in_session, victim.sessions)), "its processes to end")
            judge(victim, outcome.faults, stage.reference)
        except Exception as error:  # whatever it is: this run cannot be shown to be well
            outcome.lost = f"{type(error).__name__}: {error}"
            if disk:
                shutil.copytree(victim.path, outcome.folder / "kept", symlinks=True)
    if not outcome.lost:
        shutil.rmtree(outcome.folder)
    return outcome


def tell(outcomes: Sequence[Outcome], kills: int) -> None:
    """Progress: one line that is written over on a terminal, else a line for each victim."""
    happened, lost = (
        sum(len(outcome.faults) for outcome in outcomes),
        sum(bool(o.lost) for o in outcomes),
    )
    last = outcomes[-1]
    line = f"{happened}/{kills} faults, {len(outcomes)} runs, {lost} lost; {last.folder.name}: "
    line += f"LOST, {last.lost}" if last.lost else f"{len(last.faults)} survived"
    print(
        f"\r\033[K{line}" if sys.stdout.isatty() else line,
        end="" if sys.stdout.isatty() else "\n",
        flush=True,
    )


def print_table(outcomes: Sequence[Outcome]) -> None:
    print(
        f"{'kind':<20} {'faults':>6} {'survived':>8} {'steps repeated: mean':>21} {'most':>5} {'resumed by hand':>16}"
    )
    row = "{:<20} {:>6} {:>8} {:>21.1f} {:>5} {:>16}"
    every = [(fault, not outcome.lost) for outcome in outcomes for fault in outcome.faults]
    for name in (*KINDS, "all"):
        those = [(fault, survived) for fault, survived in every if name in (fault.kind.name, "all")]
        if those:
            steps = [fault.repeated for fault, _ in those]
            survived, resumes = (
                sum(survived for _, survived in those),
                sum(fault.resumes for fault, _ in those),
            )
            print(
                row.format(name, len(those), survived, statistics.mean(steps), max(steps), resumes)
            )
    phases = Counter(fault.phase for fault, _ in every)
    print(
        "they happened while "
        + ", ".join(f"{phase} ({count})" for phase, count in phases.most_common())
    )
    for outcome in outcomes:
        if outcome.lost:
            print(f"LOST {outcome.folder}: {outcome.lost}")
    lost = sum(bool(outcome.lost) for outcome in outcomes)
    same = (
        "the weights and metrics of all were bit for bit those of a run to which nothing happened"
    )
    print(
        f"{len(outcomes)} runs, {lost} lost; {same if not lost else 'their folders are kept'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
