"""How much a parameter matters: what the measure finds, and what it must not find."""

from __future__ import annotations

import math
import random

import pytest

from hpcdl.report.importance import Trial, importances, mid_ranks
from hpcdl.sweeps.space import parse_space
from hpcdl.sweeps.suggest import random_point

SPACE = parse_space(
    {
        "train.optimizer.learning_rate": "log:1e-4..1e-1",
        "model.dropout": "0..0.6",
        "model.dense": [32, 64, 128],
        "model.activation": "relu|gelu",
    }
)
RATE, DROPOUT = "train.optimizer.learning_rate", "model.dropout"


def trials(count, score, seed=1):
    drawn = []
    for number in range(count):
        params = random_point(SPACE, seed, number)
        drawn.append(Trial(params, score(params)))
    return drawn


def share_of(importance) -> float:
    assert importance.share is not None
    return float(importance.share)


def shares(count, score, seed=1):
    return {one.key: one for one in importances(SPACE, trials(count, score, seed))}


def test_equal_scores_share_a_rank():
    assert mid_ranks([3.0, 1.0, 3.0, -math.inf]) == [3.5, 2.0, 3.5, 1.0]


def test_only_parameter_that_matters():
    """Best in the middle of the range: no rank correlation would find this."""
    found = importances(SPACE, trials(60, lambda p: -abs(math.log10(p[RATE]) + 2.5)))

    assert found[0].key == RATE
    assert share_of(found[0]) > 0.8
    assert found[0].is_clear
    assert found[0].best is not None
    low, high = found[0].best.values
    assert 1e-3 < low < 10**-2.5 < high < 1e-2
    assert all(share_of(one) < 0.1 for one in found[1:])


def test_two_parameters_by_their_weight():
    by_key = shares(200, lambda p: -3 * p[DROPOUT] + 0.3 * (p["model.activation"] == "gelu"))

    assert by_key[DROPOUT].share > by_key["model.activation"].share > 0.01
    assert by_key["model.activation"].best.values == ("gelu",)
    assert by_key[DROPOUT].best.values[1] < 0.2


def test_noise_is_not_important():
    """Of parameters that do nothing, about one in twenty is called clear; the mean share is small."""
    clear, total = 0, 0.0
    for seed in range(50):
        noise = random.Random(seed)
        for one in importances(SPACE, trials(30, lambda p, noise=noise: noise.random(), seed)):
            clear += one.is_clear
            total += share_of(one)

    assert clear <= 20  # of 200
    assert total / 200 < 0.06


def test_share_equals_the_formula():
    """H of Kruskal and Wallis for two groups of six without ties, worked out by hand."""
    space = parse_space({"model.activation": "relu|gelu"})
    scores = [1, 2, 3, 4, 5, 7, 6, 8, 9, 10, 11, 12]
    ran = [
        Trial({"model.activation": "relu" if n < 6 else "gelu"}, float(score))
        for n, score in enumerate(scores)
    ]

    share = importances(space, ran)[0].share

    statistic = 12 / (12 * 13) * (22**2 / 6 + 56**2 / 6) - 3 * 13
    assert share == pytest.approx((statistic - 1) / 10)


def test_diverged_trials_are_the_worst():
    by_key = shares(40, lambda p: -math.inf if p[RATE] > 1e-2 else p[DROPOUT])

    assert by_key[RATE].is_clear
    assert by_key[RATE].best.values[1] < 2e-2


@pytest.mark.parametrize("count", [0, 1, 11])
def test_few_trials_say_nothing(count):
    assert {one.share for one in importances(SPACE, trials(count, lambda p: p[DROPOUT]))} == {None}


def test_equal_values_say_nothing():
    assert {one.share for one in importances(SPACE, trials(20, lambda p: 0.5))} == {None}


def test_long_list_of_numbers_is_ranges():
    space = parse_space({"train.batch_size": list(range(8, 108)), "model.name": list("abcdefghij")})
    ran = []
    for number in range(15):
        params = {"train.batch_size": 8 + 6 * number, "model.name": "abcdefghij"[number % 10]}
        ran.append(Trial(params, float(number)))

    by_key = {one.key: one for one in importances(space, ran)}

    assert share_of(by_key["train.batch_size"]) > 0.7
    assert by_key["model.name"].share is None  # ten names, fifteen trials


def test_lists_can_be_values():
    space = parse_space({"model.filters": [[16, 32], [32, 64]]})
    ran = [Trial({"model.filters": [16, 32] if n % 2 else [32, 64]}, n % 2) for n in range(12)]

    found = importances(space, ran)[0]

    assert found.best is not None
    assert found.best.values == ([16, 32],)
    assert share_of(found) > 0.9
