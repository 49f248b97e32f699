"""How fast do images reach the model from a packed folder, and how much memory does streaming take, beside Keras?"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fit import command, train
from measure import show, show_machine

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

CHECKOUT = Path(__file__).resolve().parents[1]
SIZE = (100, 100)  # of the images; nothing is resized on either side
BATCH = 32  # Keras's own default
# seconds beside theirs: at least 2, 8 and 2.5 times the images/s
PACK_GOAL, LATER_GOAL, DATASET_GOAL = 1 / 2, 1 / 8, 1 / 2.5
MEMORY_GOAL = 1.05
WARM_BYTES = 3 << 30
COLD = "IMAGE_INPUT_COLD"


@dataclass
class Seconds:
    """What reading all images took: at first, with all that must be done once, and the median of later epochs."""

    first: float
    later: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        help="a folder with a folder of 100x100 images per class",
    )
    parser.add_argument(
        "--images", nargs="+", type=int, default=[600, 20000], help="default: 600 20000"
    )
    parser.add_argument(
        "--memory", nargs=2, type=int, default=[5000, 20000], help="default: 5000 20000; 0 0: none"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--epochs", type=int, default=3, help="of each round (default: 3)")
    parser.add_argument(
        "--cold", action="store_true", help="do not touch memory before each way (see README.md)"
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cold:
        os.environ[COLD] = "1"  # for the processes of each way, too
    if options.child:
        kind, place, answer = options.child
        import tensorflow as tf  # noqa: F401  # its import is not timed

        Path(answer).write_text(json.dumps(KINDS[kind](options.data, Path(place), options.epochs)))
        return
    show_machine()
    print(
        f"hpcdl {hpcdl.__version__}, {options.rounds} rounds of {options.epochs} epochs, batches of {BATCH}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="hpcdl-images-") as name:
        place = Path(name)
        for count in options.images:
            folder = enlarged(options.data, place / f"images{count}", count)
            report(count, [each_kind(folder, place, options.epochs) for _ in range(options.rounds)])
            shutil.rmtree(folder)
        if any(options.memory):
            report_memory(options.data, place, options.memory)
    show_machine()


def enlarged(data: Path, target: Path, count: int) -> Path:
    """A folder of so many files: those of data, copied as often as it takes."""
    files = sorted(path for path in data.glob("*/*") if path.is_file())
    for number in range(count):
        file = files[number % len(files)]
        copy = target / file.parent.name / f"{number // len(files):04d}_{file.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return target


def report(count: int, rounds: list[dict[str, Seconds]]) -> None:
    print(f"{count:,} images; seconds of all of them, images/s:", flush=True)
    for kind in KINDS:
        first, later = (
            statistics.median(getattr(one[kind], name) for one in rounds)
            for name in ("first", "later")
        )
        print(
            f"  {kind:<10} first {first:7.2f} s {count / first:8,.0f}/s   later {later:7.3f} s {count / later:8,.0f}/s"
        )

    def beside(what: str, name: str, ours: str, theirs: str, goal: float | None = None) -> None:
        show(
            what,
            [getattr(one[ours], name) for one in rounds],
            [getattr(one[theirs], name) for one in rounds],
            goal,
        )

    beside("folder held in memory: first epoch / generator's first", "first", "held", "generator")
    beside(
        "folder held in memory: later epoch / generator's", "later", "held", "generator", LATER_GOAL
    )
    beside(
        "folder held in memory: later epoch / dataset's", "later", "held", "dataset", DATASET_GOAL
    )
    beside("pack and first epoch / generator's first", "first", "packed", "generator", PACK_GOAL)
    beside("later epoch / generator's", "later", "packed", "generator", LATER_GOAL)
    beside("later epoch / dataset's", "later", "packed", "dataset", DATASET_GOAL)
    beside("streamed: later epoch / generator's", "later", "streamed", "generator")
    beside("streamed: later epoch / dataset's", "later", "streamed", "dataset")


def touch_memory() -> None:
    """Have memory at hand: a virtual machine may have given what is free to its host, and waits to get it back."""
    import numpy as np

    if COLD not in os.environ:
        np.ones(WARM_BYTES, np.uint8)


def each_kind(folder: Path, place: Path, epochs: int) -> dict[str, Seconds]:
    """One round: each kind in a process of its own, in turn."""
    found = {}
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed, with its bytecode
    for kind in KINDS:
        answer = place / "answer.json"
        argv = [
            sys.executable,
            __file__,
            "--data",
            folder,
            "--epochs",
            epochs,
            "--child",
            kind,
            place,
            answer,
        ]
        done = subprocess.run(
            [str(word) for word in argv], capture_output=True, text=True, cwd=place, env=environment
        )
        if done.returncode:
            sys.exit(
                f"{kind}: exit status {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
            )
        seconds = json.loads(answer.read_text())
        found[kind] = Seconds(seconds[0], statistics.median(seconds[1:] or seconds))
    return found


def packed(folder: Path, place: Path, epochs: int, cache: str = "memory") -> list[float]:
    """Packed by hpcdl, read by the trainer's own source.

    Packing counts for the first epoch: the whole command, as a user calls it.
    """
    out = place / "packed"
    shutil.rmtree(out, ignore_errors=True)
    touch_memory()
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hpcdl", "data", "pack", folder, "--to", out], check=True)
    pack_s = time.perf_counter() - begin
    seconds = read_by_hpcdl(out, epochs, cache)
    return [pack_s + seconds[0], *seconds[1:]]


def read_by_hpcdl(path: Path, epochs: int, cache: str) -> list[float]:
    """The trainer's own source: float32 images in [0, 1], in the epoch's order."""
    import numpy as np

    from hpcdl.trainer.dataset.load import epoch_order, load
    from hpcdl.trainer.dataset.source import Source

    def all_epochs() -> Iterator[None]:
        loaded = load(str(path), DataSpec(path=str(path), cache=cache))
        parts = [
            (Source(part), np.arange(part.rows, dtype=np.int32))
            for part in (loaded.train, loaded.test)
        ]
        for epoch in range(epochs):
            for source, rows in parts:
                for item in source.each(epoch_order(rows, 1, epoch), BATCH):
                    source.take(item)
            yield

    return timed(all_epochs())


def held(folder: Path, place: Path, epochs: int) -> list[float]:
    """The folder as it is, decoded into memory once by the trainer."""
    return read_by_hpcdl(folder, epochs, "memory")


def streamed(folder: Path, place: Path, epochs: int) -> list[float]:
    """The same, but the pixels are read from the file in each epoch."""
    return packed(folder, place, epochs, "none")


def generator(folder: Path, place: Path, epochs: int) -> list[float]:
    import tensorflow as tf

    def all_epochs() -> Iterator[None]:
        made = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255)
        batches = made.flow_from_directory(str(folder), target_size=SIZE, batch_size=BATCH)
        for _ in range(epochs):
            for _ in range(len(batches)):
                next(batches)
            yield

    return timed(all_epochs())


def dataset(folder: Path, place: Path, epochs: int) -> list[float]:
    import tensorflow as tf

    def all_epochs() -> Iterator[None]:
        batches = tf.keras.utils.image_dataset_from_directory(
            str(folder), image_size=SIZE, batch_size=BATCH
        )
        batches = batches.prefetch(tf.data.AUTOTUNE)
        for _ in range(epochs):
            for _ in batches:
                pass
            yield

    return timed(all_epochs())


KINDS: dict[str, Callable[[Path, Path, int], list[float]]] = {
    "held": held,
    "packed": packed,
    "streamed": streamed,
    "generator": generator,
    "dataset": dataset,
}


def timed(epochs: Iterator[None]) -> list[float]:
    """The seconds of each epoch; what comes before the first counts for it."""
    touch_memory()
    seconds, begin = [], time.perf_counter()
    for _ in epochs:
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    return seconds


def report_memory(data: Path, place: Path, counts: list[int]) -> None:
    """Peak memory of whole runs that stream, over few and many files, from the folder and from a packed set."""
    python = command(None, [place])
    peaks: dict[str, list[float]] = {"folder": [], "packed": []}
    for count in counts:
        folder = enlarged(data, place / f"images{count}", count)
        out = place / f"packed{count}"
        subprocess.run(
            [*python, "-m", "hpcdl", "data", "pack", folder, "--to", out],
            check=True,
            capture_output=True,
        )
        for kind, path in (("folder", folder), ("packed", out)):
            peaks[kind].append(peak_of_a_run(python, place, path))
        shutil.rmtree(folder)
        shutil.rmtree(out)
    for kind, (few, many) in peaks.items():
        show(
            f"{kind}, streamed: peak at {counts[1]:,} / {counts[0]:,}",
            [many],
            [few],
            MEMORY_GOAL,
            "MiB",
        )


def peak_of_a_run(python: list[str], place: Path, data: Path) -> float:
    """The MiB of one epoch of a small model over a set that is streamed."""
    run = place / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    spec = RunSpec(
        name="images",
        data=DataSpec(path=str(data), cache="none"),
        model=MlpSpec(dense=[8]),
        train=TrainSpec(epochs=1, batch_size=BATCH, optimizer=OptimizerSpec("sgd", 0.01)),
        devices=DeviceSpec(),
        hpcdl_version=hpcdl.__version__,
        saving=SavingSpec(),
    )
    (run / "run.json").write_text(spec.to_json())
    return train(python, place, ["-m", "hpcdl.trainer", str(run / "run.json")])[0]


if __name__ == "__main__":
    main()
