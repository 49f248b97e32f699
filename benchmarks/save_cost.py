"""How much of a training's time does saving take, at one checkpoint in five minutes?"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fit import CHECKOUT, command, tensorflow_version
from measure import show_machine

import hpcdl
from hpcdl.contract.spec import (
    DataSpec,
    DeviceSpec,
    MlpSpec,
    OptimizerSpec,
    RunSpec,
    SavingSpec,
    TrainSpec,
)

EVERY_S = 5.0  # so that there are many saves to measure; the cost of one is then counted once in FIVE_MINUTES_S
NEVER_S = 1e9
FIVE_MINUTES_S = 300.0
GOAL_PERCENT = 2.0
ROWS = 60_000
SIZES = {"small": MlpSpec(dense=[500] * 3), "large": MlpSpec(dense=[2048] * 6)}
STEPS = {"small": 600, "large": 20}  # an epoch of 100 rows each, in about the same time


@dataclass(frozen=True)
class Training:
    """What one training took: from the first epoch's end to the last one's, by the clock."""

    wall_s: float
    blocked_s: float
    saves: int
    checkpoint_mb: float
    parameters: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="train in this image, not with this Python")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--epochs", type=int, default=15, help="default: 15")
    parser.add_argument(
        "--pairs", type=int, default=5, help="how often each is trained, in turn (default: 5)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="on which disk checkpoints are saved (default: the temporary folder's)",
    )
    options = parser.parse_args()
    show_machine()
    with tempfile.TemporaryDirectory(prefix="hpcdl-save-", dir=options.folder) as name:
        folder = Path(name)
        python = command(options.image, [folder, CHECKOUT])
        version = tensorflow_version(python)
        print(
            f"hpcdl {hpcdl.__version__}, TensorFlow {version} of {options.image or 'this Python'}",
            flush=True,
        )
        chance = np.random.default_rng(1)
        x, y = (
            chance.integers(0, 256, (ROWS, 28, 28), np.uint8),
            chance.integers(0, 10, ROWS, np.uint8),
        )
        for size in options.sizes:
            rows = 100 * STEPS[size]
            np.savez(
                folder / "data.npz",
                x_train=x[:rows],
                y_train=y[:rows],
                x_test=x[:100],
                y_test=y[:100],
            )
            pairs = []
            for _ in range(options.pairs):
                pairs.append(
                    [
                        train(python, folder, size, options.epochs, every_s)
                        for every_s in (EVERY_S, NEVER_S)
                    ]
                )
            show_cost(size, pairs)
    show_machine()


def train(python: Sequence[str], folder: Path, size: str, epochs: int, every_s: float) -> Training:
    """One run of hpcdl's trainer, as a compute node starts it."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    spec = RunSpec(
        name=size, data=DataSpec(path=str(folder / "data.npz")), model=SIZES[size], devices=DeviceSpec(),
        train=TrainSpec(epochs=epochs, optimizer=OptimizerSpec("adam")), hpcdl_version=hpcdl.__version__,
        saving=SavingSpec(every_s=every_s),
    )  # fmt: skip
    (run / "run.json").write_text(spec.to_json())
    done = subprocess.run(
        [*python, "-m", "hpcdl.trainer", str(run / "run.json")], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(
            f"{size}: exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
    result = json.loads((run / "result.json").read_text())
    ends = [json.loads(line)["time"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    newest = sorted((run / "checkpoints").iterdir())[-1]
    return Training(
        wall_s=ends[-1] - ends[0],
        blocked_s=result["timing"]["save_blocked_s"],
        saves=result["timing"]["saves"] - 1,  # the one at the end, which training does not wait for
        checkpoint_mb=newest.stat().st_size / 1e6,
        parameters=result["model"]["parameters"],
    )


def show_cost(size: str, pairs: Sequence[Sequence[Training]]) -> None:
    """Print what one save costs, and the share of the time that this is at one save in five minutes."""
    first = pairs[0][0]
    print(
        f"{size}: {first.parameters:,} parameters, Adam, a checkpoint of {first.checkpoint_mb:.0f} MB",
        flush=True,
    )
    for saving, never in pairs:
        print(
            f"  saving {saving.saves} times {saving.wall_s:.2f} s, never {never.wall_s:.2f} s",
            flush=True,
        )
    # both trainings save at their end, which blocks them alike
    blocked = sorted((saving.blocked_s - never.blocked_s) / saving.saves for saving, never in pairs)
    whole = sorted((saving.wall_s - never.wall_s) / saving.saves for saving, never in pairs)
    for what, each in (("training stood still", blocked), ("training lost in all", whole)):
        percent = [
            100 * seconds / FIVE_MINUTES_S
            for seconds in (statistics.median(each), each[0], each[-1])
        ]
        print(
            f"  {what} for {statistics.median(each):.3f} s a save [{each[0]:.3f} .. {each[-1]:.3f}]: "
            "{:.2f} % [{:.2f} .. {:.2f}] at one save in 5 minutes   goal <= {:g} %".format(
                *percent, GOAL_PERCENT
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
