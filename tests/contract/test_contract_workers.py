"""The workers that TF_CONFIG names, and texts that are not such a variable."""

import json

import pytest

from hpcdl.contract.errors import DeviceError
from hpcdl.contract.workers import Workers, read_workers, to_tf_config

TWO = ["n1:2000", "[fe80::1]:2001"]


def test_config_is_read_back():
    assert read_workers({"TF_CONFIG": to_tf_config(TWO, 1)}) == Workers(tuple(TWO), 1)


@pytest.mark.parametrize("text", [None, "", " ", "{}", to_tf_config(["n1:2000"], 0)])
def test_one_worker_is_alone(text):
    """TensorFlow itself ignores such a variable, too."""
    workers = read_workers({} if text is None else {"TF_CONFIG": text})

    assert workers == Workers()
    assert (workers.count, workers.first) == (1, True)


def config(worker, **more):
    return json.dumps({"cluster": {"worker": worker}, **more})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "has no attribute"),
        ('{"cluster": [1]}', "expected str"),
        (config("n1:2000"), "its workers are not a list"),
        (config([1, 2]), "1 is not host:port"),
        (config(["n1", "n2"]), "'n1' is not host:port"),
        (config(["n1:1", "n1:1"]), "it names an address twice"),
        (config(TWO, task={"type": "ps", "index": 0}), "its task is a ps"),
        (config(TWO, task={"index": "first"}), "invalid literal"),
        (json.dumps({"cluster": {"worker": TWO, "ps": ["n3:1"]}}), "its cluster has ps"),
        (config(TWO, task={"index": 2}), "this is worker 2; expected 0 to 1"),
        (config(TWO, task={"index": -1}), "this is worker -1; expected 0 to 1"),
    ],
)
def test_damaged_config_is_refused(text, reason):
    with pytest.raises(DeviceError) as caught:
        read_workers({"TF_CONFIG": text})
    assert reason in caught.value.message
    assert "take it out of env" in caught.value.hint
