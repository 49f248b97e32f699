"""A trial's value among a script's arguments."""

from __future__ import annotations

import argparse

import pytest

from hpcdl.sweeps.arguments import argument_of, with_argument


@pytest.mark.parametrize(
    ("args", "value", "expected"),
    [
        ([], 0.1, ["--lr", "0.1"]),
        (["--lr", "1", "-v"], 0.1, ["--lr", "0.1", "-v"]),
        (["--lr=1", "-v"], 0.1, ["--lr", "0.1", "-v"]),
        (["--lr", "1", "--lr", "2"], 3, ["--lr", "1", "--lr", "3"]),
        (["--lr", "-1e-05"], 3, ["--lr", "3"]),
        (["--lr", "-v"], 3, ["--lr", "3", "-v"]),
        (["--lr"], 3, ["--lr", "3"]),
        (["--lrate", "1"], 3, ["--lrate", "1", "--lr", "3"]),
        (["in", "--", "--lr", "7"], 3, ["in", "--lr", "3", "--", "--lr", "7"]),
        ([], -1e-05, ["--lr=-1e-05"]),
        ([], "-x", ["--lr=-x"]),
        ([], True, ["--lr", "true"]),
        ([], [16, 32], ["--lr", "[16, 32]"]),
        ([], "ä b", ["--lr", "ä b"]),
    ],
)
def test_value_replaces_or_is_added(args, value, expected):
    before = list(args)

    assert with_argument(args, "lr", value) == expected
    assert args == before


@pytest.mark.parametrize("value", [1e-05, -1e-05, -3, "-x", "a"])
def test_argparse_reads_the_value(value):
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=type(value))

    assert parser.parse_args(with_argument(["--lr", "0"], "lr", value)).lr == value


@pytest.mark.parametrize(
    ("args", "value"),
    [
        ([], None),
        (["--lr", "1"], "1"),
        (["--lr=1", "--lr", "2"], "2"),
        (["--lr"], ""),
        (["--", "--lr", "1"], None),
    ],
)
def test_argument_is_read(args, value):
    assert argument_of(args, "lr") == value
