"""Suggestions: the same question has the same answer, and every value belongs to the space."""

from __future__ import annotations

import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.errors import UserError
from hpcdl.sweeps.space import Space, parse_space
from hpcdl.sweeps.suggest import (
    STARTUP,
    KnownTrial,
    grid_point,
    grid_size,
    random_point,
    score_of,
    suggest,
)

SPACE = parse_space(
    {
        "train.optimizer.learning_rate": "log:1e-4..1e-1",
        "model.dropout": "0..0.6",
        "model.units": "int:log:16..512",
        "data.batch_size": "int:1..8",
        "model.filters": [[16, 32], [32, 64]],
    }
)
numbers = st.integers(0, 100_000)


def known_trials(count: int) -> list[KnownTrial]:
    """Trials of which the middle of the dropout is best; the last one runs."""
    trials = []
    for number in range(count):
        parameters = random_point(SPACE, 1, number)
        score = -((parameters["model.dropout"] - 0.3) ** 2)
        trials.append(KnownTrial(number, parameters, score))
    trials[-1] = KnownTrial(count - 1, trials[-1].parameters)
    return trials


@given(st.integers(0, 2**31), numbers)
def test_random_values_belong_to_the_space(seed, number):
    point = suggest(SPACE, "random", seed, number)

    assert SPACE.contains(point)
    assert point == suggest(SPACE, "random", seed, number)
    assert point == suggest(SPACE, "asha", seed, number, known_trials(20))


def test_random_values_stay_over_versions():
    """A sweep that goes on after an update has the trials that it would have had."""
    assert random_point(SPACE, 1, 17) == {
        "data.batch_size": 4,
        "model.dropout": 0.5979570291374954,
        "model.filters": [32, 64],
        "model.units": 33,
        "train.optimizer.learning_rate": pytest.approx(0.009575127593522744, rel=1e-14),
    }


def test_other_seed_or_number_is_another_point():
    points = {str(random_point(SPACE, seed, number)) for seed in (1, 2) for number in range(50)}

    assert len(points) == 100


def test_another_key_leaves_values_as_they_are():
    fewer = Space({"model.dropout": SPACE.dimensions["model.dropout"]})

    assert random_point(fewer, 1, 3)["model.dropout"] == random_point(SPACE, 1, 3)["model.dropout"]


def test_random_values_spread():
    """Each part of a dimension gets its share: of 2,000 draws within four standard deviations."""
    points = [random_point(SPACE, 5, number) for number in range(2000)]

    small_rates = sum(point["train.optimizer.learning_rate"] < 1e-3 for point in points)
    first_filters = sum(point["model.filters"] == [16, 32] for point in points)
    sizes = [sum(point["data.batch_size"] == size for point in points) for size in range(1, 9)]
    assert abs(small_rates - 667) < 85
    assert abs(first_filters - 1000) < 90
    assert all(abs(count - 250) < 60 for count in sizes)
    units = {point["model.units"] for point in points}
    assert (min(units), max(units)) == (16, 512)


def test_grid_has_each_point_once():
    space = parse_space({"model.a": "x|y", "train.b": "int:1..3", "data.c": [[1], [2]]})

    points = [suggest(space, "grid", 1, number) for number in range(grid_size(space))]

    assert len({str(point) for point in points}) == len(points) == 12
    assert all(space.contains(point) for point in points)
    assert points[0] == {"data.c": [1], "model.a": "x", "train.b": 1}
    assert points[1] == {"data.c": [1], "model.a": "x", "train.b": 2}
    with pytest.raises(IndexError, match="point 12 of a grid of 12"):
        grid_point(space, 12)


@pytest.mark.parametrize("notation", ["0..1", "log:1e-4..1e-1", "int:log:16..512"])
def test_grid_of_a_range_is_refused(notation):
    with pytest.raises(UserError, match=r"over\.model\.a: .* choose --method random"):
        suggest(parse_space({"model.a": notation}), "grid", 1, 0)


def test_unknown_method_is_refused():
    with pytest.raises(UserError, match="'tpe' is not known; choose one of grid, random, bayes"):
        suggest(SPACE, "tpe", 1, 0)


def test_score_is_better_if_higher():
    assert score_of(0.25, "maximize") == 0.25
    assert score_of(0.25, "minimize") == -0.25
    assert score_of(None, "minimize") is None


def test_bayes_begins_at_random(monkeypatch):
    """The first trials need no Optuna."""
    monkeypatch.setitem(sys.modules, "optuna", None)

    assert suggest(SPACE, "bayes", 1, 3, known_trials(STARTUP)) == random_point(SPACE, 1, 3)


def test_bayes_without_optuna_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(UserError) as caught:
        suggest(SPACE, "bayes", 1, 30, known_trials(30))

    assert "method bayes needs Optuna 3.6 or newer" in str(caught.value)
    assert f"{sys.executable} -m pip install 'optuna>=3.6'" in str(caught.value)
    assert "or choose --method random" in str(caught.value)


@pytest.mark.parametrize("version", ["3.5.1", "2.10.0", "", "new"])
def test_old_optuna_is_refused(monkeypatch, version):
    old = types.ModuleType("optuna")
    old.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "optuna", old)

    with pytest.raises(UserError, match=f"it is version {version or 'unknown'};"):
        suggest(SPACE, "bayes", 1, 30, known_trials(30))


class TestOptuna:
    """With the real one, where it is installed."""

    @pytest.fixture(autouse=True)
    def optuna(self):
        return pytest.importorskip("optuna", reason="pip install optuna")

    def test_same_question_same_answer(self):
        known = known_trials(30)

        point = suggest(SPACE, "bayes", 1, 30, known)

        assert SPACE.contains(point)
        assert point == suggest(SPACE, "bayes", 1, 30, list(reversed(known)))
        assert point != suggest(SPACE, "bayes", 2, 30, known)
        assert point != suggest(SPACE, "bayes", 1, 30, known[:15])

    def test_better_than_random(self):
        known = known_trials(60)

        points = [suggest(SPACE, "bayes", 1, number, known) for number in range(60, 80)]

        distances = [abs(point["model.dropout"] - 0.3) for point in points]
        assert sum(distances) / len(distances) < 0.1  # 0.15 at random

    def test_foreign_trials_and_bad_scores_are_left_out(self):
        known = known_trials(30)
        strange = [
            KnownTrial(31, {"model.other": 1}, 0.0),
            KnownTrial(32, known[0].parameters, float("nan")),
        ]

        assert suggest(SPACE, "bayes", 1, 40, [*known, *strange]) == suggest(
            SPACE, "bayes", 1, 40, known
        )
