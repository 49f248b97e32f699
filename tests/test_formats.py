"""How numbers, times and tables read."""

from __future__ import annotations

import pytest

from hpcdl import formats
from hpcdl.contract.tables import aligned


def plain(text):
    """A text without no-break spaces."""
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("seconds", "in_table", "on_page"),
    [
        (0.281, "0:00", "0.28 s"),
        (31, "0:31", "31.0 s"),
        (59.96, "1:00", "1 min 00 s"),
        (725.2, "12:05", "12 min 05 s"),
        (3733, "1:02:13", "1 h 02 min"),
    ],
)
def test_seconds(seconds, in_table, on_page):
    assert formats.duration(seconds) == in_table
    assert plain(formats.seconds(seconds)) == on_page


@pytest.mark.parametrize(
    ("minutes", "text"), [(12, "12 min"), (125, "2 h 5 min"), (27 * 60 + 3, "1 d 3 h")]
)
def test_waiting_time(minutes, text):
    assert formats.waiting_time(minutes) == text


@pytest.mark.cases("F23")
@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (1.0, 1, "100.0 %"),
        (8809 / 8812, 1, "99.97 %"),
        (0.99999, 2, "99.999 %"),
        (1 - 1e-9, 1, "> 99.9999 %"),
        (0.9996, 1, "99.96 %"),
        (0.9889, 2, "98.89 %"),
        (0.0, 1, "0.0 %"),
        (0.0001, 1, "< 0.1 %"),
        (0.00001, 2, "< 0.01 %"),
        (0.05, 0, "5 %"),
        (1.5, 0, "150 %"),
        (None, 2, "–"),
    ],
)
def test_percent_never_rounds_to_extremes(share, digits, text):
    assert plain(formats.percent(share, digits)) == text


@pytest.mark.cases("F23")
def test_percentage_points():
    texts = [plain(formats.points(share)) for share in (0.01, 0.0004, 0.123)]

    assert texts == ["1.0 percentage point", "0.0 percentage points", "12.3 percentage points"]


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(340_000, "340 kB"), (12_300_000, "12 MB"), (3.4e9, "3.4 GB")]
)
def test_disk_use(size_bytes, text):
    assert formats.disk_use(size_bytes) == text


def test_table_of_uneven_rows():
    assert aligned([["RUN", "STATE"], ["k3f9"], ["p0aa", "done"], ["", "failed"]]) == [
        "RUN   STATE",
        "k3f9",
        "p0aa  done",
        "      failed",
    ]


def test_empty_table():
    assert aligned([]) == []
