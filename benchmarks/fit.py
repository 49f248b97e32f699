"""How long does training take, and how much memory, beside the course's plain model.fit of the same model?"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from measure import show, show_machine

import hpcdl
from hpcdl.cluster import load_cluster
from hpcdl.contract.spec import DataSpec
from hpcdl.job import load_job
from hpcdl.submission.locate import run_spec

CHECKOUT = Path(__file__).resolve().parents[1]
PLAIN = Path(__file__).with_name("plain_fit.py")

FIT_GOAL = {"mnist_cnn": 0.95, "mnist_mlp": 0.7}
OLD_FIT_GOAL = {"mnist_cnn": 0.95, "mnist_mlp": 0.9}  # TensorFlow 2.11
MEMORY_GOAL = {"mnist_cnn": 0.7, "mnist_mlp": 1.0}

# Runs a module or a file as python itself would, and writes what it took: its most memory (MiB) and processor time (s).
MEASURED = """
import atexit, runpy, sys, time
answer, kind, what = sys.argv[1:4]
sys.argv = sys.argv[3:]
def write():
    lines = open("/proc/self/status").read().splitlines()
    kib = [line.split()[1] for line in lines if line.startswith("VmHWM")][0]
    open(answer, "w").write("{} {}".format(int(kib) / 1024, time.process_time()))
atexit.register(write)
if kind == "-m":
    runpy.run_module(what, run_name="__main__", alter_sys=True)
else:
    runpy.run_path(what, run_name="__main__")
"""


@dataclass
class Figures:
    """What one training took; ``later_s`` is the median epoch after the first, which holds the tracing of the graph."""

    fit_s: float
    later_s: float
    peak_mib: float
    cpu_s: float
    accuracy: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="mnist.npz")
    parser.add_argument("--image", type=Path, help="train in this image, not with this Python")
    parser.add_argument(
        "--jobs", nargs="+", default=list(FIT_GOAL), choices=list(FIT_GOAL), metavar="JOB"
    )
    parser.add_argument("--epochs", type=int, default=2, help="default: 2")
    parser.add_argument(
        "--pairs", type=int, default=2, help="how often each is trained, in turn (default: 2)"
    )
    options = parser.parse_args()
    show_machine()
    with tempfile.TemporaryDirectory(prefix="hpcdl-fit-") as folder:
        python = command(options.image, [Path(folder), CHECKOUT, options.data.resolve().parent])
        version = tensorflow_version(python)
        where = options.image or "this Python"
        print(
            f"hpcdl {hpcdl.__version__}, TensorFlow {version} of {where}, {options.epochs} epochs",
            flush=True,
        )
        for job in options.jobs:
            ours, plain = [], []
            train = partial(
                train_with_hpcdl, python, Path(folder), job, options.data.resolve(), options.epochs
            )
            fit = partial(
                train_plainly, python, Path(folder), job, options.data.resolve(), options.epochs
            )
            for _ in range(options.pairs):
                ours.append(train())
                plain.append(fit())
            report(job, version, ours, plain)
    show_machine()


def report(job: str, version: str, ours: list[Figures], plain: list[Figures]) -> None:
    goal = (OLD_FIT_GOAL if version.startswith("2.11.") else FIT_GOAL)[job]
    show(f"{job}: all epochs", [f.fit_s for f in ours], [f.fit_s for f in plain], goal)
    show(
        f"{job}: an epoch after the first",
        [f.later_s for f in ours],
        [f.later_s for f in plain],
        goal,
    )
    show(
        f"{job}: peak memory",
        [f.peak_mib for f in ours],
        [f.peak_mib for f in plain],
        MEMORY_GOAL[job],
        "MiB",
    )
    show(f"{job}: CPU time, imports included", [f.cpu_s for f in ours], [f.cpu_s for f in plain])
    accuracies = [statistics.median(f.accuracy for f in figures) for figures in (ours, plain)]
    print(f"{job}: test accuracy {accuracies[0]:.4f}, plain {accuracies[1]:.4f}", flush=True)


def command(image: Path | None, binds: list[Path]) -> list[str]:
    """The Python that trains: this one, or an image's that sees these folders."""
    if image is None:
        return ["env", f"PYTHONPATH={CHECKOUT}", sys.executable]
    runtime = shutil.which("apptainer") or shutil.which("singularity")
    if runtime is None:
        sys.exit("there is no apptainer or singularity command here")
    shown = [word for bind in binds for word in ("--bind", str(bind))]
    inside = ["env", "PYTHONNOUSERSITE=1", f"HOME={binds[0]}", f"PYTHONPATH={CHECKOUT}", "python"]
    return [
        runtime,
        "exec",
        "--userns",
        "--cleanenv",
        "--no-home",
        *shown,
        "--pwd",
        str(binds[0]),
        str(image),
        *inside,
    ]


def tensorflow_version(python: list[str]) -> str:
    code = "import tensorflow; print(tensorflow.__version__)"
    done = subprocess.run([*python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"no TensorFlow there:\n{done.stderr[-1000:]}")
    return done.stdout.split()[-1]


def train_with_hpcdl(python: list[str], folder: Path, job: str, data: Path, epochs: int) -> Figures:
    """One run of hpcdl's trainer, as a compute node starts it."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    sets = [f"train.epochs={epochs}", "resources.gpus=0"]
    spec = run_spec(load_job(CHECKOUT / "jobs" / f"{job}.yaml", sets), load_cluster("local"))
    assert spec is not None
    spec.data = DataSpec(path=str(data))
    (run / "run.json").write_text(spec.to_json())
    peak_mib, cpu_s = train(python, folder, ["-m", "hpcdl.trainer", str(run / "run.json")])
    result = json.loads((run / "result.json").read_text())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # by the clock, from epoch's end to epoch's end: what hpcdl does between its steps counts as well
    seconds = [
        lines[0]["seconds"],
        *(line["time"] - before["time"] for before, line in pairwise(lines)),
    ]
    return Figures(sum(seconds), later(seconds), peak_mib, cpu_s, result["test"]["accuracy"])


def train_plainly(python: list[str], folder: Path, job: str, data: Path, epochs: int) -> Figures:
    """The same model by the course's script."""
    answer = folder / "plain.json"
    peak_mib, cpu_s = train(
        python, folder, ["file", str(PLAIN), job, str(data), str(epochs), str(answer)]
    )
    result = json.loads(answer.read_text())
    return Figures(result["fit_s"], later(result["epochs_s"]), peak_mib, cpu_s, result["accuracy"])


def train(python: list[str], folder: Path, program: list[str]) -> tuple[float, float]:
    """Run a program; the MiB and the seconds of processor time that it needed."""
    answer = folder / "answer"
    done = subprocess.run(
        [*python, "-c", MEASURED, str(answer), *program], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(
            f"{' '.join(program)}: exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
    peak_mib, cpu_s = answer.read_text().split()
    return float(peak_mib), float(cpu_s)


def later(seconds: list[float]) -> float:
    return statistics.median(seconds[1:] or seconds)


if __name__ == "__main__":
    main()
