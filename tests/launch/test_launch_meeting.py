"""The meeting of the members of a run, and which of their ends is the run's."""

import json
import threading
from dataclasses import replace

import pytest

from hpcdl.contract.workers import Workers, read_workers, to_tf_config
from hpcdl.launch.meeting import Card, NotMetError, meet, publish
from hpcdl.launch.member_end import MemberEnd, decisive_end, fold
from hpcdl.run import states
from hpcdl.run.causes import Ending, of_ending

NODES = ["n1", "n2", "n3"]
SAME = {"the image": "tf.sif of 400 MB", "GPUs": "4"}


def card(rank, **others):
    base = Card(rank, NODES[rank], f"10.0.0.{rank}", 20000 + rank, SAME, [])
    return replace(base, **others)


def test_members_meet_in_any_order(tmp_path):
    for rank in (2, 0):
        publish(tmp_path / "attempt-1", card(rank))
    late = threading.Timer(0.3, publish, [tmp_path / "attempt-1", card(1, address="fe80::1")])
    late.start()

    cards = meet(tmp_path / "attempt-1", NODES, wait_s=30)

    late.join()
    addresses = [each.host_and_port for each in cards]
    assert addresses == ["10.0.0.0:20000", "[fe80::1]:20001", "10.0.0.2:20002"]
    workers = read_workers({"TF_CONFIG": to_tf_config(addresses, 1)})
    assert workers == Workers(tuple(addresses), 1)


def test_missing_member_is_named(tmp_path):
    publish(tmp_path, card(0))
    (tmp_path / "1.json").write_text('{"rank": 1')  # torn
    (tmp_path / "2.json").write_text(json.dumps({"rank": 0, "node": "n1"}))

    with pytest.raises(NotMetError) as caught:
        meet(tmp_path, NODES, wait_s=0)

    assert "1 of 3 workers have come in 0 s; worker 1 on n2, worker 2 on n3" in str(caught.value)
    assert caught.value.nodes == ("n2", "n3")


def test_fault_of_one_ends_all(tmp_path):
    """At once: those who have not come are not waited for."""
    publish(tmp_path, card(0))
    publish(tmp_path, card(2, faults=["the image\ncannot be read"]))

    with pytest.raises(NotMetError, match=r"^n3: the image\?cannot be read$") as caught:
        meet(tmp_path, NODES, wait_s=600)
    assert caught.value.nodes == ("n3",)


def test_other_image_is_refused(tmp_path):
    publish(tmp_path, card(0))
    publish(tmp_path, card(1))
    publish(tmp_path, card(2, same={"the image": "tf.sif of 300 MB", "GPUs": "4"}))

    with pytest.raises(NotMetError) as caught:
        meet(tmp_path, NODES)
    assert str(caught.value) == (
        "n3 has the image tf.sif of 300 MB, and n1 tf.sif of 400 MB; expected the same on all nodes"
    )


def test_odd_one_of_three_is_named(tmp_path):
    publish(tmp_path, card(0, same={"the image": "tf.sif of 300 MB", "GPUs": "4"}))
    publish(tmp_path, card(1))
    publish(tmp_path, card(2))

    with pytest.raises(NotMetError, match=r"^n1 has the image .* 300 MB, and n2 ") as caught:
        meet(tmp_path, NODES)
    assert caught.value.nodes == ("n1",)


def end(rank, status, time=0.0, kind=None):
    return MemberEnd(rank, NODES[rank], status, time, kind, oom_kills=0)


@pytest.mark.parametrize(
    ("ends", "rank", "state", "cause"),
    [
        ([end(0, 0), end(1, 0), end(2, 0)], 0, states.DONE, None),
        ([end(0, 0, 9), end(1, -9, 1), end(2, 70, 2, "peer")], 0, states.DONE, None),
        ([end(0, 75, 3), end(1, 75, 1), end(2, 1, 2)], 0, states.STOPPED, None),
        ([end(0, 70, 2, "peer"), end(1, -9, 1), end(2, 70, 2, "peer")], 1, states.KILLED, "internal"),
        ([end(0, -9, 1), end(1, 70, 2, "peer"), end(2, 70, 2, "peer")], 0, states.KILLED, "internal"),
        ([end(0, 70, 2, "peer"), end(1, 1, 1, "user_code"), end(2, 143, 9)], 1, states.FAILED, "user_code"),
        # The cause ended first, though its peers wrote their ends earlier
        ([end(0, 70, 1, "peer"), end(1, 69, 5, "device"), end(2, 70, 2, "peer")], 1, states.FAILED, "device"),
        ([end(0, 70, 1, "peer"), end(2, 70, 1, "peer")], 1, states.KILLED, "internal"),
        ([end(1, 70, 1, "peer"), end(2, 70, 1, "peer")], 0, states.KILLED, "internal"),
        ([end(0, 70, 1, "internal"), end(2, 70, 1, "peer")], 1, states.KILLED, "internal"),
        ([end(0, 65, 1, "data"), end(2, 70, 1, "peer")], 0, states.FAILED, "data"),
        ([end(0, 70, 2, "peer"), end(1, 70, 1, "peer"), end(2, 70, 1, "peer")], 1, states.KILLED, "internal"),
        ([end(0, 70, 2, "peer"), end(1, 75, 1), end(2, 0, 1)], 0, states.KILLED, "internal"),
        ([], 0, states.KILLED, "internal"),
    ],
)  # fmt: skip
def test_cause_is_the_runs_end(ends, rank, state, cause):
    of_batch_host = Ending(status=137, oom_kills=0)

    for order in (ends, ends[::-1]):
        assert decisive_end(order, NODES).rank == rank
        outcome = of_ending(fold(of_batch_host, order, NODES))
        assert (outcome.state, outcome.cause) == (state, cause)


@pytest.mark.parametrize(
    ("ends", "rank", "state"),
    [
        ([end(0, 0, 1), end(1, 0, 9), end(2, 0, 5)], 0, states.DONE),
        ([end(0, 0, 9), end(1, 1, 5), end(2, 0, 5)], 1, states.FAILED),
        ([end(0, 0, 5), end(1, 1, 9), end(2, 0, 5)], 0, states.DONE),  # as worker 0 had left
        ([end(0, 75, 9), end(1, 1, 5), end(2, 75, 5)], 0, states.STOPPED),
        ([end(0, 0, 9), end(2, 0, 5)], 1, states.FAILED),
        # The others are ended a minute after the first that failed
        ([end(1, 255, 5)], 1, states.FAILED),
        ([end(1, -11, 5), end(0, 143, 65)], 1, states.FAILED),
        ([end(0, 143, 65), end(1, 143, 65)], 2, states.FAILED),
    ],
)
def test_failed_worker_of_script_counts(ends, rank, state):
    of_batch_host = Ending(status=137, oom_kills=0, script=True)

    for order in (ends, ends[::-1]):
        assert decisive_end(order, NODES, is_script=True).rank == rank
        assert of_ending(fold(of_batch_host, order, NODES)).state == state


def test_memory_of_a_member_counts():
    ends = [end(0, 70, 2, "peer"), replace(end(1, -9, 1), oom_kills=1, peak_memory_gb=7.5)]

    outcome = of_ending(fold(Ending(status=137), ends, NODES[:2]))

    assert outcome.cause == "out_of_memory"
    assert "its largest process had 7.5 GB" in str(outcome.message)
