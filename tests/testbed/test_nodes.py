"""Jobs on several virtual nodes of the real SLURM: real srun steps, containers and TensorFlow workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.testbed.conftest import Bed, Run, cancel_jobs, new_bed, start_again, until

pytestmark = pytest.mark.testbed

SCRIPT = 'name: {}\ncontainer: python\nresources: {{gpus: 1, nodes: 2, time: "00:10:00"}}\nscript: program.py\n'
WORKER = """import json, os, time
config = json.loads(os.environ["TF_CONFIG"])
rank = config["task"]["index"]
print("worker", rank, "of", len(config["cluster"]["worker"]), os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
"""
# Stops when it is asked to, waits for SLURM to requeue it, and then is done
PATIENT = """attempt, stop = int(os.environ["HPCDL_ATTEMPT"]), os.environ["HPCDL_STOP_FILE"]
while attempt < 3 and not (attempt == 1 and os.path.exists(stop)):
    time.sleep(0.1)
raise SystemExit(75 if attempt == 1 else 0)
"""
FAILING = "if rank:\n    raise ValueError('no such thing as a free lunch')\ntime.sleep(600)\n"
SETS: dict[str, Any] = {
    "resources.gpus": 1,
    "model.filters": [8, 16],
    "model.dropout": 0,
    "train.batch_size": 64,
    "train.epochs": 25,
    "cluster.save_every_steps": 25,
}


def submit_script(bed: Bed, text: str, name: str = "nodes") -> Run:
    bed.write("program.py", WORKER + text)
    return bed.submit(bed.write("job.yaml", SCRIPT.format(name)))


def submit_training(bed: Bed, nodes: str) -> Run:
    words = ["--set", f"resources.nodes={nodes}", "--set", f"cluster.data_root={bed.folder}/data"]
    for key, value in SETS.items():
        words += ["--set", f"{key}={value}"]
    return bed.submit("digits_cnn", *words)


@pytest.fixture(scope="module")
def shared(cluster: None) -> Iterator[Bed]:
    """One folder for the module, with the digits staged in it."""
    made = new_bed("test-nodes")
    made.run("hpcdl", "data", "stage", "digits", "--data-root", made.folder / "data")
    yield made
    cancel_jobs(made.folder)


@pytest.fixture(scope="module")
def failed(shared: Bed) -> Run:
    """A script whose worker 1 fails; it is sent first, since worker 0 has a minute to leave."""
    return submit_script(shared, FAILING)


@pytest.fixture(scope="module")
def whole(failed: Run) -> Run:
    """A training on two nodes that nobody disturbs."""
    return submit_training(failed.bed, "2")


def log_of(run: Run, rank: int) -> str:
    return run.bed.run("hpcdl", "logs", run.path, "--worker", rank, check=False).stdout


def step_of(run: Run) -> int:
    """The newest checkpoint's."""
    return max((int(path.stem) for path in run.path.glob("checkpoints/*.npz")), default=0)


def state_of(run: Run) -> dict[str, Any]:
    """What the newest checkpoint has of the model, its optimizer and its metrics."""
    with np.load(run.path / f"checkpoints/{step_of(run):08d}.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name not in ("about", "sha256")}


def losses_of(run: Run) -> list[float]:
    return [float(epoch["loss"]) for epoch in run.lines("metrics.jsonl")]


def trainer_of(run: Run, rank: int) -> int:
    """The pid of a worker's trainer, inside its container."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:3] != [b"-m", b"hpcdl.trainer"] or f"{run.path}/run.json".encode() not in words:
            continue
        for variable in variables:
            name, _, value = variable.partition(b"=")
            if name == b"TF_CONFIG" and json.loads(value)["task"]["index"] == rank:
                return int(process.name)
    raise AssertionError(f"worker {rank} has no trainer")


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def last_start(run: Run) -> dict[str, Any]:
    return [row for row in run.lines("attempts.jsonl") if row["event"] == "start"][-1]


def test_script_runs_on_each_node(bed: Bed, whole: Run) -> None:
    """It stops when it is asked to, on both nodes, and goes on; a requeue from outside, too."""
    run = submit_script(bed, PATIENT)
    until(lambda: "worker 1 of 2 " in log_of(run, 1))
    bed.run("scancel", "--batch", "--signal=USR2", run.job_id)
    start_again(run)
    until(lambda: log_of(run, 1).count("worker 1 of 2 ") == 2)
    first, second = last_start(run)["nodes"]
    shown = bed.run("hpcdl", "status", run.path).stdout
    assert f"worker 0 on {first}: " in shown
    assert f"worker 1 on {second}: {run.path}/workers/1/logs/2.log" in shown
    bed.run("scontrol", "requeue", run.job_id)
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["preempted", "requeued", "done"]
    assert [len(row["nodes"]) for row in result["attempts"]] == [2, 2, 2]
    assert "worker 0 of 2 " in run.log(3)
    assert "worker 1 of 2 " in log_of(run, 1)
    wrong = bed.run("hpcdl", "logs", run.path, "--worker", 2, check=False)
    assert wrong.returncode == 2
    assert "expected 0 to 1" in wrong.stderr


def test_node_that_never_comes_is_left(bed: Bed) -> None:
    """The first member of rank 1 ends at once: its node is left, and another job goes on elsewhere."""
    wrapper = bed.write(
        "bin/srun",
        '#!/bin/bash\noptions=()\nwhile [[ $1 == --* ]]; do options+=("$1"); shift; done\n'
        'once=\'if [[ $SLURM_PROCID == 1 ]] && mkdir "$0" 2>/dev/null; then exit 3; fi; exec "$@"\'\n'
        f'HPCDL_MEETING_S=5 exec /usr/bin/srun "${{options[@]}}" bash -c "$once" {bed.folder}/once "$@"\n',
    )
    wrapper.chmod(0o755)
    bed.environment["PATH"] = f"{wrapper.parent}:{bed.environment['PATH']}"
    run = submit_script(bed, "")
    result = run.wait()
    assert result["state"] == "done", result
    unfit, done = result["attempts"]
    assert (unfit["reason"], unfit["node"]) == ("unfit_node", unfit["nodes"][1])
    assert unfit["node"] not in done["nodes"]
    assert f"worker 1 on {unfit['node']} did not start" in run.log()


def test_range_goes_on_with_fewer_nodes(whole: Run) -> None:
    """Its launcher is killed on two nodes; done on one. The same as on two, up to rounding."""
    bed = whole.bed
    run = submit_training(bed, "1-2")
    until(lambda: step_of(run) > 0, timeout_s=300)
    os.kill(last_start(run)["pid"], signal.SIGKILL)
    until(lambda: "PENDING" in bed.run("squeue", "-h", "-o", "%T", "-j", run.job_id).stdout)
    bed.run("scontrol", "update", f"JobId={run.job_id}", "NumNodes=1-1")
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["killed", "done"]
    assert [len(row["nodes"]) for row in result["attempts"]] == [2, 1]
    expected = whole.wait()
    assert result["test"]["rows"] == expected["test"]["rows"]
    assert result["test"]["accuracy"] == pytest.approx(expected["test"]["accuracy"], abs=0.02)
    losses, expected_losses = losses_of(run), losses_of(whole)
    assert len(losses) == len(expected_losses)
    # Sums in another order drift apart with the steps: by a hundredth after 20 epochs
    assert losses[:12] == pytest.approx(expected_losses[:12], rel=2e-3)


def test_failing_worker_ends_the_others(failed: Run) -> None:
    """The error is that of worker 1, although worker 0 only waits for it."""
    result = failed.wait()
    assert (result["state"], result["cause"]) == ("failed", "user_code")
    assert "ValueError: no such thing as a free lunch" in result["message"]
    assert "worker 1 on " in failed.log()


def test_killed_training_ends_bit_equal(whole: Run, failed: Run) -> None:
    """Worker 1 is killed, then worker 0's container, then a node is down."""
    failed.wait()  # the node that goes down may be its
    run = submit_training(whole.bed, "2")

    def next_checkpoint() -> None:
        from_step = last_start(run)["from_step"]
        until(lambda: step_of(run) > from_step, timeout_s=300)

    until(lambda: run.lines("attempts.jsonl"))
    next_checkpoint()
    os.kill(trainer_of(run, 1), signal.SIGKILL)
    start_again(run)
    until(lambda: last_start(run)["attempt"] == 2)
    next_checkpoint()
    os.kill(parent_of(trainer_of(run, 0)), signal.SIGKILL)
    start_again(run)
    until(lambda: last_start(run)["attempt"] == 3)
    next_checkpoint()
    node = last_start(run)["nodes"][1]
    update = ["scontrol", "update", f"NodeName={node}"]
    subprocess.run([*update, "State=DOWN", "Reason=test"], check=True)
    start_again(run)
    result = run.wait()
    subprocess.run([*update, "State=RESUME"], check=False, capture_output=True)
    assert result["state"] == "done", result
    reasons = ["killed", "killed", "node_failure", "done"]
    assert [row["reason"] for row in result["attempts"]] == reasons
    assert [len(row["nodes"]) for row in result["attempts"]] == [2, 2, 2, 2]
    assert result["attempts"][2]["node"] == node
    assert node not in result["attempts"][3]["nodes"], "the job has left it"
    assert whole.wait()["state"] == "done"
    expected, actual = state_of(whole), state_of(run)
    assert step_of(run) == step_of(whole)
    assert expected.keys() == actual.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(actual[name], values, err_msg=name)
    assert result["test"] == whole.json("result.json")["test"]
