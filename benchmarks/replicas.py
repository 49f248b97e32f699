"""What does the layer for many replicas cost a single one, and what do two of them gain on this machine?

Steps of all kinds alternate in one process, as each kind has its own model: loops without replicas
that are written by hand, hpcdl's steps with one replica, and with two emulated ones. On a busy
machine, only the processor time says anything about the first question.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fit import CHECKOUT, command
from measure import ratio, show, show_machine

from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.submission.locate import run_spec

STEPS = Path(__file__).with_name("replicas_steps.py")
LAYER_GOAL = 1.02
RATE_GOAL = 0.9  # images/s of two replicas, beside those of one
ROWS = 60_000  # of MNIST's train part
EXAMPLES = """examples:
  python benchmarks/replicas.py --data mnist.npz
  python benchmarks/replicas.py --data mnist.npz --image tf2.11-py39.sif --jobs mnist_mlp --rounds 30
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="mnist.npz")
    parser.add_argument("--image", type=Path, help="train in this image, not with this Python")
    parser.add_argument(
        "--jobs",
        nargs="+",
        default=["mnist_cnn", "mnist_mlp"],
        choices=["mnist_cnn", "mnist_mlp"],
        metavar="JOB",
    )
    parser.add_argument("--rounds", type=int, default=21, help="of each kind (default: 21)")
    parser.add_argument("--steps", type=int, default=40, help="of a round (default: 40)")
    parser.add_argument(
        "--batch-size", type=int, default=100, help="of all replicas (default: 100)"
    )
    options = parser.parse_args()
    if options.steps * options.batch_size > ROWS:
        parser.error(f"the steps of a round must fit into an epoch of {ROWS:,} images: take fewer")
    show_machine()
    with tempfile.TemporaryDirectory(prefix="hpcdl-replicas-") as folder:
        for job in options.jobs:
            layer = measured(Path(folder), job, options, ["none", "one", "mirrored"])
            show_layer(f"{job}, TF {layer['tensorflow']}", layer["seconds"])
            if layer["losses"]["one"] != layer["losses"]["none"]:
                print(f"{job}: the losses of the two loops are not bit for bit the same")
            two = measured(Path(folder), job, options, ["one", "two"])
            show_two(f"{job}, TF {two['tensorflow']}", two["seconds"], options)
    show_machine()


def measured(folder: Path, job: str, options: argparse.Namespace, kinds: list[str]) -> Any:
    """The seconds of the rounds of some kinds of steps, in a process of their own."""
    data = options.data.resolve()
    sets = [f"train.batch_size={options.batch_size}", "resources.gpus=0"]
    spec = run_spec(load_job(CHECKOUT / "jobs" / f"{job}.yaml", sets), load_cluster("local"))
    assert spec is not None
    run, result = folder / "run.json", folder / "result.json"
    run.write_text(spec.to_json())
    python = command(options.image, [folder, CHECKOUT, data.parent])
    counts = [str(options.rounds), str(options.steps)]
    argv = [*python, str(STEPS), str(run), str(data), *counts, str(result), *kinds]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(result.read_text())


def show_layer(job: str, seconds: dict[str, dict[str, list[float]]]) -> None:
    """One replica beside none."""
    none = seconds["none"]
    for clock in ("processor", "elapsed"):
        show(f"{job}: one replica / none, {clock}", seconds["one"][clock], none[clock], LAYER_GOAL)
    # Not what hpcdl does; it shows what TensorFlow's own layer costs
    mirrored = seconds["mirrored"]
    show(f"{job}: MirroredStrategy of one, processor", mirrored["processor"], none["processor"])


def show_two(
    job: str, seconds: dict[str, dict[str, list[float]]], options: argparse.Namespace
) -> None:
    """Two emulated replicas beside one, at the same global batch."""
    two, one = seconds["two"], seconds["one"]
    for clock in ("elapsed", "processor"):
        goal = 1 / RATE_GOAL if clock == "elapsed" else None
        show(f"{job}: two replicas / one, {clock}", two[clock], one[clock], goal)
    images = options.steps * options.batch_size
    rates = [images / statistics.median(kind["elapsed"]) for kind in (two, one)]
    gain = ratio(one["elapsed"], two["elapsed"])
    print(
        f"{job}: {rates[0]:,.0f} images/s of two replicas, {rates[1]:,.0f} of one: {gain:.2f}x"
        f"   goal >= {RATE_GOAL:g}x",
        flush=True,
    )


if __name__ == "__main__":
    main()
