"""SLURM's lists of nodes, and the same from SLURM itself."""

import random
import subprocess

import pytest

from hpcdl.errors import SchedulerError
from hpcdl.scheduler.host_list import expand


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("n1", ["n1"]),
        ("n[1-2]", ["n1", "n2"]),
        ("n[01-03,7],login", ["n01", "n02", "n03", "n7", "login"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("n[1-2]-ib,n1", ["n1-ib", "n2-ib", "n1"]),
        (" gs06r1b01 ", ["gs06r1b01"]),
    ],
)
def test_list_is_expanded_in_order(text, nodes):
    assert expand(text) == nodes


WRONG = """,|n1,|,n1|n1,,n2|n[|n]|n[1-2|n[]|n[1-]|n[a]|n[2-1]|n[1-2]]|n[[1-2]]|n1 n2|
n[0-99999999999]|a[1-999]b[1-999]|n[1,,2]|n[-1]"""


@pytest.mark.parametrize("text", ["", " ", *WRONG.replace("\n", "").split("|")])
def test_other_text_is_refused(text):
    with pytest.raises(SchedulerError, match="is not one of SLURM's"):
        expand(text)


def some_list(chance):
    """A list of nodes by chance, whose parts end with their brackets."""
    parts = []
    for _ in range(chance.randint(1, 4)):
        first, width = chance.randint(0, 120), chance.randint(1, 4)
        last = first + chance.randint(0, 12)
        numbers = f"[{first:0{width}}-{last:0{width}},{chance.randint(0, 9)}]"
        parts.append(chance.choice(["plain7", "n" + numbers, "r[1-3]c" + numbers]))
    return ",".join(parts)


@pytest.mark.testbed
def test_slurm_says_the_same():
    chance = random.Random(16)
    for _ in range(30):
        text = some_list(chance)
        argv = ["scontrol", "show", "hostnames", text]
        shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
        assert expand(text) == shown.stdout.split(), text
