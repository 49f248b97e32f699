"""A script's metrics.jsonl: what can be used is used, and the rest is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.run.evidence import read
from hpcdl.run.metrics import read_metrics
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import status_of


def metrics(tmp_path, *lines, end="\n"):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + end
    )
    return read_metrics(path)


def test_rows_and_last_values(tmp_path):
    seen = metrics(
        tmp_path,
        {"epoch": 1, "loss": 0.5},
        {"epoch": 2, "loss": 0.25, "acc": 1},
        {"test_accuracy": 0.9},
    )
    assert seen.rows == [
        {"test_accuracy": 0.9},
        {"epoch": 1, "loss": 0.5},
        {"epoch": 2, "loss": 0.25, "acc": 1},
    ]
    assert seen.last == {"loss": 0.25, "acc": 1, "test_accuracy": 0.9}
    assert seen.problems == []


def test_later_line_replaces_an_earlier_one(tmp_path):
    """After a restart an epoch is written again; a second line may also bring other metrics of it."""
    seen = metrics(
        tmp_path,
        {"epoch": 1, "loss": 3},
        {"epoch": 2, "loss": 2},
        {"epoch": 2, "loss": 1},
        {"epoch": 1, "val": 7},
    )
    assert seen.rows == [{"epoch": 1, "loss": 3, "val": 7}, {"epoch": 2, "loss": 1}]
    assert seen.newest == {"epoch": 1, "loss": 3, "val": 7}
    assert seen.last == {"loss": 1, "val": 7}


def test_steps_within_epochs(tmp_path):
    seen = metrics(
        tmp_path,
        {"epoch": 1, "step": 10, "loss": 3},
        {"epoch": 1, "step": 20, "loss": 2},
        {"epoch": 1},
    )
    assert [(row.get("epoch"), row.get("step")) for row in seen.rows] == [
        (1, None),
        (1, 10),
        (1, 20),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("loss 0.5", "line 2 is not JSON: 'loss 0.5'"),
        ("[1, 2]", "line 2 is not a JSON object: '[1, 2]'"),
        ('{"epoch": "3", "loss": 1}', "line 2: epoch is '3', and not a number"),
        ('{"epoch": true, "loss": 1}', "line 2: epoch is True, and not a number"),
        ('{"epoch": 3, "loss": "low"}', "line 2: loss is 'low', and not a number"),
        ('{"epoch": 3, "loss": [1]}', "line 2: loss is [1], and not a number"),
        ('{"epoch": 3, "loss": NaN}', "line 2: loss is nan"),
        ('{"epoch": 3, "loss": -Infinity}', "line 2: loss is -inf"),
        ('{"epoch": 3, "loss": 1' + "0" * 400 + "}", "line 2: loss is 1000"),
        ("[" * 50000, "line 2 is not JSON: '[[["),
        ('{"epoch": 3, "loss', "line 2 is not JSON: '{\"epoch\": 3, \"loss'"),
    ],
)  # fmt: skip
def test_bad_metrics_line_is_reported(tmp_path, line, problem):
    """A bad line is reported and left out; the other lines count."""
    seen = metrics(tmp_path, {"epoch": 1, "loss": 0.5}, line, {"epoch": 9, "acc": 1})
    assert [row["epoch"] for row in seen.rows if "loss" in row or "acc" in row] == [1, 9]
    assert len(seen.problems) == 1
    assert seen.problems[0].startswith(problem)


def test_last_value_is_not_a_number(tmp_path):
    """The last good loss is not the last loss: it became NaN."""
    seen = metrics(tmp_path, {"epoch": 1, "loss": 0.5}, '{"epoch": 2, "loss": NaN}')
    assert seen.last == {"loss": None}
    assert metrics(tmp_path, {"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}).last == {
        "loss": None
    }


def test_half_line_at_end_is_reported(tmp_path):
    assert metrics(tmp_path, {"epoch": 1, "loss": 1}, '{"epoch": 2, "lo', end="").problems == [
        "line 2 is cut off, or is not JSON"
    ]
    assert metrics(tmp_path, {"epoch": 1, "loss": 1}, end="").last == {"loss": 1}


def test_missing_metrics_file(tmp_path):
    assert read_metrics(tmp_path / "none").problems == []
    assert read_metrics(tmp_path).problems == ["it cannot be read: Is a directory"]


def test_huge_metrics_file_is_read_partly(tmp_path):
    """Only the last bytes of a huge file are read, and the reader says so."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {n}, "loss": {n}}}\n' for n in range(5000)))
    seen = read_metrics(path, most_bytes=1000)
    assert seen.last == {"loss": 4999}
    assert seen.problems == [f"only the last 1,000 of its {path.stat().st_size:,} bytes are read"]


def test_many_bad_lines_are_counted(tmp_path):
    assert metrics(tmp_path, *["x"] * 1000).problems[-1] == "and 995 more"


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_read(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines))
    json.dumps(read_metrics(path).last, allow_nan=False)


def test_status_of_a_script(tmp_path):
    """The epoch that was written last, as the script numbers it; of steps alone only the metrics."""
    paths = RunPaths(tmp_path)
    paths.metrics.write_text('{"epoch": 4, "loss": 1}\n{"epoch": "x"}\n{"epoch": 5, "loss": 0.5}\n')
    status = status_of(read(paths))
    assert (status.epoch, status.epochs, status.metrics) == (5, None, {"epoch": 5, "loss": 0.5})
    paths.metrics.write_text('{"step": 400, "loss": 1}\n')
    status = status_of(read(paths))
    assert (status.epoch, status.metrics) == (None, {"step": 400, "loss": 1})
