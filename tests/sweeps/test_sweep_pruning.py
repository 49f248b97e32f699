"""Pruning: who ends at a rung, by ASHA and Hyperband's brackets."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.sweeps.pruning import asha_prunes, bracket_of, brackets, rungs

scores = st.floats(-10, 10)


def test_rungs_grow_by_eta():
    assert rungs(1, 81, 3) == [1, 3, 9, 27]
    assert rungs(2, 20, 2) == [2, 4, 8, 16]
    assert rungs(5, 5, 3) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0, 9, 3), "first must"), ((1, 0, 3), "epochs must"), ((1, 9, 1), "eta must")],
)
def test_numbers_that_mean_nothing_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        rungs(*arguments)


@given(st.lists(scores, min_size=3, max_size=40, unique=True), st.integers(2, 4))
def test_asha_keeps_one_in_eta(values, eta):
    if len(values) < eta:
        return
    kept = []
    for place, score in enumerate(values):
        if not asha_prunes(score, values[:place] + values[place + 1 :], eta):
            kept.append(score)

    assert kept == [score for score in values if score in sorted(values)[-len(kept) :]]
    assert len(kept) == max(1, len(values) // eta)


def test_asha_needs_enough_to_compare():
    assert not asha_prunes(0.1, [0.9], eta=3)
    assert asha_prunes(0.1, [0.9, 0.8], eta=3)
    assert not asha_prunes(0.9, [0.1, 0.8], eta=3)


def test_equal_scores_go_on():
    assert not asha_prunes(0.5, [0.5] * 8, eta=3)


def test_nan_is_worse_than_any_number():
    assert asha_prunes(nan, [], eta=3)
    assert not asha_prunes(0.1, [nan] * 8, eta=3)


def test_brackets_of_the_paper():
    """Table 1 of Hyperband: R = 81, eta = 3."""
    shares = brackets(1, 81, 3)

    assert [(bracket.first, bracket.trials) for bracket in shares] == [
        (1, 81), (3, 34), (9, 15), (27, 8), (81, 5),
    ]  # fmt: skip


def test_each_round_has_its_shares():
    shares = brackets(1, 9, 3)
    per_round = sum(bracket.trials for bracket in shares)

    places = [bracket_of(number, shares) for number in range(3 * per_round)]

    for place, bracket in enumerate(shares):
        assert places.count(place) == 3 * bracket.trials
    assert places[:per_round] == places[per_round : 2 * per_round]


@given(st.integers(1, 10), st.integers(1, 200), st.integers(2, 5))
def test_brackets_begin_at_their_rungs(first, epochs, eta):
    shares = brackets(first, epochs, eta)
    levels = rungs(first, epochs, eta)

    assert [bracket.first for bracket in shares[: len(levels)]] == levels
    assert shares[-1].first >= epochs or not levels
    assert all(bracket.trials >= 1 for bracket in shares)
