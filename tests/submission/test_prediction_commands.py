"""What the commands say of a prediction that is done: its images, its answers, and the verdicts on them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcdl.files import write_json, write_text
from hpcdl.job import Resources
from hpcdl.report.predicted import drift_keys, verdict_lines
from hpcdl.run import Run
from hpcdl.submission import send
from hpcdl.submission.predict import Wanted, prepare_prediction
from tests.run.test_run_damaged import damaged


def probabilities(rows: int, sure: float, seed: int) -> np.ndarray:
    """Answers of two classes, with this mean confidence."""
    random = np.random.default_rng(seed)
    first = np.clip(random.normal(sure, 0.02, rows), 0.5, 1.0)
    values = np.stack([first, 1 - first], axis=1).astype(np.float32)
    return np.where((np.arange(rows) % 2 == 0)[:, None], values, values[:, ::-1])


def looks(rows: int, brightness: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(brightness, 0.05, (rows, 5)).astype(np.float32)


@pytest.fixture
def predicted(done, images):
    """Makes a prediction of 200 images, of this brightness and with this mean confidence."""

    def make(sure: float = 0.95, brightness: float = 0.5, with_test: bool = True) -> Run:
        trained = done()
        if with_test:
            labels = (np.arange(400) % 2).astype(np.int32)
            test: dict[str, Any] = {"labels": labels, "probabilities": probabilities(400, 0.95, 1)}
            test.update(picture_rows=np.zeros(0, np.int32), pictures=np.zeros((0, 8, 8, 3), "u1"))
            np.savez(trained.paths.predictions, looks=looks(400, 0.5, 2), **test)
        prepared = prepare_prediction(Wanted([trained], str(images), Resources(gpus=0)))
        send.make_folder(prepared, ["hpcdl", "predict"])
        paths = prepared.paths
        answers = probabilities(200, sure, 3)
        np.savez(
            paths.predictions,
            files=np.array([f"{number}.png" for number in range(200)]),
            probabilities=answers,
            looks=looks(200, brightness, 4),
            picture_rows=np.array([7, 3], np.int32),
            pictures=np.zeros((2, 8, 8, 3), np.uint8),
            heat_rows=np.array([7], np.int32),
            heat=np.eye(8, dtype=np.uint8)[:1, ::-1, None] * np.full((1, 8, 8), 255, np.uint8),
        )
        write_text(paths.unusable_csv, "file,why\n<b>.png,is cut short: the image has no end\n")
        write_text(paths.predictions_csv, "file,answer\n")
        events = [
            {"event": "start", "attempt": 1, "time": 1.0, "from_images": 0},
            {
                "event": "end",
                "attempt": 1,
                "time": 9.0,
                "seconds": 8.0,
                "reason": "done",
                "images": 201,
            },
        ]
        write_text(paths.attempts, "".join(json.dumps(event) + "\n" for event in events))
        result = {
            "state": "done", "images": 200, "unusable": 1, "images_per_s": 25.0, "attempts": [],
            "folder": str(images), "runs": [str(trained.paths.root)],
            "answers": {"cat": 150, "dog": 50},
            "explain": {
                "method": "occlusion", "images": 1, "left_out": 1, "side": 0.5,
                "fall": 0.02, "random_fall": 0.01,
            },
        }  # fmt: skip
        write_json(paths.result, {**result, **drift_keys(paths)})
        return Run(paths.root)

    return make


def test_few_images_prove_little():
    drift = {
        "changed": False, "what": [], "p": 0.4, "psi": 0.01, "likely_worse": False,
        "confidence": {"new": 0.1, "test": 0.4}, "rows": {"new": 3, "test": 360}, "outside": 0.0,
    }  # fmt: skip

    changed, _ = verdict_lines({"drift": drift})
    drift["rows"] = {"new": 50, "test": 360}
    of_many, _ = verdict_lines({"drift": drift})

    assert changed[1].endswith("; 3 images can only show a large change")
    assert of_many[1] == "no: the images look like those of the test"


def test_same_images_have_not_changed(cli, predicted):
    run = predicted()

    answer = cli("result", run.paths.root)

    assert answer.code == 0
    assert answer.out.startswith("done: 200 images, 1 unusable\n")
    lines = [line.strip() for line in answer.out.splitlines()]
    assert "answers    cat 150, dog 50" in lines
    assert "changed    no: the images look like those of the test" in lines
    assert any(line.startswith("worse      not likely: mean confidence 0.9") for line in lines)
    assert f"answers in {run.paths.predictions_csv}" in lines


def test_harmless_change_is_only_a_change(cli, predicted):
    out = cli("result", predicted(brightness=0.6).paths.root).out

    assert "changed    yes: " in out
    assert "worse      not likely" in out


def test_images_unlike_the_test_are_no_verdict(cli, predicted):
    """The model is as sure as in its test of images that are brighter than any there."""
    run = predicted(brightness=0.9)
    runs_dir = run.paths.root.parents[1]

    out = cli("result", run.paths.root).out

    assert "worse      nobody can tell: 100\u00a0% of the images look unlike any in the test" in out
    status = cli("status", "--all", "--runs-dir", runs_dir).out
    assert "200 images, 1 unusable, 100\u00a0% unlike any in the test" in status
    as_json = json.loads(cli("result", run.paths.root, "--json").out)
    assert as_json["drift"]["likely_worse"] is None
    assert as_json["drift"]["outside"] == 1
    compared = cli("compare", run.paths.root, predicted().paths.root).out
    assert "nobody can tell" in compared


def test_damaged_answers_are_no_verdict(predicted):
    """What is wrong with a prediction's file is said in the place of the verdicts."""
    paths = predicted().paths
    with np.load(paths.predictions) as arrays:
        answers = dict(arrays.items())
    for change, why in [
        ({"looks": np.ones((3, 5))}, "looks (3, 5) do not fit 200 rows"),
        ({"probabilities": np.full((200, 3), 1 / 3)}, "answers (200, 3) where (images, 2 classes)"),
        ({"probabilities": np.full((200, 2), np.nan)}, "there are answers that are no number"),
    ]:
        np.savez(paths.predictions, **{**answers, **change})
        keys = drift_keys(paths)
        assert keys["drift"] is None
        assert why in keys["drift_problem"]
        assert why in verdict_lines(keys)[0][1]


def test_unsure_answers_are_likely_worse(cli, predicted):
    run = predicted(sure=0.7)
    runs_dir = run.paths.root.parents[1]

    assert "worse      likely: mean confidence 0.7" in cli("result", run.paths.root).out
    status = cli("status", "--all", "--runs-dir", runs_dir).out
    assert "200 images, 1 unusable, likely worse than in the test" in status
    as_json = json.loads(cli("result", run.paths.root, "--json").out)
    assert as_json["drift"]["likely_worse"] is True
    assert as_json["drift"]["rows"] == {"new": 200, "test": 400}


def test_run_without_test_answers_is_no_fault(cli, predicted):
    out = cli("result", predicted(with_test=False).paths.root).out

    assert "changed    not known: " in out
    assert "worse" not in out


def test_report_shows_classes_and_odd_files(cli, predicted):
    run = predicted(sure=0.7)

    page = Path(cli("report", run.paths.root).out.strip()).read_text()

    assert page.count("<figure>") == 2
    assert page.count('alt="where the model looked: ') == 1
    assert "time for the maps of 1 of 2 pictures" in page
    assert "these maps say little about this model" in page
    assert "The squares are coarse, 50% of the image&#39;s shorter side" in page
    assert "7.png" in page
    assert "&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert re.search(r"75\.0\s%.*50\.0\s%", page)
    assert "yes: " in page


def test_predictions_stand_side_by_side(cli, predicted):
    first, second = predicted(), predicted(sure=0.7)

    lines = cli("compare", first.paths.root, second.paths.root).out.splitlines()

    rows = {line[:24].strip(): line[24:].split() for line in lines}
    assert any(name.startswith("images predicted") for name in rows), lines
    assert any(line.split()[-2:] == ["no", "yes"] for line in lines if "likely worse" in line)


def test_other_commands_know_predictions(cli, predicted):
    run = predicted()

    assert (
        "nothing: it is done" in cli("retry", run.paths.root).err + cli("retry", run.paths.root).out
    )
    assert cli("cost", run.paths.root).code == 0
    assert cli("clean", run.paths.root).code == 0
    assert "done" in cli("resume", run.paths.root).err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--here", "--wait"), "--here predicts at once"),
        (("--here", "--backend", "local"), "--here predicts at once"),
        (("--fail-on-drift",), "it goes with --wait"),
        (("--set", "data.path=x"), "resources.KEY=VALUE alone"),
    ],
)
def test_options_that_do_not_go_together(cli, done, images, words, message):
    answer = cli("predict", done().paths.root, images, *words)

    assert (answer.code, message in answer.err) == (2, True)


def test_damaged_result_gives_no_traceback(cli, predicted, tmp_path):
    run = predicted(sure=0.7)
    text = run.paths.result.read_text()

    for content in damaged(text, is_lines=False, kinds=2):
        write_text(run.paths.result, content)
        for command in (("result",), ("status",), ("report", "-o", tmp_path / "page.html")):
            assert cli(command[0], run.paths.root, *command[1:]).code in (0, 1, 2), content
