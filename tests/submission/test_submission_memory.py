"""More memory for a run: half as much again, and never more than a node has."""

from __future__ import annotations

import pytest

from hpcdl.errors import SchedulerError, UserError
from hpcdl.scheduler.site import NodeShape, Partition, Site
from hpcdl.submission.memory import more_memory

SITE = Site(
    partitions=(Partition("gpu", default=True), Partition("big")),
    nodes=(
        NodeShape(80, 100 * 1024, {"": 4}, ("gpu",)),
        NodeShape(80, 1000 * 1024, {}, ("big",)),
    ),
)


def plan(**options: str) -> dict[str, object]:
    directives = [[key.replace("_", "-"), value] for key, value in options.items()]
    return {"directives": directives, "gpus": 2}


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"mem": "40960M"}, "--mem=61440M"),
        ({"mem": "92160M"}, "--mem=102400M"),
        ({"mem_per_cpu": "1024M"}, "--mem-per-cpu=1536M"),
        ({"mem_per_gpu": "20480M"}, "--mem-per-gpu=30720M"),
        ({}, "--cpus-per-task=30"),
    ],
)
def test_half_as_much_again(asked, option):
    more = more_memory(plan(cpus_per_task="20", **asked), [], SITE)

    assert more.option == option
    assert ("all that a node here has" in more.words) == (option == "--mem=102400M")


def test_last_request_counts():
    more = more_memory(plan(cpus_per_task="20", mem="10240M"), ["--mem=40960M"], SITE)

    assert more.option == "--mem=61440M"
    assert more.words == "memory 40 GB -> 60 GB"


@pytest.mark.parametrize("asked", [{"mem": "102400M"}, {"cpus_per_task": "80"}])
def test_refused_at_the_bound(asked):
    with pytest.raises(UserError, match="no more can be added"):
        more_memory(plan(**asked), [], SITE)


@pytest.mark.parametrize(
    ("asked", "option"), [({"mem": "10240M"}, "--mem=81920M"), ({}, "--cpus-per-task=64")]
)
def test_named_memory_is_taken(asked, option):
    assert more_memory(plan(**asked), [], SITE, 80).option == option
    with pytest.raises(UserError, match="--memory-gb 101: no node here has more than 100 GB"):
        more_memory(plan(**asked), [], SITE, 101)


def test_other_partition_counts():
    big = {"directives": [["mem", "102400M"], ["partition", "big"]]}

    assert more_memory(big, [], SITE).option == "--mem=153600M"


def test_site_without_nodes():
    with pytest.raises(SchedulerError, match="names no node"):
        more_memory(plan(mem="1024M"), [], Site())
