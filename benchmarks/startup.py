"""How long does the hpcdl command take to start, beside the least that Python and its libraries would take?

With --cluster, on a login node, also: how long does it take to submit a script, beside submitit's own submission?
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measure import in_turn, show, show_machine

CHECKOUT = Path(__file__).resolve().parents[1]
HPCDL = [str(Path(sys.executable).with_name("hpcdl"))]
RENDER = [
    "render",
    "jobs/mnist_script.yaml",
    "--cluster",
    "marenostrum5",
    "--set",
    "cluster.account=nct00",
]
FILES_GOAL = 250

# Without strace: what Python itself opens, in the process that renders.
COUNT_OPENS = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
from hpcdl.cli import main
main(sys.argv[1:])
print(len(opened), file=sys.stderr)
"""

JOB = """
name: startup
resources: {gpus: 0, cpus: 1, time: "00:05:00"}
script: nothing.py
slurm: {begin: now+1hour}
"""

# What somebody writes who uses submitit alone: the folder and SLURM's parameters are its arguments.
SUBMITIT = """
import sys
import submitit

def nothing():
    return None

folder, *given = sys.argv[1:]
executor = submitit.SlurmExecutor(folder)
site = dict(text.split("=") for text in given)
executor.update_parameters(time=5, cpus_per_task=1, additional_parameters={"begin": "now+1hour"}, **site)
executor.submit(nothing)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--pairs", type=int, default=30, help="how often each is run, in turn (default: 30)"
    )
    parser.add_argument(
        "--cluster", help="profile to submit with, on a login node (default: submit nothing)"
    )
    parser.add_argument(
        "--container", default="tensorflow", help="a name in its images (default: tensorflow)"
    )
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.platform()}")
    show_machine()
    compare = partial(in_turn, pairs=options.pairs)
    run([*HPCDL, *RENDER])  # its modules' compiled files are there afterwards
    for clock in (wall, cpu):
        name = clock.__name__
        ours, bare = compare(partial(clock, [*HPCDL, "--help"]), partial(clock, python("pass")))
        show(f"hpcdl --help / python -c pass, {name}", ours, bare, goal=4.5)
        ours, bare = compare(
            partial(clock, [*HPCDL, *RENDER]), partial(clock, python("import jinja2, yaml"))
        )
        show(f"hpcdl render / import jinja2, yaml, {name}", ours, bare, goal=1.8)
    how, count = files_opened()
    print(f"files opened by hpcdl render ({how}): {count}   goal <= {FILES_GOAL}")
    if options.cluster:
        compare_submissions(options.cluster, options.container, options.pairs)
    show_machine()


def compare_submissions(profile: str, container: str, pairs: int) -> None:
    """Submit a script that does nothing in three ways, in turn. The jobs do not start, and are cancelled."""
    from hpcdl.cluster import load_cluster

    cluster = load_cluster(profile)
    Path(cluster.runs_root).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="startup-", dir=cluster.runs_root, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(
            folder / "cache"
        )  # the first submission finds nothing kept
        (folder / "job.yaml").write_text(JOB)
        (folder / "nothing.py").touch()
        site = ["--cluster", str(Path(profile).resolve()), "--runs-dir", str(folder / "runs")]
        submit = [
            *HPCDL,
            "submit",
            str(folder / "job.yaml"),
            *site,
            "--set",
            f"container={container}",
        ]
        words = {"account": cluster.account, "qos": cluster.qos, "partition": cluster.partition}
        given = [f"{key}={value}" for key, value in words.items() if value]
        alone = [*python(SUBMITIT), str(folder / "submitit"), *given]
        try:
            print(
                f"hpcdl submit, the first one, with nothing kept: {wall(submit):.3f} s", flush=True
            )
            wall(alone)  # its modules' compiled files are there afterwards
            for clock in (wall, cpu):
                rows = [
                    (clock(submit), clock([*submit, "--no-check"]), clock(alone))
                    for _ in range(pairs)
                ]
                checked, unchecked, plain = (list(column) for column in zip(*rows, strict=True))
                show(f"hpcdl submit / submitit, {clock.__name__}", checked, plain, goal=3)
                show(
                    f"hpcdl submit --no-check / submitit, {clock.__name__}",
                    unchecked,
                    plain,
                    goal=2,
                )
        finally:
            cancel_jobs(folder)


def cancel_jobs(folder: Path) -> None:
    """Cancel what was submitted from a folder, as submitit's scripts and hpcdl's records name it."""
    job_ids = [script.name.partition("_")[0] for script in folder.glob("submitit/*_submission.sh")]
    job_ids += [
        json.loads(record.read_text())["job_id"]
        for record in folder.glob("runs/*/*/submitted.json")
    ]
    subprocess.run(["scancel", "--quiet", *job_ids], check=False)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wall(argv: Sequence[str]) -> float:
    """Seconds that a person waits."""
    started = time.perf_counter()
    run(argv)
    return time.perf_counter() - started


def cpu(argv: Sequence[str]) -> float:
    """Seconds of processor time: less disturbed by what else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(argv)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command, which may keep its modules' compiled files as it does for a user."""
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    return subprocess.run(
        argv, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True
    )


def files_opened() -> tuple[str, int]:
    """How many opens succeed in one render: all of the process's by strace, else those Python tells of."""
    if not shutil.which("strace"):
        return "told by Python", int(run([*python(COUNT_OPENS), *RENDER]).stderr)
    with tempfile.NamedTemporaryFile("r") as log:
        run(["strace", "-f", "-o", log.name, "-e", "trace=open,openat", *HPCDL, *RENDER])
        return "counted by strace", sum("open" in line and "= -1" not in line for line in log)


if __name__ == "__main__":
    main()
