"""Jobs on several virtual nodes of the real SLURM: real srun steps, containers and TensorFlow workers."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.testbed.conftest import Bed, Run, new_bed, start_again, until

pytestmark = pytest.mark.testbed

SCRIPT = 'name: {}\ncontainer: python\nresources: {{gpus: 1, nodes: 2, time: "00:10:00"}}\nscript: program.py\n'
WORKER = """import json, os, time
config = json.loads(os.environ["TF_CONFIG"])
rank = config["task"]["index"]
print("worker", rank, "of", len(config["cluster"]["worker"]), os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
"""
TRAINING = (
    "--set",
    "model.filters=[8, 16]",
    "--set",
    "train.batch_size=64",
    "--set",
    "train.epochs=60",
)


def script_job(bed: Bed, text: str, name: str = "nodes") -> str:
    bed.write("program.py", WORKER + text)
    return str(bed.write("job.yaml", SCRIPT.format(name)))


def test_script_runs_on_each_node(bed: Bed) -> None:
    """It stops when it is asked to, on both nodes, and goes on."""
    text = (
        "while not os.path.exists(os.environ['HPCDL_STOP_FILE']) and os.environ['HPCDL_ATTEMPT'] == '1':\n"
        "    time.sleep(0.1)\n"
        "raise SystemExit(75 if os.environ['HPCDL_ATTEMPT'] == '1' else 0)\n"
    )
    run = bed.submit(script_job(bed, text))
    second = run.path / "workers/1/logs"
    until(
        lambda: (second / "1.log").exists() and "worker 1 of 2 " in (second / "1.log").read_text()
    )
    bed.run("scancel", "--batch", "--signal=USR2", run.job_id)
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["preempted", "done"]
    assert [len(row["nodes"]) for row in result["attempts"]] == [2, 2]
    assert "worker 0 of 2 " in run.log(2)
    assert "worker 1 of 2 " in (second / "2.log").read_text()


def test_failing_worker_ends_the_others(bed: Bed) -> None:
    """The error is that of worker 1, although worker 0 only waits for it."""
    text = "if rank:\n    raise ValueError('no such thing as a free lunch')\ntime.sleep(600)\n"
    run = bed.submit(script_job(bed, text))
    result = run.wait()
    assert (result["state"], result["cause"]) == ("failed", "user_code")
    assert "ValueError: no such thing as a free lunch" in result["message"]
    assert "worker 1 on " in run.log()


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
    run = bed.submit(script_job(bed, ""))
    result = run.wait()
    assert result["state"] == "done", result
    unfit, done = result["attempts"]
    assert (unfit["reason"], unfit["node"]) == ("unfit_node", unfit["nodes"][1])
    assert unfit["node"] not in done["nodes"]
    assert f"worker 1 on {unfit['node']} did not start" in run.log()


@pytest.fixture(scope="module")
def shared(cluster: None) -> Bed:
    """One folder for the module, with the digits staged in it."""
    made = new_bed("test-nodes")
    made.run("hpcdl", "data", "stage", "digits", "--data-root", made.folder / "data")
    return made


def trainer_of(run: Run, rank: int) -> int:
    """The pid of a worker's trainer."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            b"hpcdl.trainer" not in words[:4]
            or f"HPCDL_STOP_FILE={run.path}/stop".encode() not in variables
        ):
            continue
        for variable in variables:
            if (
                variable.startswith(b"TF_CONFIG=")
                and json.loads(variable[10:])["task"]["index"] == rank
            ):
                return int(process.name)
    raise AssertionError(f"worker {rank} has no trainer")


def test_training_survives_kills_and_fewer_nodes(shared: Bed) -> None:
    """Stopped and killed on two nodes, done on one: the run of the same job on one node, up to rounding."""
    data = ("--set", f"cluster.data_root={shared.folder}/data", "--set", "resources.gpus=1")
    alone = shared.submit("digits_cnn", *data, *TRAINING)
    run = shared.submit("digits_cnn", *data, *TRAINING, "--set", "resources.nodes=1-2")
    until(lambda: len(run.lines("metrics.jsonl")) >= 2)
    shared.run("scancel", "--batch", "--signal=USR2", run.job_id)
    start_again(run)
    until(
        lambda: (
            "attempt" in (run.path / "logs/2.log").read_text()
            if (run.path / "logs/2.log").exists()
            else ""
        )
    )
    until(
        lambda: (
            run.json("heartbeat.json").get("phase") == "training"
            and run.json("heartbeat.json")["attempt"] == 2
        )
    )
    os.kill(trainer_of(run, 1), signal.SIGKILL)
    until(lambda: len(run.lines("attempts.jsonl")) == 4)
    shared.run("scontrol", "update", f"JobId={run.job_id}", "NumNodes=1-1")
    start_again(run)
    result = run.wait()
    assert result["state"] == "done", result
    assert [row["reason"] for row in result["attempts"]] == ["preempted", "killed", "done"]
    assert [len(row["nodes"]) for row in result["attempts"]] == [2, 2, 1]
    assert "worker 1 on " in run.log(2)
    assert result["test"]["rows"] == alone.wait()["test"]["rows"]
    assert result["test"]["accuracy"] == pytest.approx(
        alone.json("result.json")["test"]["accuracy"], abs=0.02
    )
    both, one = run.lines("metrics.jsonl")[0], alone.lines("metrics.jsonl")[0]
    assert both["steps"] == one["steps"]
