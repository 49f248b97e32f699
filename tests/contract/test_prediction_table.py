"""The rows of predictions.csv: whatever a file is called, one line that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import os

import pytest

from hpcdl.contract import prediction_table


def written(*rows):
    """The rows as a file's text."""
    stream = io.StringIO(newline="")
    prediction_table.writer(stream).writerows(rows)
    return stream.getvalue()


def test_row_of_ordinary_image():
    names = ["cat", "dog, small"]

    text = written(
        prediction_table.header(names),
        prediction_table.row("a/1.png", [0.25, 0.75], names, ["first", "second"]),
    )

    assert text == (
        'file,answer,confidence,notes,cat,"dog, small"\n'
        'a/1.png,"dog, small",0.750000,first; second,0.250000,0.750000\n'
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"=cmd()|'x'!A1.png", "./=cmd()|'x'!A1.png"),
        (b"@sum.png", "./@sum.png"),
        (b"-1.png", "./-1.png"),
        (b"\t=1.png", "\\t=1.png"),
        (b"two\nlines.png", "two\\nlines.png"),
        (b"\xe4 latin.png", "\\xe4 latin.png"),
        ("ä.png".encode(), "ä.png"),
    ],
)
def test_hostile_file_names(name, shown):
    file = os.fsdecode(name)

    text = written(
        prediction_table.row(file, [1.0], ["a"], []), prediction_table.unusable_row(file, "is cut")
    )

    rows = list(csv.reader(io.StringIO(text)))
    assert [cells[0] for cells in rows] == [shown, shown]
    assert len(text.splitlines()) == 2
    text.encode("utf-8")


def test_class_names_are_no_formulas():
    names = ["=1+1", "-1", "+5 cm", "notes"]

    assert prediction_table.header(names)[4:] == ["'=1+1", "-1", "'+5 cm", "class notes"]
    assert prediction_table.row("a.png", [1, 0, 0, 0], names, [])[1] == "'=1+1"


def test_first_of_equal_classes_is_answer():
    assert prediction_table.row("a.png", [0.5, 0.5], ["a", "b"], [])[1:3] == ["a", "0.500000"]
