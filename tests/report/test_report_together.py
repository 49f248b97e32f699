"""Several models as one: their mean, and how far they agree."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from hpcdl.report.together import together
from tests.report.conftest import change


def test_mean_of_three_models():
    labels = np.array([0, 1, 0, 1])
    right = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.3, 0.7]])
    wrong_first = np.array([[0.4, 0.6], [0.2, 0.8], [0.8, 0.2], [0.3, 0.7]])
    sure_and_wrong = np.array([[1.0, 0.0], [0.2, 0.8], [0.0, 1.0], [0.3, 0.7]])

    result = together(labels, [right, wrong_first, sure_and_wrong])

    assert [one.accuracy for one in result.alone] == [1.0, 0.75, 0.75]
    assert result.alone[0].log_loss == pytest.approx(-np.log([0.9, 0.8, 0.8, 0.7]).mean())
    assert np.isfinite(result.alone[2].log_loss)
    mean_of_right = [2.3 / 3, 0.8, 1.6 / 3, 0.7]
    assert result.mean.accuracy == 1.0
    assert result.mean.log_loss == pytest.approx(-np.log(mean_of_right).mean())
    assert (result.rows, result.disagreement) == (4, 0.5)


@pytest.mark.tensorflow
def test_compare_scores_the_mean(finished, copied, cli, tmp_path):
    answer = cli("compare", finished, copied, "--html", tmp_path / "page.html")

    (line,) = [line for line in answer.out.splitlines() if line.startswith("the mean of")]
    assert line.startswith("the mean of these 2 models: test accuracy ")
    assert line.endswith("they disagree about 0.00 % of 90 images")
    assert "The mean of these 2 models" in (tmp_path / "page.html").read_text()
    told = json.loads(cli("compare", finished, copied, "--json").out)["together"]
    assert told["mean"]["accuracy"] == told["alone"][0]["accuracy"] == told["alone"][1]["accuracy"]

    change(copied, "manifest.json", data={"sha256": "another"})
    assert "the mean of" not in cli("compare", finished, copied).out
    shutil.copy(finished / "manifest.json", copied / "manifest.json")
    (copied / "predictions.npz").write_bytes(b"damaged")
    assert "the mean of" not in cli("compare", finished, copied).out
