"""A cross-validation as people see it: while it runs, its result, its page, beside other runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcdl.contract.fold_table import table
from hpcdl.contract.tables import aligned
from hpcdl.run.evidence import Evidence
from hpcdl.run.records import AttemptEvent, Heartbeat, Submitted
from hpcdl.run.state import status_of
from tests.report.conftest import JOB, Submit

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="session")
def validated(submit: Submit) -> Path:
    """The folder of a small run that trained three folds to their end."""
    train = {**JOB["train"], "cross_validation": 3}  # type: ignore[dict-item]
    return submit({**JOB, "name": "folds", "data": {"path": "data.npz"}, "train": train})


def spread(result: dict[str, Any], part: str) -> str:
    cross = result["cross_validation"]
    mean, deviation = (100 * cross[name][part]["accuracy"] for name in ("mean", "deviation"))
    return f"{mean:.2f} % ± {deviation:.2f} %"


def test_result_has_the_table(validated, cli):
    answer = cli("result", validated)

    assert answer.code == 0, answer.err
    result = json.loads(cli("result", validated, "--json").out)
    cross = result["cross_validation"]
    assert f"test accuracy {cross['mean']['test']['accuracy']:.4f} ± " in answer.out.splitlines()[0]
    assert answer.out.splitlines()[-6:] == aligned(table(cross))
    assert f"; folds/{result['model']['fold']}/model/" in answer.out


def test_page_shows_folds_and_best(validated, cli, tmp_path):
    """The page has the mean of all folds, and details of the fold whose model is kept."""
    assert cli("report", validated, "-o", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text().replace("\u00a0", " ")
    result = json.loads((validated / "result.json").read_text())

    for part in ("test", "validation"):
        assert f"<dd>{spread(result, part)}</dd>" in page
    assert (
        f"it gets {spread(result, 'test')} of 90 test images right (mean ± standard deviation)."
        in page
    )
    for row in table(result["cross_validation"])[1:]:
        assert (
            f'<th scope="row">{row[0]}</th><td class="n">{row[1]}</td><td class="n">{row[2]}</td>'
            in page
        )
    assert "Validation accuracy of 3 folds" in page
    number = result["model"]["fold"]
    assert f"Below is fold {number}, whose model is the best in validation." in page
    own = json.loads((validated / f"folds/{number}/result.json").read_text())
    assert f"{100 * own['test']['accuracy']:.2f} % of 90 images" in page, "its predictions"


def test_compare_shows_mean_and_deviation(validated, finished, cli):
    out = cli("compare", validated, finished).out
    result = json.loads((validated / "result.json").read_text())

    values = {line[:24].strip(): line for line in out.splitlines()}
    assert spread(result, "test") in values["test accuracy"]
    assert spread(result, "validation") in values["best validation"]
    told = json.loads(cli("compare", validated, finished, "--json").out)["runs"][0]
    assert told["test_accuracy"] == result["test"]["accuracy"]
    assert told["validation_accuracy"] == result["validation"]["accuracy"]


def test_folds_are_scored_together(validated, cli):
    out = cli("compare", validated).out
    together = json.loads(cli("compare", validated, "--json").out)["together"]

    assert "the mean of these 3 models: test accuracy " in out
    result = json.loads((validated / "result.json").read_text())
    alone = [one["accuracy"] for one in together["alone"]]
    assert sum(alone) / 3 == pytest.approx(result["test"]["accuracy"], abs=1e-6)
    assert together["rows"] == 90


def test_wait_shows_the_folds_epochs(validated, cli):
    said = cli("wait", validated).err.splitlines()

    shown = [line.split("  ")[:2] for line in said if line.startswith("fold ")]
    assert shown == [
        [f"fold {number}/3", f"epoch {epoch}/4"] for number in (1, 2, 3) for epoch in (1, 2, 3, 4)
    ]


def test_steps_of_all_folds_are_progress(validated):
    ends = [json.loads(line) for line in (validated / "attempts.jsonl").read_text().splitlines()]

    assert ends[-1]["steps"] == json.loads((validated / "result.json").read_text())["steps"]


def test_status_shows_current_fold(validated, cli):
    assert "4/4, fold 3/3" in cli("status", validated).out
    metrics: list[dict[str, Any]] = [
        {"epoch": 1, "fold": 1},
        {"epoch": 2, "fold": 1},
        {"epoch": 1, "fold": 2, "val_accuracy": 0.5},
    ]
    begun = [AttemptEvent("start", attempt=1, node="n", time=1.0)]
    second = Evidence(
        submitted=Submitted(),
        attempts=begun,
        metrics=metrics,
        heartbeat=Heartbeat(phase="training", epochs=2, fold=2, folds=3),
    )

    status = status_of(second)
    assert (status.epoch, status.fold, status.folds, status.metrics["val_accuracy"]) == (
        1,
        2,
        3,
        0.5,
    )
    status = status_of(replace(second, heartbeat=replace(second.heartbeat, fold=3)))
    assert (status.epoch, status.fold, status.metrics) == (None, 3, {})
