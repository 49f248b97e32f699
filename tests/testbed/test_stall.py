"""A training that stands still on the real SLURM: its stacks come out of the containers of both nodes."""

from __future__ import annotations

import json

import pytest

from tests.testbed.conftest import Bed

pytestmark = pytest.mark.testbed

MODEL = """
import json, os, time

def never_returns():
    while True:
        time.sleep(60)

def build(input_shape, num_classes):
    if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
        never_returns()
    import tensorflow as tf
    inputs = tf.keras.Input(input_shape)
    outputs = tf.keras.layers.Dense(num_classes, "softmax")(tf.keras.layers.Flatten()(inputs))
    return tf.keras.Model(inputs, outputs)
"""


def test_stall_of_one_node_is_shown(bed: Bed) -> None:
    """Worker 1 hangs in the user's function, worker 0 waits for it: both are ended, both stacks are there."""
    bed.write("mine.py", MODEL)
    job = {
        "name": "stall",
        "container": "tensorflow",
        "data": {"name": "mnist"},
        "model": {"function": "mine:build"},
        "resources": {"gpus": 1, "nodes": 2, "time": "00:10:00"},
        "env": {"HPCDL_STALL_S": "6"},
    }
    path = bed.write("job.yaml", json.dumps(job))
    run = bed.submit(path, "--set", "cluster.max_requeues=0", "--no-check")

    result = run.wait()

    assert (result["state"], result["cause"]) == ("failed", "stall"), result
    nodes = result["attempts"][0]["nodes"]
    assert f"worker 0 on {nodes[0]}: no progress for " in result["message"]
    assert f"worker 1 on {nodes[1]}: no progress for " in result["message"]
    assert f"{run.job_id}.0 " in run.log()  # SLURM's list of steps
    assert "in wait_for_all" in run.log() or "in _build" in run.log()
    assert "in never_returns" in (run.path / "workers/1/logs/1.log").read_text()
