"""The members try each other's ports: what is blocked is named before TensorFlow starts."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from hpcdl.launch.meeting import Card, NotMetError
from hpcdl.launch.ports import hold_port
from hpcdl.launch.reach import open_to_all, try_all


def test_members_reach_each_other(tmp_path):
    with closing(hold_port()) as first, closing(hold_port()) as second:
        ports = [held.getsockname()[1] for held in (first, second)]
        cards = [Card(rank, f"n{rank + 1}", "127.0.0.1", ports[rank], {}, []) for rank in (0, 1)]
        with (
            closing(open_to_all("127.0.0.1", ports[0], 2)),
            closing(open_to_all("127.0.0.1", ports[1], 2)),
        ):
            other = threading.Thread(target=try_all, args=(tmp_path, cards, 1))
            other.start()
            try_all(tmp_path, cards, 0)
            other.join()


def test_blocked_port_is_named_to_all(tmp_path):
    """The node of which the port is blocked reaches the other one, and hears of it."""
    with closing(hold_port()) as first, closing(hold_port()) as second:
        ports = [held.getsockname()[1] for held in (first, second)]
        cards = [Card(rank, f"n{rank + 1}", "127.0.0.1", ports[rank], {}, []) for rank in (0, 1)]
        messages = []

        def member(rank: int) -> None:
            with pytest.raises(NotMetError) as caught:
                try_all(tmp_path, cards, rank)
            messages.append((str(caught.value), caught.value.nodes))

        with closing(open_to_all("127.0.0.1", ports[0], 2)):
            other = threading.Thread(target=member, args=(1,))
            other.start()
            member(0)
            other.join()

    assert len(messages) == 2
    for message, nodes in messages:
        assert nodes == ("n2",)
        assert message.startswith(
            f"n1 does not reach worker 1 on n2 at 127.0.0.1:{ports[1]}: Connection refused\n"
        )
        assert "worker_ports" in message


def test_silent_member_is_not_waited_for(tmp_path):
    with closing(hold_port()) as first, closing(hold_port()) as second:
        ports = [held.getsockname()[1] for held in (first, second)]
        cards = [Card(rank, f"n{rank + 1}", "127.0.0.1", ports[rank], {}, []) for rank in (0, 1)]
        with closing(open_to_all("127.0.0.1", ports[1], 2)):
            try_all(tmp_path, cards, 0, wait_s=0.1)
