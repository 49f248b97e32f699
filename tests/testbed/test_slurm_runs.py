"""Runs on the real SLURM: state, logs, cancel, stop and requeue, hostile names. Scripts in the bare Python image."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.testbed.conftest import Bed, start_again, until

pytestmark = [pytest.mark.testbed, pytest.mark.second_bed]

SCRIPT = 'name: {name}\ncontainer: python\nresources: {{gpus: 1, time: "00:10:00"}}\nscript: program.py\n'


def script_job(bed: Bed, text: str, more: str = "", name: str = "script") -> str:
    bed.write("program.py", text)
    return str(bed.write("job.yaml", SCRIPT.format(name=name) + more))


def test_script_run_ends_done(bed: Bed) -> None:
    job = script_job(
        bed, "import os, sys\nprint('hello from', os.getcwd(), sys.argv)\n", "args: [a b, --n, 3]\n"
    )
    run = bed.submit(job)
    result = run.wait()
    assert result["state"] == "done"
    assert result["attempts"][0]["job_id"] == run.job_id
    assert f"hello from {run.path}/work" in run.log()
    assert "['a b', '--n', '3']" in run.log().replace(f"{run.path}/user/program.py", "").replace(
        "'', ", ""
    )
    assert bed.run("hpcdl", "result", run.path).stdout.startswith("done in ")


def test_failing_script_shows_cause(bed: Bed) -> None:
    run = bed.submit(script_job(bed, "raise SystemExit('no such thing as a free lunch')\n"))
    waited = bed.run("hpcdl", "wait", run.path, check=False)
    assert waited.returncode == 1
    assert "failed: user_code" in waited.stderr
    assert "no such thing as a free lunch" in waited.stderr
    assert run.status()["cause"] == "user_code"


def test_run_outlives_the_submitting_shell(bed: Bed) -> None:
    """Logs, wait and status work from another shell."""
    text = "import time\nfor i in range(8):\n    print('line', i)\n    time.sleep(0.5)\n"
    job = script_job(bed, text)
    shell = f"hpcdl submit {job} --cluster {bed.profile} --runs-dir {bed.runs}"
    path = bed.run("setsid", "bash", "-c", shell).stdout.strip()
    followed = bed.start("hpcdl", "logs", "-f", path)
    assert bed.run("hpcdl", "wait", path.split("/")[-1], "--runs-dir", bed.runs).returncode == 0
    output, _ = followed.communicate(timeout=180)
    assert [line for line in output.splitlines() if line.startswith("line")] == [
        f"line {i}" for i in range(8)
    ]
    table = bed.run("hpcdl", "status", "--runs-dir", bed.runs).stdout
    assert "script/" in table
    assert "done" in table


def test_cancelled_run_is_final(bed: Bed) -> None:
    run = bed.submit(script_job(bed, "import time\nprint('up')\ntime.sleep(600)\n"))
    until(lambda: (run.path / "logs/1.log").exists() and "up" in run.log())
    bed.run("hpcdl", "cancel", run.path)
    assert run.status()["state"] == "cancelled"
    until(lambda: "CANCELLED" in accounted(run.job_id))
    assert run.status()["state"] == "cancelled"
    assert bed.run("hpcdl", "wait", run.path, check=False).returncode == 1


def test_scancelled_run_is_noticed(bed: Bed) -> None:
    run = bed.submit(script_job(bed, "import time\ntime.sleep(600)\n"))
    until(lambda: run.status()["state"] == "running")
    bed.run("scancel", run.job_id)
    assert bed.run("hpcdl", "wait", run.path, check=False).returncode == 1
    assert run.status()["state"] == "cancelled"


def test_queued_run_shows_reason(bed: Bed) -> None:
    run = bed.submit(script_job(bed, "print(1)\n", "slurm: {begin: now+1hour}\n"))
    status = until(lambda: (s := run.status())["note"] and s)
    assert (status["state"], status["note"].split(":")[0]) == ("queued", "BeginTime")
    bed.run("hpcdl", "cancel", run.path)
    assert run.status()["state"] == "cancelled"


def test_slurm_warning_stops_and_requeues(bed: Bed) -> None:
    """SLURM's warning makes the stop file; exit status 75 brings the script back."""
    text = (
        "import os, sys, time\n"
        "if os.path.exists('saved'):\n    print('resumed'); sys.exit(0)\n"
        "print('up', flush=True)\n"
        "while not os.path.exists(os.environ['HPCDL_STOP_FILE']):\n    time.sleep(0.1)\n"
        "open('saved', 'w').close()\nsys.exit(75)\n"
    )
    run = bed.submit(script_job(bed, text))
    until(lambda: (run.path / "logs/1.log").exists() and "up" in run.log())
    bed.run("scancel", "--batch", "--signal=USR2", run.job_id)
    until(lambda: run.status()["state"] == "requeued")
    start_again(run)
    result = run.wait()
    assert result["state"] == "done"
    assert [(a["attempt"], a["reason"], a["status"]) for a in result["attempts"]] == [
        (1, "preempted", 75),
        (2, "done", 0),
    ]
    assert "resumed" in run.log(2)
    assert not (run.path / "stop").exists()


def test_hostile_values_arrive_unchanged(bed: Bed) -> None:
    text = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['GREETING'], os.getcwd()]))\n"
    args = [
        "a b",
        "$(touch pwned)",
        "`id`",
        "it's",
        '"quoted"',
        "semi;colon",
        "new\nline",
        "*",
        "\\",
        "é",
        "a=b,c=d",
    ]
    workdir = bed.folder / "a b;$(touch pwned)'c"
    workdir.mkdir()
    shutil.chown(workdir, "hpcuser")
    more = (
        f"args: {json.dumps(args)}\nenv: {{GREETING: {json.dumps(args[2] + args[6] + args[10])}}}\n"
    )
    job = script_job(bed, text, more + f"workdir: {json.dumps(str(workdir))}\n")
    run = bed.submit(job, "--runs-dir", bed.folder / "runs of 'mine' $(touch pwned);")
    assert run.wait()["state"] == "done"
    assert json.loads(run.log().splitlines()[-1]) == [
        args,
        args[2] + args[6] + args[10],
        str(workdir),
    ]
    assert not list(bed.folder.rglob("pwned"))


def test_dry_run_equals_slurm_script(bed: Bed) -> None:
    job = script_job(bed, "print(1)\n")
    options = ("--cluster", bed.profile, "--runs-dir", bed.runs)
    text = bed.run("hpcdl", "submit", job, *options, "--dry-run").stdout
    assert not bed.runs.exists()
    run = bed.submit(job)
    sent = (run.path / "script.sbatch").read_text()
    planned = next(
        line for line in text.splitlines() if line.startswith("#SBATCH --chdir=")
    ).partition("=")[2]
    assert text.replace(planned, str(run.path)) == sent
    known = subprocess.run(
        ["scontrol", "write", "batch_script", run.job_id, "-"], capture_output=True, text=True
    )
    assert known.stdout.rstrip("\n\0") == sent.rstrip("\n")


def test_outer_environment_stays_outside(bed: Bed) -> None:
    """Variables of an outer job and of the shell do not reach the program."""
    bed.environment |= {
        "SLURM_JOB_ID": "1",
        "SBATCH_QOS": "none",
        "CUDA_VISIBLE_DEVICES": "7",
        "TF_CONFIG": "{}",
    }
    bed.environment |= {"PYTHONPATH": "/nowhere", "APPTAINER_BIND": "/nowhere"}
    run = bed.submit(script_job(bed, "import json, os\nprint(json.dumps(dict(os.environ)))\n"))
    assert run.wait()["state"] == "done"
    seen = json.loads(run.log().splitlines()[-1])
    assert seen["CUDA_VISIBLE_DEVICES"] == "0"
    assert not {"SBATCH_QOS", "TF_CONFIG"} & set(seen)
    code = run.json("manifest.json")["code"]["folder"]
    assert seen["PYTHONPATH"] == f"{code}/hpcdl_support"
    names = until(lambda: not (run.path / "submitit").exists() and list(run.path.rglob("*")))
    assert 1 + len(names) <= 17, names
    assert "/nowhere" not in seen["APPTAINER_BIND"]
    assert seen["HOME"] == str(run.path / "home")


def test_missing_host_python_shows_batch_log(bed: Bed) -> None:
    run = bed.submit(
        script_job(bed, "print(1)\n"), "--no-check", "--set", "cluster.host_python=/nowhere/python"
    )
    waited = bed.run("hpcdl", "wait", run.path, check=False)
    assert waited.returncode == 1
    assert "failed: internal" in waited.stderr
    assert "/nowhere/python" in waited.stderr
    assert "/nowhere/python" in bed.run("hpcdl", "logs", run.path).stdout


def test_wrong_account_shows_slurm_message(bed: Bed) -> None:
    job = script_job(bed, "print(1)\n")
    options = ("--cluster", bed.profile, "--runs-dir", bed.runs, "--set", "cluster.account=nobody")
    refused = bed.run("hpcdl", "submit", job, "--no-check", *options, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Invalid account" in refused.stderr
    assert "Traceback" not in refused.stderr


def accounted(job_id: str) -> str:
    argv = ["sacct", "-n", "-X", "-P", "-o", "State", "-j", job_id]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
