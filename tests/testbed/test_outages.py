"""SLURM's daemons, the image's file system and sbatch's answers go away under real runs; nothing polls SLURM often."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.conftest import VENV, Bed, Run, new_bed, start_again, until
from tests.testbed.test_faults import counter, counting, in_queue, node_of, worker_of
from tests.testbed.test_training import assert_same_arrays

pytestmark = pytest.mark.testbed

STATE = Path("/var/lib/hpcdl-testbed/slurmctld/job_state")
IMAGES = ("tensorflow", "tf2.11")


def tell(verb: str, daemon: str) -> None:
    subprocess.run(["bash", str(Path(__file__).with_name("testbed.sh")), verb, daemon], check=True)


@pytest.fixture(autouse=True)
def daemons_come_back() -> Iterator[None]:
    yield
    for daemon in ("slurmctld", "slurmdbd", "slurmd.n1", "slurmd.n2", "slurmd.n3", "slurmd.n4"):
        tell("start", daemon)


@pytest.fixture
def impatient(bed: Bed) -> Bed:
    """A login shell, and jobs, whose SLURM commands are on record in `calls`, and give up after 2 s instead of 29."""
    patient = Path("/etc/slurm/slurm.conf").read_text()
    conf = bed.write("slurm.conf", patient.replace("MessageTimeout=30", "MessageTimeout=3"))
    assert conf.read_text() != patient
    bed.write("calls", "")
    for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel"):
        wrap(bed, name, "")
    bed.environment["PATH"] = f"{bed.folder}/bin:{bed.environment['PATH']}"
    bed.environment["XDG_CACHE_HOME"] = str(bed.folder / "cache")
    return bed


def wrap(bed: Bed, name: str, first: str) -> None:
    """Put a command of SLURM's into a script that does something first."""
    lines = [
        "#!/bin/bash",
        f'echo "{name} $*" >>{bed.folder}/calls',
        f"export SLURM_CONF={bed.folder}/slurm.conf",
    ]
    bed.write(f"bin/{name}", "\n".join([*lines, first, f'exec /usr/bin/{name} "$@"', ""])).chmod(
        0o755
    )


def calls(bed: Bed, *words: str) -> list[str]:
    return [
        line
        for line in (bed.folder / "calls").read_text().splitlines()
        if all(word in line for word in words)
    ]


def batch_log(run: Run) -> str:
    return "".join(path.read_text() for path in run.path.glob("logs/slurm-*.out"))


def children_of(pid: int) -> list[int]:
    return [
        int(word)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for word in task.read_text().split()
    ]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    return [pid, *(found for child in children_of(pid) for found in tree(child))]


def image_of(run: Run) -> int:
    """The squashfuse that serves the running program's image."""
    (starter,) = children_of(worker_of(run))
    (served,) = (
        pid for pid in children_of(starter) if "squashfuse" in Path(f"/proc/{pid}/comm").read_text()
    )
    return served


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_training_survives_killed_image(bed: Bed) -> None:
    """It trains on from memory until it needs a file; then it dies of a bus error, here when it is asked to stop."""
    bed.run("hpcdl", "data", "stage", "digits", "--data-root", bed.folder / "data")
    keys = [
        "model.filters=[8, 16]",
        "train.batch_size=64",
        "train.epochs=40",
        "cluster.save_every_steps=20",
    ]
    keys.append(f"cluster.data_root={bed.folder}/data")

    def submit(image: str) -> Run:
        return bed.submit(
            "digits_cnn",
            *(word for key in (*keys, f"container={image}") for word in ("--set", key)),
        )

    def has_saved(run: Run) -> bool:
        return any((run.path / "checkpoints").glob("*.npz"))

    killed = {image: submit(image) for image in IMAGES}
    whole = {image: submit(image) for image in IMAGES}
    left = list(killed.values())
    while left:
        run = until(lambda: next(filter(has_saved, left), None))
        kill(image_of(run))
        bed.run("scancel", "--batch", "--signal=USR2", run.job_id)
        left.remove(run)
    for run in killed.values():
        start_again(run)
    for image, run in killed.items():
        result = run.wait()
        assert result["state"] == "done", result
        assert [row["reason"] for row in result["attempts"]] == ["killed", "done"]
        assert result["attempts"][1]["from_step"] > 0
        assert result["test"] == whole[image].wait()["test"]
        last = f"checkpoints/{result['attempts'][1]['steps']:08}.npz"
        assert_same_arrays(whole[image].path / last, run.path / last)


def waits_for_go(bed: Bed) -> Run:
    """A script that has begun, and waits for the file `go`; then it needs something of its image."""
    loop = "while not os.path.exists('go'):\n    time.sleep(0.1)\n"
    bed.write("program.py", f"import os, time\nprint('up', flush=True)\n{loop}import sqlite3\n")
    bed.write(
        "job.yaml", "name: waits\ncontainer: python\nresources: {gpus: 0}\nscript: program.py\n"
    )
    run = bed.submit("job.yaml")
    until(lambda: (run.path / "logs/1.log").exists() and "up" in run.log())
    return run


@pytest.fixture(scope="module", autouse=True)
def old_run(cluster: None) -> Run:
    """A run that goes on through all these tests: SLURM looks for no job of its own that is younger than 20 s."""
    return waits_for_go(new_bed("test-outages"))


@pytest.mark.second_bed
def test_killed_image_is_named_as_cause(bed: Bed) -> None:
    """A script whose image was killed is not blamed, and can be resumed."""
    run = waits_for_go(bed)
    kill(image_of(run))
    (run.path / "work/go").touch()
    result = run.wait()
    assert (result["state"], result["cause"]) == ("failed", "internal")
    assert "squashfuse" in result["message"]
    bed.run("hpcdl", "resume", run.path, "--wait")
    assert run.json("result.json")["state"] == "done"


@pytest.mark.second_bed
def test_run_survives_slurmd_restart(bed: Bed) -> None:
    run = counter(bed, 40)
    counting(run)
    slurmd = f"slurmd.{node_of(run)}"
    tell("kill", slurmd)
    counting(run, 5)
    tell("start", slurmd)
    (run.path / "stop").touch()
    start_again(run)
    counting(run, 10)
    slurmd = f"slurmd.{node_of(run)}"
    tell("kill", slurmd)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["status"] for row in result["attempts"]] == [75, 0]
    assert "from 0" not in run.log(2)
    tell("start", slurmd)
    until(lambda: not in_queue(run))


@pytest.mark.second_bed
@pytest.mark.parametrize(("how", "work"), [("stop", 15), ("kill", 50)])
def test_run_survives_slurmctld_restart(bed: Bed, how: str, work: int) -> None:
    run = counter(bed, work)
    counting(run)
    if how == "kill":
        begun = time.time()
        until(lambda: STATE.stat().st_mtime > begun)  # it comes back from there
    tell(how, "slurmctld")
    tell("start", "slurmctld")
    result = run.wait()
    assert result["state"] == "done", result
    assert len(result["attempts"]) == 1
    until(lambda: not in_queue(run))


@pytest.mark.second_bed
def test_requeue_waits_for_slurmctld(impatient: Bed) -> None:
    run = counter(impatient, 30)
    counting(run)
    tell("stop", "slurmctld")
    (run.path / "stop").touch()
    until(lambda: "Unexpected message" in batch_log(run))
    assert run.status()["state"] == "requeued"
    tell("start", "slurmctld")
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["status"] for row in result["attempts"]] == [75, 0]
    assert "from 0" not in run.log(2)


@pytest.mark.second_bed
def test_submission_waits_for_slurmctld(bed: Bed) -> None:
    bed.write("counter.py", "print('here')\n")
    bed.write(
        "job.yaml", "name: counter\ncontainer: python\nresources: {gpus: 0}\nscript: counter.py\n"
    )
    tell("stop", "slurmctld")
    submitting = bed.start(
        "hpcdl", "submit", "job.yaml", "--cluster", bed.profile, "--runs-dir", bed.runs
    )
    until(lambda: list(bed.runs.glob("counter/*/script.sbatch")))
    tell("start", "slurmctld")
    output, errors = submitting.communicate(timeout=180)
    assert submitting.returncode == 0, errors
    assert Run(bed, Path(output.strip())).wait()["state"] == "done"


def test_outage_is_reported_and_harmless(impatient: Bed) -> None:
    bed = impatient
    run = counter(bed, 10_000, "00:10:00", "--set", "cluster.min_poll_s=60")
    counting(run)
    tell("stop", "slurmctld")
    for _ in range(3):
        status = run.status()
        assert status["state"] == "running"
        assert "Unable to contact slurm controller" in status["note"]
    assert len(calls(bed, "squeue", "--states=all")) == 1

    refused = bed.run(
        "hpcdl", "submit", "job.yaml", "--cluster", bed.profile, "--runs-dir", bed.runs, check=False
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Unable to contact slurm controller" in refused.stderr
    unsent = next(path for path in bed.runs.glob("counter/*") if path != run.path)
    assert f"hpcdl resume {unsent}" in refused.stderr

    unheard = bed.run("hpcdl", "cancel", run.path, check=False)
    assert unheard.returncode == 1
    assert "The run is cancelled anyway" in unheard.stderr
    assert run.status()["state"] == "cancelled"
    tell("start", "slurmctld")
    bed.run("hpcdl", "cancel", run.path)
    until(lambda: not in_queue(run))
    shutil.rmtree(unsent)


DROPS_ANSWER = """
/usr/bin/sbatch "$@" >{folder}/sent
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
exit 1"""


def test_submit_finds_job_after_lost_answer(impatient: Bed) -> None:
    wrap(impatient, "sbatch", DROPS_ANSWER.format(folder=impatient.folder))
    run = counter(impatient, 1)
    assert run.job_id == (impatient.folder / "sent").read_text().strip()
    assert run.wait()["state"] == "done"


def test_resume_finds_job_after_lost_answer(impatient: Bed) -> None:
    """Neither sbatch nor squeue answered at submission; resume sends no second job."""
    bed = impatient
    wrap(bed, "sbatch", DROPS_ANSWER.format(folder=bed.folder))
    wrap(bed, "squeue", "exit 1")
    bed.write("counter.py", "print('here')\n")
    job = "name: counter\ncontainer: python\nresources: {gpus: 0}\nscript: counter.py\nslurm: {begin: now+1hour}\n"
    lost = bed.run(
        "hpcdl",
        "submit",
        bed.write("job.yaml", job),
        "--cluster",
        bed.profile,
        "--runs-dir",
        bed.runs,
        check=False,
    )
    assert lost.returncode == 1
    assert "Socket timed out" in lost.stderr
    (folder,) = bed.runs.glob("counter/*")
    run = Run(bed, folder)
    assert run.status()["state"] == "created"

    wrap(bed, "sbatch", "exit 1")
    wrap(bed, "squeue", "")
    bed.run("hpcdl", "resume", folder)
    assert run.job_id == (bed.folder / "sent").read_text().strip()
    bed.run("scontrol", "update", f"JobId={run.job_id}", "StartTime=now")
    assert run.wait()["state"] == "done"


@pytest.mark.parametrize("gone", ["slurmdbd", "sacct"])
def test_accounting_is_not_needed(impatient: Bed, gone: str) -> None:
    """A job that neither squeue (hidden from it here) nor sacct knows stays what its files say."""
    bed = impatient
    if gone == "slurmdbd":
        tell("kill", "slurmdbd")
    run = counter(bed, 5)
    waits = counter(bed, 1, "00:10:00", "--set", "slurm.begin=now+1hour")
    if gone == "sacct":
        (bed.folder / "bin/sacct").unlink()
        bed.environment["PATH"] = f"{bed.folder}/bin:{VENV}"
    assert run.wait()["state"] == "done"
    wrap(bed, "squeue", "exit 0")
    bed.environment["XDG_CACHE_HOME"] = str(bed.folder / "new-cache")
    before = len(calls(bed, "squeue"))
    assert waits.status()["state"] == "queued"
    assert len(calls(bed, "squeue")) == before + 1
    assert bool(calls(bed, "sacct", waits.job_id)) == (gone == "slurmdbd")


def test_slurm_polls_are_limited(impatient: Bed) -> None:
    """Status, wait and launch together ask SLURM at most once a minute."""
    bed = impatient
    sets = ("--set", "cluster.min_poll_s=60", "--set", "slurm.begin=now+3")
    run = counter(
        bed, 30, "00:10:00", "--no-check", *sets
    )  # the checks ask too, before there is a run
    begun = time.monotonic()
    waiting = bed.start("hpcdl", "wait", run.path)
    for _ in range(3):
        run.status()
    counting(run)
    for _ in range(3):
        assert run.status()["state"] == "running"
    (run.path / "stop").touch()
    start_again(run)
    _, said = waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert "started on n" in said
    assert "started again on n" in said
    assert time.monotonic() - begun < 60
    assert len(calls(bed, "squeue", "--states=all")) == 1
    assert len(calls(bed, "squeue", "%e")) == 2  # launch, once an attempt
    assert len(calls(bed, "squeue")) == 3
    assert not calls(bed, "sacct")
    assert len(calls(bed, "scontrol")) == 2  # the batch script's requeue and this test's StartTime


def test_node_dies_without_notice(old_run: Run) -> None:
    """SLURM learns of it when the node is back, and starts the job again; not there."""
    node = node_of(old_run)
    slurmstepd = parent_of(parent_of(worker_of(old_run)))
    tell("kill", f"slurmd.{node}")
    kill(*tree(slurmstepd))

    def noticed() -> bool:
        tell("stop", f"slurmd.{node}")
        tell("start", f"slurmd.{node}")
        time.sleep(1)
        return "PENDING" in in_queue(old_run)

    until(noticed)
    (old_run.path / "work/go").touch()
    start_again(old_run)
    result = old_run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["node_failure", "done"]
    assert result["attempts"][1]["node"] != node
    shutil.rmtree(old_run.bed.folder)
