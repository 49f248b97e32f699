"""How long from the batch script's first line to the end of the first step on two nodes?

The other side is a script as one writes it by hand: srun, a container, TF_CONFIG from the node list,
MultiWorkerMirroredStrategy and the same network. Both import TensorFlow, read the same file and
trace their graph; hpcdl also checks its nodes, meets the other members, and tries an all-reduce.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from measure import in_turn, show, show_machine
from start_latency import shared_folder, when_written, with_time_stamp

from hpcdl.cluster import Cluster, load_cluster
from hpcdl.job import load_job
from hpcdl.submission.prepare import prepare
from hpcdl.submission.send import submit

PLAIN = Path(__file__).with_name("plain_workers.py")
GOAL = 1.2
LIMIT_S = 300
JOB = """
name: nodes-start
resources: {{gpus: 1, nodes: 2, time: "00:10:00"}}
container: {container}
data: {{path: {data}}}
model: {{name: cnn, filters: [32, 64], kernel_size: 5}}
train: {{epochs: 50, batch_size: 100, optimizer: {{name: sgd, learning_rate: 0.01}}}}
"""
BY_HAND = """#!/bin/bash
#SBATCH --account={account} --qos={qos} --time=00:10:00 --output={folder}/hand.out
#SBATCH --nodes=2 --ntasks-per-node=1 --gres=gpu:1 --cpus-per-task={cpus}
{modules}
port=$((20000 + SLURM_JOB_ID % 10000))
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    getent hosts "$node" >/dev/null ||  # a name that no name server knows
        node=$(scontrol show node "$node" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')
    addresses+=("$node:$((port++))")
done
srun --ntasks=2 --mpi=none {enter} {python} {program} {data} {spoke} "${{addresses[@]}}"
"""
EXAMPLES = """examples (on a login node, as a user who may submit):
  python benchmarks/nodes_start.py --cluster tests/testbed/testbed.yaml --data /gpfs/scratch/nct00/mnist.npz
  python benchmarks/nodes_start.py --cluster mine.yaml --data mnist.npz --container tf2.11 --pairs 5
"""


@dataclass(frozen=True)
class Bench:
    """What both sides use. folder: on a file system that the nodes share."""

    cluster: Cluster
    container: str
    data: Path
    folder: Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cluster", required=True, help="profile, with the account to use")
    parser.add_argument(
        "--data", required=True, type=Path, help="mnist.npz, where the nodes can read it"
    )
    parser.add_argument(
        "--container", default="tensorflow", help="a name in its images (default: tensorflow)"
    )
    parser.add_argument(
        "--pairs", type=int, default=3, help="how often each is run, in turn (default: 3)"
    )
    options = parser.parse_args()
    cluster = load_cluster(options.cluster)
    show_machine()
    with tempfile.TemporaryDirectory(prefix="nodes-start-", dir=shared_folder(cluster)) as name:
        bench = Bench(cluster, options.container, options.data.resolve(), Path(name))
        ours, plain = in_turn(
            lambda: through_hpcdl(bench), lambda: by_hand(bench), pairs=options.pairs
        )
    for seconds, others in zip(ours, plain, strict=True):
        print(f"hpcdl {seconds:.2f} s, by hand {others:.2f} s")
    show("first line to first step, hpcdl / by hand", ours, plain, GOAL)
    show_machine()


def through_hpcdl(bench: Bench) -> float:
    """Seconds of one submitted run, which is cancelled when it has stepped."""
    job_file = bench.folder / "job.yaml"
    job_file.write_text(JOB.format(container=bench.container, data=bench.data))
    job = load_job(job_file, [])
    ready = prepare(job, bench.cluster, runs_dir=str(bench.folder / "runs"))
    assert ready.script is not None
    began = bench.folder / "began.hpcdl"
    run = submit(replace(ready, script=with_time_stamp(ready.script, began)))
    try:
        stepped = when_stepped(run.paths.heartbeat, run.paths.log(1))
    finally:
        run.cancel()
    wait_until_gone(run.job_ids()[-1])
    return stepped - float(began.read_text())


def when_stepped(heartbeat: Path, log: Path) -> float:
    """When the trainer said that its first step was done.

    It says so at once, as the first step, which traces the graph, comes more than a second after
    the word that training begins.
    """
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(0.02)
        try:
            beat = json.loads(heartbeat.read_text())
        except (OSError, ValueError):
            continue
        if beat.get("step", 0) >= 1:
            return float(beat["time"])
    sys.exit(f"no step after {LIMIT_S} s:\n{log.read_text() if log.exists() else 'no log'}")


def by_hand(bench: Bench) -> float:
    """Seconds of one job that is written by hand."""
    cluster, folder = bench.cluster, bench.folder
    began, spoke = folder / "began.hand", folder / "spoke.hand"
    spoke.unlink(missing_ok=True)
    image = cluster.images[bench.container]
    binds = [f"--bind {path}" for path in (folder, PLAIN.parent, bench.data.parent)]
    script = BY_HAND.format(
        account=cluster.account,
        qos=cluster.qos,
        folder=folder,
        cpus=cluster.node.cpus // max(1, cluster.node.gpus),
        modules="\n".join(f"module load {module}" for module in cluster.modules),
        enter=f"{cluster.runtime} exec {' '.join(binds)} {image.path}",
        python=image.python,
        program=PLAIN,
        data=bench.data,
        spoke=spoke,
    )
    (folder / "hand.slurm").write_text(with_time_stamp(script, began))
    sent = subprocess.run(
        ["sbatch", "--parsable", "hand.slurm"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    job_id = sent.stdout.strip().partition(";")[0]
    try:
        when_written(spoke)
    finally:
        subprocess.run(["scancel", job_id], check=False)
    wait_until_gone(job_id)
    return float(spoke.read_text()) - float(began.read_text())


def wait_until_gone(job_id: str) -> None:
    """Wait until nothing of a job runs: it would take CPUs from the next one."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        argv = ["squeue", "--noheader", f"--jobs={job_id}"]
        listed = subprocess.run(argv, capture_output=True, text=True, check=False)
        if not listed.stdout.strip():
            return
        time.sleep(0.5)


if __name__ == "__main__":
    main()
