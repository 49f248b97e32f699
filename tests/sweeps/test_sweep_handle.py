"""A sweep for programs and notebooks: sent from Python, opened again, and read as tables."""

from __future__ import annotations

import math
import pickle
import time
from typing import Any, cast

import numpy as np
import pytest

import hpcdl
from hpcdl.errors import JobError, RunError, UserError

RATES = "train.optimizer.learning_rate"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A real sweep of a script job on this machine."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "train.py").write_text(
        "import json, os, sys\n"
        "rate = float(sys.argv[2])\n"
        "with open(os.environ['HPCDL_METRICS_FILE'], 'w') as lines:\n"
        "    for epoch in (1, 2):\n"
        "        print(json.dumps({'epoch': epoch, 'score': rate * epoch}), file=lines)\n"
    )
    job = hpcdl.load_job(folder / "train.py", ["resources.gpus=0"], ["--rate", "1"])
    made = hpcdl.sweep(
        job,
        over={"args.rate": [0.5, 0.25, 2.0]},
        method="grid",
        metric="score",
        direction="maximize",
        runs_dir=str(folder / "runs"),
    )
    made.wait(timeout_s=120)
    return made


def test_best_trial_and_its_job(sweep):
    best = sweep.best

    assert (best.params, best.value, best.epoch) == ({"args.rate": 2.0}, 4.0, 2)
    assert best.job.args == ["--rate", "2.0"]
    assert best.run.status().state == "done"


def test_table_has_column_per_key(sweep):
    table = sweep.table()

    assert table["number"].tolist() == [0, 1, 2]
    assert table["args.rate"].tolist() == [0.5, 0.25, 2.0]
    assert table["value"].tolist() == [1.0, 0.5, 4.0]
    assert set(table["state"].tolist()) == {"done"}


def test_table_makes_data_frame(sweep):
    pandas = pytest.importorskip("pandas")

    frame = pandas.DataFrame(sweep.table())

    assert frame.loc[frame["value"].idxmax(), "args.rate"] == 2.0


def test_trial_metrics_are_arrays(sweep):
    metrics = sweep.trials[2].metrics()

    assert metrics["score"].dtype == np.float64
    assert metrics["score"].tolist() == [2.0, 4.0]
    assert len(sweep.trials) == 3


def test_sweep_opens_again_elsewhere(sweep, tmp_path, monkeypatch):
    pickled = pickle.dumps(sweep)
    monkeypatch.chdir(tmp_path)

    again = pickle.loads(pickled)  # noqa: S301 - our own

    assert hpcdl.Sweep(again).best.value == sweep.best.value
    assert again.status().final


def test_sweep_shows_itself_as_table(sweep):
    page = sweep._repr_html_()

    assert page.startswith("<table>") and page.endswith("</table>")
    assert page.index("<td>2.0</td>") < page.index("<td>0.5</td>") < page.index("<td>0.25</td>")
    assert "3 done" in page


def test_run_is_no_sweep(sweep):
    with pytest.raises(RunError, match="not a sweep's folder"):
        hpcdl.Sweep(sweep.paths.trial(0))


def test_log_makes_a_range():
    assert hpcdl.log(1e-4, 1e-1) == "log:0.0001..0.1"


def test_unknown_setting_is_refused():
    job = hpcdl.load_job("digits_cnn")

    with pytest.raises(JobError, match=r"trails.*trials"):
        hpcdl.sweep(job, over={RATES: hpcdl.log(1e-4, 1e-1)}, trails=3)
    with pytest.raises(UserError, match="expected numbers"):
        hpcdl.sweep(job, over={RATES: [math.sqrt]})
    with pytest.raises(UserError, match="expected numbers"):
        hpcdl.sweep(job, over={RATES: [math.nan, 0.1]})
    with pytest.raises(UserError, match="expected a dict with a space for each key"):
        hpcdl.sweep(job, over=cast(Any, [RATES]))


def test_sweep_end_is_told_once(tmp_path):
    """Two workers see the end; the job's command runs once, with the best trial in its words."""
    (tmp_path / "train.py").write_text(
        "import json, os, sys\n"
        "with open(os.environ['HPCDL_METRICS_FILE'], 'w') as lines:\n"
        "    print(json.dumps({'epoch': 1, 'score': float(sys.argv[2])}), file=lines)\n"
    )
    told = tmp_path / "told"
    (tmp_path / "job.yaml").write_text(
        "name: told\nresources: {gpus: 0}\nscript: train.py\nargs: [--rate, 1]\n"
        f"notify: {{command: [sh, -c, 'echo \"$HPCDL_STATE $HPCDL_MESSAGE\" >>{told}']}}\n"
    )
    sweep = hpcdl.sweep(
        hpcdl.load_job(tmp_path / "job.yaml"),
        over={"args.rate": [1, 2, 3, 4]},
        method="grid",
        metric="score",
        direction="maximize",
        at_once=2,
        runs_dir=str(tmp_path / "runs"),
    )
    sweep.wait(timeout_s=120)
    deadline = time.monotonic() + 60
    while not told.exists() or not told.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert told.read_text().count("\n") == 1
    assert told.read_text().startswith("done ")
    assert "4 done; the best is trial 3, 4" in told.read_text()
