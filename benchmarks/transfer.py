"""How long does transfer learning on a frozen MobileNetV2 take, beside the plain fit of the same model?"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fit import CHECKOUT, command, tensorflow_version, train
from measure import show, show_machine

import hpcdl
from hpcdl.cluster import load_cluster
from hpcdl.contract.spec import DataSpec
from hpcdl.job import load_job
from hpcdl.submission.locate import run_spec

PLAIN = Path(__file__).with_name("plain_transfer.py")
GOALS = {2: 1 / 2, 10: 1 / 9}  # by the number of epochs
EPOCH_GOAL = 0.05


@dataclass
class Figures:
    """What one run took, from the first image to the last test image's score, and its second epoch alone."""

    whole_s: float
    second_s: float
    accuracy: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="mnist.npz")
    parser.add_argument(
        "--weights",
        required=True,
        type=Path,
        help="MobileNetV2's weights without its classes, HDF5",
    )
    parser.add_argument("--image", type=Path, help="train in this image, not with this Python")
    parser.add_argument(
        "--rows",
        type=int,
        default=6000,
        help="training rows; a sixth as many to test (default: 6000)",
    )
    parser.add_argument(
        "--epochs", nargs="+", type=int, default=[2, 10], metavar="N", help="default: 2 10"
    )
    parser.add_argument(
        "--pairs", type=int, default=2, help="how often each is trained, in turn (default: 2)"
    )
    options = parser.parse_args()
    show_machine()
    with tempfile.TemporaryDirectory(prefix="hpcdl-transfer-") as name:
        folder = Path(name)
        data, weights = part_of(options.data, options.rows, folder), options.weights.resolve()
        python = command(options.image, [folder, CHECKOUT, weights.parent])
        where = options.image or "this Python"
        print(
            f"hpcdl {hpcdl.__version__}, TensorFlow {tensorflow_version(python)} of {where}",
            flush=True,
        )
        print(
            f"MNIST at 96x96, {options.rows} rows to train and {options.rows // 6} to test",
            flush=True,
        )
        for epochs in options.epochs:
            ours, plain = [], []
            for _ in range(options.pairs):
                ours.append(train_with_hpcdl(python, folder, data, weights, epochs))
                plain.append(train_plainly(python, folder, data, weights, epochs))
            report(epochs, ours, plain)
    show_machine()


def report(epochs: int, ours: list[Figures], plain: list[Figures]) -> None:
    whole, second = [f.whole_s for f in ours], [f.second_s for f in ours]
    show(f"{epochs} epochs and the test", whole, [f.whole_s for f in plain], GOALS.get(epochs))
    show(f"{epochs} epochs: the second one", second, [f.second_s for f in plain], EPOCH_GOAL)
    accuracies = [statistics.median(f.accuracy for f in figures) for figures in (ours, plain)]
    print(
        f"{epochs} epochs: test accuracy {accuracies[0]:.4f}, plain {accuracies[1]:.4f}", flush=True
    )


def part_of(data: Path, rows: int, folder: Path) -> Path:
    """The first rows of a data set, and a sixth as many to test, as MNIST has them."""
    with np.load(data) as arrays:
        counts = {"train": rows, "test": rows // 6}
        part = {
            f"{kind}_{name}": arrays[f"{kind}_{name}"][:n]
            for name, n in counts.items()
            for kind in "xy"
        }
    np.savez(folder / "data.npz", **part)
    return folder / "data.npz"


def train_with_hpcdl(
    python: list[str], folder: Path, data: Path, weights: Path, epochs: int
) -> Figures:
    """One run of hpcdl's trainer, as a compute node starts it, with Adam at the plain script's learning rate."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    sets = [
        f"train={{epochs: {epochs}, batch_size: 32}}",
        f"model.weights={weights}",
        "resources.gpus=0",
    ]
    spec = run_spec(load_job(CHECKOUT / "jobs/mnist_mobilenetv2.yaml", sets), load_cluster("local"))
    assert spec is not None
    spec.data = DataSpec(path=str(data), image_size=[96, 96])
    (run / "run.json").write_text(spec.to_json())
    train(python, folder, ["-m", "hpcdl.trainer", str(run / "run.json")])
    result = json.loads((run / "result.json").read_text())
    epochs_s = [
        json.loads(line)["seconds"] for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    timing = result["timing"]
    whole_s = sum(timing[name] for name in ("features_s", "train_s", "evaluate_s"))
    return Figures(whole_s, epochs_s[1], result["test"]["accuracy"])


def train_plainly(
    python: list[str], folder: Path, data: Path, weights: Path, epochs: int
) -> Figures:
    """The same model by a plain script."""
    answer = folder / "plain.json"
    train(python, folder, ["file", str(PLAIN), str(data), str(weights), str(epochs), str(answer)])
    result = json.loads(answer.read_text())
    return Figures(result["whole_s"], result["epochs_s"][1], result["accuracy"])


if __name__ == "__main__":
    main()
