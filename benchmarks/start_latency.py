"""How long from a batch script's first line to the trainer's first line, beside a hand-written container job?"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from measure import show_machine

from hpcdl.cluster import Cluster, load_cluster
from hpcdl.job import load_job
from hpcdl.submission.prepare import prepare
from hpcdl.submission.send import submit

CHECKOUT = Path(__file__).resolve().parents[1]
GOAL_S = 1.0
JOB = """
name: start-latency
resources: {gpus: 1, time: "00:05:00"}
data: {name: mnist}
model: {name: mlp}
train: {epochs: 1}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cluster", required=True, help="profile, with the image and account to use"
    )
    parser.add_argument(
        "--container", default="tensorflow", help="a name in its images (default: tensorflow)"
    )
    parser.add_argument(
        "--pairs", type=int, default=5, help="how often each is run, in turn (default: 5)"
    )
    options = parser.parse_args()
    cluster = load_cluster(options.cluster)
    show_machine()
    with tempfile.TemporaryDirectory(prefix="start-latency-", dir=shared_folder(cluster)) as name:
        folder = Path(name)
        through_hpcdl = partial(latency_of_hpcdl, cluster, options.container, folder)
        by_hand = partial(latency_by_hand, cluster, options.container, folder)
        figures = [(through_hpcdl(), by_hand()) for _ in range(options.pairs)]
    for ours, plain in figures:
        print(f"hpcdl {ours:.3f} s, by hand {plain:.3f} s, more by {ours - plain:.3f} s")
    more = statistics.median(ours - plain for ours, plain in figures)
    print(f"median: {more:.3f} s more   goal <= {GOAL_S:g} s")
    show_machine()


def latency_of_hpcdl(cluster: Cluster, container: str, folder: Path) -> float:
    """One submitted run, cancelled when the trainer has spoken."""
    (folder / "job.yaml").write_text(JOB)
    job = load_job(folder / "job.yaml", [f"container={container}"])
    ready = prepare(job, cluster, runs_dir=str(folder / "runs"))
    assert ready.script is not None
    began = folder / "began.hpcdl"
    run = submit(replace(ready, script=with_time_stamp(ready.script, began)))
    spoke = when_written(run.paths.log(1), "hpcdl ")
    run.cancel()
    return spoke - float(began.read_text())


def latency_by_hand(cluster: Cluster, container: str, folder: Path) -> float:
    """One batch script as one writes it by hand, with the modules and the image of the profile."""
    began, spoke = folder / "began.hand", folder / "spoke.hand"
    spoke.unlink(missing_ok=True)
    image = cluster.images[container]
    python = f"{cluster.runtime} exec --bind {folder} {image.path} {image.python}"
    lines = [
        "#!/bin/bash",
        f"#SBATCH --account={cluster.account} --qos={cluster.qos} --gres=gpu:1 --time=00:05:00 --output=/dev/null",
        f"#SBATCH --cpus-per-task={cluster.node.cpus // max(1, cluster.node.gpus)}",
        *[f"module load {module}" for module in cluster.modules],
        f"""{python} -c 'import time; open("{spoke}", "w").write(str(time.time()))'""",
    ]
    (folder / "hand.slurm").write_text(with_time_stamp("\n".join(lines) + "\n", began))
    subprocess.run(
        ["sbatch", "--parsable", "hand.slurm"], cwd=folder, check=True, capture_output=True
    )
    when_written(spoke)
    return float(spoke.read_text()) - float(began.read_text())


def with_time_stamp(script: str, began: Path) -> str:
    """The script with a first command that writes down when it runs."""
    lines = script.splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    return "".join([*lines[:first], f"date +%s.%N > {began}\n", *lines[first:]])


def when_written(path: Path, start: str = "") -> float:
    """Wait until a file has a line that begins like this; when that was."""
    deadline = time.monotonic() + 300
    while True:
        lines = path.read_text().splitlines() if path.exists() else []
        if any(line.startswith(start) for line in lines):
            return path.stat().st_mtime
        if time.monotonic() > deadline:
            sys.exit(f"{path} has no line that begins with {start!r}:\n" + "\n".join(lines))
        time.sleep(0.005)


def shared_folder(cluster: Cluster) -> Path:
    folder = Path(cluster.runs_root)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
