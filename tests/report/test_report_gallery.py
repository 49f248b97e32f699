"""What a page shows of `test:`: maps of where a model looked, and its accuracy under attack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpcdl.errors import RunError
from hpcdl.report.evaluation import read_predictions
from hpcdl.report.gallery import heat_note, hottest_place, overlay
from hpcdl.report.page import report
from hpcdl.run import Run
from tests.report import made


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((slice(0, 3), slice(0, 3)), "at the top left"),
        ((slice(4, 8), slice(9, 12)), "at the right"),
        ((slice(9, 12), slice(4, 8)), "at the bottom"),
        ((slice(4, 8), slice(4, 8)), "in the middle"),
        ((slice(0, 0), slice(0, 0)), "nowhere in particular"),
    ],
)
def test_hottest_place_in_words(place, words):
    heat = np.zeros((12, 12), np.uint8)
    heat[place] = 255

    assert hottest_place(heat) == words


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("paper", [0, 255])
def test_heat_is_brighter_on_any_picture(channels, paper):
    """In grey, too: where the page is printed, and for those who see no colours."""
    image = np.full((1, 6, channels), paper, np.uint8)
    heat = np.array([[0, 50, 100, 150, 200, 255]], np.uint8)

    covered = overlay(image, heat)

    assert covered.shape == (1, 6, 3)
    light = covered[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all()


OCCLUSION = {"method": "occlusion", "images": 32, "fall": 0.741, "random_fall": 0.03}


@pytest.mark.parametrize(
    ("explain", "words"),
    [
        (OCCLUSION, ["falls by 74.1", "with a tenth hidden by chance, by 3.0"]),
        ({**OCCLUSION, "fall": 0.05}, ["hardly more", "say little about this model"]),
        ({**OCCLUSION, "images": 5, "left_out": 27}, ["the maps of 5 of 32 pictures"]),
        (
            {"method": "grad_cam", "images": 0, "problem": "no layer"},
            ["no maps of where the model looked, by grad_cam: no layer.", "test.explain"],
        ),
        ({"method": "new_method", "images": 1}, ["new_method"]),
    ],
)
def test_note_says_what_maps_are_worth(explain, words):
    note = heat_note(explain)

    assert all(word in note for word in words)
    assert heat_note(None) == ""


def test_run_without_heat_has_no_note(tmp_path):
    """As runs of earlier versions."""
    page = report(Run(made.training(tmp_path)))

    assert "where the model looked" not in page


def test_heat_of_another_size_is_refused(tmp_path):
    path = tmp_path / "predictions.npz"
    pictures = np.zeros((1, 4, 4, 1), np.uint8)
    arrays: dict[str, Any] = {"picture_rows": [3], "pictures": pictures, "heat_rows": [3]}
    np.savez(path, **made.predictions(), **arrays, heat=np.zeros((1, 5, 4), np.uint8))

    with pytest.raises(RunError, match="heat map of row 3 does not fit"):
        read_predictions(path)


ATTACK = {
    "rows": 1000,
    "accuracy": 0.97,
    "by_epsilon": [
        {"epsilon": 0.05, "fgsm": 0.88, "pgd": 0.4},
        {"epsilon": 0.1, "fgsm": 0.69, "pgd": 0.12},
    ],
    "pgd_steps": 10,
}


def test_page_says_what_attacks_do(tmp_path):
    page = report(Run(made.training(tmp_path, test={"attack": ATTACK})))

    assert "by up to 0.05 (13 of 255 grey levels)" in page
    assert "leaves 40.00\u00a0% right of 97.00\u00a0% without it" in page
    assert "fools it in most cases" in page
    assert "At 0.1 it is 12.00\u00a0%" in page
    assert "Guessing would be right in 25.00\u00a0%" in page
    assert "Accuracy under attack over epsilon, from 0 to 0.1" in page
    for tick in ("0.02", "0.04", "0.1"):
        assert f">{tick}</text>" in page


def test_page_says_why_attacks_are_missing(tmp_path):
    attack = {"rows": 0, "by_epsilon": [], "problem": "no <gradient>"}

    page = report(Run(made.training(tmp_path, test={"attack": attack})))

    assert "The attacks were not measured: no &lt;gradient&gt;." in page
