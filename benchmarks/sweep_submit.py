"""How long does it take to submit a sweep of 1,000 trials, beside one raw `sbatch --array` and submitit's map_array?

On a login node, as a user who may submit. The jobs do not start, and are cancelled.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from measure import show_machine

from hpcdl.cluster import Cluster, load_cluster

GOAL_S = 1.0
JOB = """
name: sweep-submit
container: {container}
resources: {{gpus: 0, cpus: 1, time: "00:05:00"}}
script: nothing.py
slurm: {{begin: now+1hour}}
"""
# A whole program each, with its imports, as a person waits for it
HPCDL = """
import sys
from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.submission.sweep import prepare_sweep, send_sweep
from hpcdl.sweeps.settings import SweepSettings

profile, job, runs, trials, at_once, per_task = sys.argv[1:]
settings = SweepSettings(
    name="sweep-submit", over={"args.learning_rate": "log:1e-4..1e-1"}, method="random",
    metric="score", direction="maximize", trials=int(trials), at_once=int(at_once),
    trials_per_task=int(per_task) or None,
)
prepared = prepare_sweep(load_job(job), load_cluster(profile), settings, runs_dir=runs)
print(send_sweep(prepared).root)
"""
SUBMITIT = """
import sys
import submitit

def nothing(number):
    return number

folder, trials, at_once, *given = sys.argv[1:]
executor = submitit.SlurmExecutor(folder)
site = dict(text.split("=") for text in given)
later = {"begin": "now+1hour"}
executor.update_parameters(
    time=5, cpus_per_task=1, array_parallelism=int(at_once), additional_parameters=later, **site
)
print(executor.map_array(nothing, range(int(trials)))[0].job_id)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cluster", required=True, help="profile to submit with")
    parser.add_argument("--container", default="python", help="in its images (default: python)")
    parser.add_argument("--trials", type=int, default=1000, help="default: 1000")
    parser.add_argument("--at-once", type=int, default=8, help="default: 8")
    parser.add_argument("--pairs", type=int, default=5, help="how often, in turn (default: 5)")
    options = parser.parse_args()
    cluster = load_cluster(options.cluster)
    Path(cluster.runs_root).mkdir(parents=True, exist_ok=True)
    show_machine()
    with tempfile.TemporaryDirectory(
        prefix="sweep-submit-", dir=cluster.runs_root, ignore_cleanup_errors=True
    ) as name:
        ways = ways_to_submit(Path(name), cluster, options)
        for submit in ways.values():
            measure(submit)  # compiled files and hpcdl's frozen code are there afterwards
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.pairs):
            for way, submit in ways.items():
                seconds[way].append(measure(submit))
        files = count_files(Path(name), options.pairs + 1)
    raw_s = seconds["sbatch --array"]
    for way, each_s in seconds.items():
        more = statistics.median(ours - raw for ours, raw in zip(each_s, raw_s, strict=True))
        spread = f"[{min(each_s):.2f} .. {max(each_s):.2f}]"
        aim = f"{more:6.2f} s more   goal <= {GOAL_S:g} s" if way.startswith("hpcdl") else ""
        print(f"{way:<34} {statistics.median(each_s):7.2f} s {spread:<16} {aim}".rstrip())
    print(f"files that a submission leaves: {files}")
    show_machine()


def ways_to_submit(
    folder: Path, cluster: Cluster, options: argparse.Namespace
) -> dict[str, Callable[[], str]]:
    """By name: what submits once, and gives the array's job id."""
    (folder / "job.yaml").write_text(JOB.format(container=options.container))
    (folder / "nothing.py").touch()
    sizes = [str(options.trials), str(options.at_once)]
    words = {"account": cluster.account, "qos": cluster.qos, "partition": cluster.partition}
    given = {key: value for key, value in words.items() if value}
    profile = str(Path(options.cluster).resolve())
    sweep = [*python(HPCDL), profile, str(folder / "job.yaml"), str(folder / "runs"), *sizes]
    site = [f"{key}={value}" for key, value in given.items()]
    last_task = options.trials - 1
    directives = [f"--{key}={value}" for key, value in given.items()]
    lines = ["#!/bin/bash", f"#SBATCH {' '.join(directives)} --time=5 --cpus-per-task=1", "true"]
    (folder / "raw.sh").write_text("\n".join([*lines, ""]))
    array = f"--array=0-{last_task}%{options.at_once}"
    raw = ["sbatch", "--parsable", "--begin=now+1hour", "--output=/dev/null", array]

    def hpcdl(per_task: int) -> str:
        root = Path(run([*sweep, str(per_task)]))
        sent = json.loads((root / "submitted.json").read_text())["arrays"]
        return ",".join(str(one["job_id"]) for one in sent)

    def submitit() -> str:
        return run([*python(SUBMITIT), str(folder / "submitit"), *sizes, *site]).partition("_")[0]

    return {
        "sbatch --array": lambda: run([*raw, str(folder / "raw.sh")]),
        "hpcdl, a task per trial": lambda: hpcdl(1),
        f"hpcdl, {options.at_once} tasks for all trials": lambda: hpcdl(0),
        "submitit's map_array": submitit,
    }


def measure(submit: Callable[[], str]) -> float:
    """Seconds until the array is in the queue; then it is cancelled."""
    started = time.perf_counter()
    job_ids = submit()
    seconds = time.perf_counter() - started
    subprocess.run(["scancel", "--quiet", *job_ids.split(",")], check=False)
    return seconds


def count_files(folder: Path, submissions: int) -> str:
    """Files and folders that each submission has made, on average."""
    sweeps = [root for root in folder.glob("runs/*/*") if (root / "sweep.json").exists()]
    ours = sum(1 for root in sweeps for _ in root.rglob("*")) / len(sweeps)
    theirs = sum(1 for _ in (folder / "submitit").rglob("*")) / submissions
    return f"hpcdl {ours:.0f}, submitit {theirs:.0f}"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def run(argv: Sequence[str]) -> str:
    """What a command prints; modules may keep their compiled files, as they do for a user."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv[0]}: exit {done.returncode}\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
