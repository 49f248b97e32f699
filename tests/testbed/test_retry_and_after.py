"""Runs that are sent again by their cause, and runs that come after others, on the real SLURM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.testbed.conftest import Bed, Run, until
from tests.testbed.sweeps import Sweep
from tests.testbed.test_node_checks import MEAN_ONCE

pytestmark = pytest.mark.testbed

JOB = 'name: {name}\ncontainer: python\nresources: {{gpus: {gpus}, time: "00:05:00"}}\nscript: {name}.py\n'
# Prints a last line and fails, unless it is asked the second time
ONCE = """
import os, sys
if os.path.exists("again"):
    sys.exit()
open("again", "w").close()
print({words!r})
sys.exit(1)
"""


def job(bed: Bed, name: str, program: str, more: str = "", gpus: int = 0) -> str:
    bed.write(f"{name}.py", program)
    return str(bed.write(f"{name}.yaml", JOB.format(name=name, gpus=gpus) + more))


def shown(run: Run) -> str:
    """What SLURM knows of a run's job."""
    argv = ["scontrol", "show", "job", run.job_id]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_more_memory_is_asked_for(bed: Bed) -> None:
    memory = "resources.memory_gb=2"
    run = bed.submit(
        job(bed, "eats", ONCE.format(words="MemoryError")),
        *("--set", "cluster.memory_request=mem", "--set", memory),
    )
    assert run.wait()["cause"] == "out_of_memory"
    dry = bed.run("hpcdl", "retry", run.path, "--dry-run").stdout
    assert "memory 2 GB -> 3 GB · --mem=3072M" in dry
    assert bed.run("hpcdl", "retry", run.path).stdout == f"{run.path}\n"
    assert run.wait()["state"] == "done"
    assert "MinMemoryNode=3G" in shown(run)
    again = bed.run("hpcdl", "retry", run.path)
    assert (again.stdout, "nothing: it is done" in again.stderr) == ("", True)


def test_memory_comes_with_cpus(bed: Bed) -> None:
    run = bed.submit(
        job(bed, "eats", ONCE.format(words="MemoryError")), "--set", "resources.cpus=2"
    )
    run.wait()
    refused = bed.run("hpcdl", "retry", run.path, "--memory-gb", 10_000, check=False)
    assert (refused.returncode, "no node here has more than" in refused.stderr) == (2, True)
    bed.run("hpcdl", "retry", run.path)
    assert run.wait()["state"] == "done"
    assert "CPUs/Task=3" in shown(run)


def test_broken_device_is_left(bed: Bed) -> None:
    words = "CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error"
    run = bed.submit(
        job(bed, "broken", ONCE.format(words=words), gpus=1), "--set", "slurm.exclude=n4"
    )
    failed = run.wait()
    assert failed["cause"] == "device"
    bed.run("hpcdl", "retry", run.path)
    ended = run.wait()
    assert ended["state"] == "done"
    first, second = (attempt["node"] for attempt in ended["attempts"])
    assert second not in (first, "n4")


def test_cancelled_run_is_sent_by_name(bed: Bed) -> None:
    run = bed.submit(job(bed, "waits", "print(1)\n", "slurm: {hold: true}\n"))
    bed.run("hpcdl", "cancel", run.path)
    assert bed.run("hpcdl", "retry", run.path, check=False).returncode == 2
    bed.run("hpcdl", "retry", run.path, "--cause", "cancelled")
    subprocess.run(["scontrol", "release", run.job_id], check=True)
    assert run.wait()["state"] == "done"


def sleeper(bed: Bed, name: str, seconds: float = 0, fails: bool = False) -> str:
    """A job that sleeps, and fails unless it is asked the second time."""
    end = ONCE.format(words="no") if fails else ""
    return job(bed, name, f"import time\ntime.sleep({seconds})\n{end}")


def test_second_waits_for_first(bed: Bed) -> None:
    first = bed.submit(sleeper(bed, "first", 3))
    second = bed.submit(sleeper(bed, "second"), "--after", first.path)
    waiting = until(lambda: (s := second.status())["note"] and s)
    assert waiting["note"] == f"Dependency: it waits for first/{first.path.name}"
    assert second.wait()["state"] == "done"
    starts = [run.lines("attempts.jsonl")[-1]["time"] for run in (first, second)]
    assert starts == sorted(starts)
    third = bed.submit(sleeper(bed, "third"), "--after", second.path, "--after", "first")
    assert "Dependency=(null)" in shown(third)
    assert third.wait()["state"] == "done"


def test_failed_first_cancels_the_rest(bed: Bed) -> None:
    """Both that come after it are cancelled and say why; a retry sends all three."""
    first = bed.submit(sleeper(bed, "first", 3, fails=True))
    second = bed.submit(sleeper(bed, "second"), "--after", first.path)
    bed.write("third.py", "print(3)\n")
    third_job = bed.write(
        "third.yaml", JOB.format(name="third", gpus=0) + f"after: [{second.path}]\n"
    )
    third = bed.submit(third_job)
    assert first.wait()["state"] == "failed"
    ended = until(lambda: (s := second.status())["state"] == "cancelled" and s)
    assert ended["cause"] == "dependency"
    why = f"first/{first.path.name}, after which it was to run, is failed"
    assert ended["note"] == why
    assert why in bed.run("hpcdl", "result", second.path, check=False).stdout
    until(lambda: third.status()["cause"] == "dependency")
    late = bed.run(
        *("hpcdl", "submit", third_job, "--cluster", bed.profile, "--runs-dir", bed.runs),
        check=False,
    )
    assert (late.returncode, "expected a run that may still succeed" in late.stderr) == (2, True)
    assert len(list(bed.runs.glob("third/*"))) == 1
    refused = bed.run("hpcdl", "retry", second.path, check=False)
    assert (refused.returncode, f"hpcdl retry {first.path}" in refused.stderr) == (2, True)
    again = bed.run("hpcdl", "retry", first.path, "--force")
    assert again.stdout == f"{first.path}\n"
    assert again.stderr.count("sent again, too") == 2
    assert [run.wait()["state"] for run in (first, second, third)] == ["done"] * 3


def test_any_end_will_do(bed: Bed) -> None:
    first = bed.submit(sleeper(bed, "first", 2, fails=True))
    second = bed.submit(sleeper(bed, "second"), "--after", f"{first.path}:any")
    assert second.wait()["state"] == "done"
    assert first.json("result.json")["state"] == "failed"


def test_waiting_run_is_moved(bed: Bed) -> None:
    """It waits for two; the one that fails and is sent again is waited for again."""
    slow = bed.submit(sleeper(bed, "slow", 20))
    first = bed.submit(sleeper(bed, "first", fails=True))
    last = bed.submit(sleeper(bed, "last"), "--after", slow.path, "--after", f"{first.path}:any")
    first.wait()
    again = bed.run("hpcdl", "retry", first.path, "--force").stderr
    assert f"waits for its new job: {last.path}" in again
    assert f"afterany:{first.job_id}(" in shown(last)
    assert f"afterok:{slow.job_id}(" in shown(last)
    assert last.wait()["state"] == "done"


@pytest.mark.parametrize("fails", [False, True])
def test_run_waits_for_a_chain(bed: Bed, fails: bool) -> None:
    """The rest of a chain is cancelled at its end, well or not: the next run looks itself."""
    chain = ("--set", "cluster.requeue=false", "--set", "cluster.max_requeues=2")
    first = bed.submit(sleeper(bed, "first", 2, fails), *chain)
    second = bed.submit(sleeper(bed, "second"), "--after", first.path, *chain)
    ended = second.wait()
    assert (ended["state"], ended["cause"] if fails else None) == (
        ("cancelled", "dependency") if fails else ("done", None)
    )
    assert second.status()["state"] == ended["state"]


def test_moved_run_is_waited_for(bed: Bed) -> None:
    """Another job takes the place of one whose node is not fit, and that one ends with 0."""
    python = bed.write("python", MEAN_ONCE.format(folder=bed.folder))
    python.chmod(0o755)
    host_python = ("--set", f"cluster.host_python={python}")
    first = bed.submit(
        job(bed, "first", "import time\ntime.sleep(5)\n", "slurm: {hold: true}\n", gpus=2),
        *host_python,
    )
    old_job = first.job_id
    second = bed.submit(sleeper(bed, "second"), "--after", first.path)
    bed.run("scontrol", "release", old_job)
    assert second.wait()["state"] == "done"
    assert first.job_id != old_job
    assert f"afterok:{old_job}" not in shown(second)
    started = second.lines("attempts.jsonl")[0]["time"]
    assert started >= first.lines("attempts.jsonl")[-1]["time"]


SWEPT = """
import json, os, sys
if not os.path.exists("again"):
    open("again", "w").close()
    print("no")
    sys.exit(1)
with open(os.environ["HPCDL_METRICS_FILE"], "a") as lines:
    lines.write(json.dumps({"epoch": 1, "val_loss": 1.0}) + "\\n")
"""


def release(bed: Bed, sweep: str) -> None:
    """Let the sweep's newest tasks start."""
    bed.run("scontrol", "release", Sweep(bed, Path(sweep)).job_ids[-1])


def test_run_waits_for_a_sweep(bed: Bed) -> None:
    """If all trials have failed it is cancelled and says why; a retry of the sweep sends both again."""
    swept = job(bed, "swept", SWEPT, "slurm: {hold: true}\n")
    sweep = bed.run(
        *("hpcdl", "sweep", swept, "--cluster", bed.profile, "--runs-dir", bed.runs),
        *("--over", "args.rate=0.1|0.2", "--method", "grid", "--metric", "val_loss"),
    ).stdout.strip()
    name = "/".join(sweep.split("/")[-2:])
    looks = 'import os\nprint(sorted(os.listdir(os.environ["HPCDL_AFTER"] + "/trials")))\n'
    after = job(bed, "looks", looks)
    second = bed.submit(after, "--after", sweep)
    assert "Dependency=afterany:" in shown(second)
    release(bed, sweep)
    ended = second.wait()
    assert (ended["state"], ended["cause"]) == ("cancelled", "dependency")
    assert second.status()["note"] == f"{name}, after which it was to run, is failed"
    late = bed.run(
        *("hpcdl", "submit", after, "--cluster", bed.profile, "--runs-dir", bed.runs),
        *("--after", sweep),
        check=False,
    )
    assert late.returncode == 2
    assert f"again with hpcdl retry {sweep}, and then this one, or say SWEEP:any" in late.stderr

    again = bed.run("hpcdl", "retry", sweep, "--force")
    assert f"sent again, too, to run after it: {second.path}" in again.stderr
    release(bed, sweep)
    assert second.wait()["state"] == "done"
    assert "['00000', '00001']" in (second.path / "logs" / "2.log").read_text()
    third = bed.submit(after, "--after", sweep)
    assert "Dependency=(null)" in shown(third)
    assert third.wait()["state"] == "done"
