"""Sentences and numbers that say only what is so: ties, plurals, rounding, emulation, dates, folds."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest

from hpcdl.report.comparison import compare
from hpcdl.report.evaluation import evaluate
from hpcdl.report.facts import read
from hpcdl.report.page import report
from hpcdl.report.summary import sentences
from hpcdl.run import Run
from tests.report import made

CONFIDENT = 0.999999


def told(folder, scores=None):
    return [text.replace("\u00a0", " ") for text in sentences(read(Run(folder)), None, scores)]


def scored(pairs, confidence=CONFIDENT, classes=10):
    """The scores of answers: (class, answer) of each image, all as sure."""
    labels = np.array([label for label, _ in pairs])
    probabilities = np.full((len(pairs), classes), (1 - confidence) / (classes - 1))
    for row, (_, answer) in enumerate(pairs):
        probabilities[row, answer] = confidence
    return evaluate(labels, probabilities)


@pytest.mark.cases("F23")
def test_run_has_its_date(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        page = report(Run(made.training(tmp_path)))
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()

    assert "started 2025-11-28 04:21:00 UTC+01:00, ended 2025-11-28 04:23:00 UTC+01:00</p>" in page
    assert '<th scope="row">submitted</th><td>2025-11-28 04:20:00 UTC+01:00</td>' in page


@pytest.mark.cases("F23")
def test_run_under_way_has_no_end(tmp_path):
    folder = made.base(tmp_path, made.JOB, None)

    page = report(Run(folder))

    assert "started 2025-11-28 03:21:00" in page
    assert "ended 2025" not in page


@pytest.mark.cases("F23")
@pytest.mark.parametrize(
    ("mistakes", "text"),
    [
        ([(9, 5)] * 3 + [(9, 4)], "The hardest class is 9: 60.0 % of its images are found (6 of 10); "
         "it is most often taken for 5 (3 images)."),
        ([(9, 5), (9, 4)], "The hardest class is 9: 80.0 % of its images are found (8 of 10); "
         "it is as often taken for 4 and 5 (1 image each)."),
        ([(9, 5)], "The hardest class is 9: 90.0 % of its images are found (9 of 10); "
         "the others are taken for 5 (1 image)."),
        ([(9, n) for n in range(6)], "it is as often taken for 0, 1, 2 and 3 more (1 image each)."),
        ([(8, 1), (3, 2)], "The hardest classes are 3 and 8: 90.0 % of the images of each are found."),
        ([], "Every class is found at least 100.0 % of the time."),
    ],
)  # fmt: skip
def test_ties_are_mentioned(tmp_path, mistakes, text):
    pairs = list(mistakes)
    for label in range(10):
        rest = 10 - sum(1 for true, _ in mistakes if true == label)
        pairs += [(label, label)] * rest

    summary = told(made.training(tmp_path), scored(pairs))

    assert any(sentence.endswith(text) for sentence in summary), summary


@pytest.mark.cases("F23")
def test_at_least_is_not_rounded_up(tmp_path):
    pairs = [(0, 1)] + [(0, 0)] * 27 + [(1, 1)] * 28  # 27 of 28: 96.43 %
    pairs += [(2, 1)] * 7 + [(2, 2)] * 143  # 143 of 150: 95.33 %

    summary = told(made.training(tmp_path), scored(pairs, classes=3))

    assert "Every class is found at least 95.3 % of the time." in summary
    pairs += [(2, 2)]  # 144 of 151: 95.36 %
    assert "Every class is found at least 95.3 % of the time." in told(
        tmp_path / "a/20251128-0320-aaaa", scored(pairs)
    )


@pytest.mark.cases("F23")
def test_confidence_error_in_points(tmp_path):
    wrong = [(0, 1)] * 3
    pairs = wrong + [(n % 10, n % 10) for n in range(8809)]

    page = report(Run(made.training(tmp_path)))
    summary = told(tmp_path / "a" / "20251128-0320-aaaa", scored(pairs))

    assert (
        "Its confidence can be trusted: it is off by 0.0 percentage points on average." in summary
    )
    assert "percentage points on average (expected calibration error" in page.replace("\u00a0", " ")


@pytest.mark.cases("F23")
def test_counts_of_one_are_singular(tmp_path):
    data = {"rows_train": 1, "rows_validation": 1, "rows_test": 1, "classes": 1}
    model = {"parameters": 1, "trainable_parameters": 1, "depth": 1}
    folder = made.training(
        tmp_path,
        data=data,
        model=model,
        test={"rows": 1, "accuracy": 1.0},
        timing={"images_per_s": 1.2},
    )
    page = re.sub(r"<[^>]*>", "", report(Run(folder))).replace("\u00a0", " ")

    assert "It gets 100.00 % of 1 test image right (none wrong)." in page
    assert "has 1 parameter in 1 layer, all of them trained" in page
    assert "1 image a second" in page
    assert "1 class\n" in page
    for noun in ("parameters", "layers", "classes", "images", "epochs", "replicas", "GPUs", "runs"):
        assert not re.search(rf"(?<![\d.,×])\b1 {noun}\b", page), noun


@pytest.mark.cases("F6")
@pytest.mark.parametrize(
    ("devices", "text", "is_emulated"),
    [
        ({"names": ["CPU:0"], "emulated": False}, "on the CPU", False),
        ({"names": ["CPU:0 emulated"], "emulated": True}, "on 1 emulated GPU:", True),
        (
            {"names": ["CPU:0 emulated", "CPU:1 emulated"], "emulated": True},
            "on 2 emulated GPUs:",
            True,
        ),
        ({"names": ["GPU:0 NVIDIA H100"], "emulated": False}, "on NVIDIA H100:", False),
    ],
)
def test_stand_in_gpus_only_if_used(tmp_path, devices, text, is_emulated):
    """The test bed's profile emulates GPUs, also for a job that asks for none."""
    folder = made.training(tmp_path, devices=devices, cluster={"emulate_gpus": True})
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(
        json.dumps({**plan, "emulate_gpus": True, "gpus": len(devices["names"])})
    )

    page = report(Run(folder)).replace("\u00a0", " ")
    row = next(row for row in compare([Run(folder)]).rows if row.key == "devices")

    assert text in page
    assert ("emulated" in page.lower()) == is_emulated
    assert ("emulated" in row.texts[0]) == is_emulated


@pytest.mark.cases("F6")
def test_cpu_job_under_way(tmp_path):
    facts = read(Run(made.base(tmp_path, made.JOB, None, emulate_gpus=True)))

    assert not facts.emulated


@pytest.mark.cases("F23")
def test_fold_sentences_name_the_fold(tmp_path):
    parts = {"test": {"accuracy": 0.01, "loss": 0.1}, "validation": {"accuracy": 0.02, "loss": 0.1}}
    mean = {"test": {"accuracy": 0.9, "loss": 0.3}, "validation": {"accuracy": 0.8, "loss": 0.4}}
    fold = {"fold": 1, "epochs_run": 3, **mean}
    cross = {"mean": mean, "deviation": parts, "folds": [fold, {**fold, "fold": 2}]}
    folder = made.training(tmp_path, cross_validation=cross, model={"fold": 2})
    lines = (folder / "metrics.jsonl").read_text()
    for number in (1, 2):
        own = folder / "folds" / str(number)
        own.mkdir(parents=True)
        (own / "metrics.jsonl").write_text(lines)
        np.savez(own / "predictions.npz", **made.predictions())

    page = report(Run(folder)).replace("\u00a0", " ")

    assert "<li>Of fold 2: It had not learned all it could" in page
    assert "<li>Of fold 2: The hardest class" in page
    assert re.search("<li>Of fold 2: (It is|Its confidence)", page)
    assert '<div class="columns apart">' in page


@pytest.mark.cases("F23")
@pytest.mark.parametrize("restores", [True, False])
def test_tested_epoch_is_not_the_best(tmp_path, restores):
    """Without early_stopping the last epoch's weights are tested, also where another was better."""
    settings = {"train": {"early_stopping": {"monitor": "val_loss", "restore_best": restores}}}
    best = {"epoch": 2, "monitor": "val_loss", "value": 0.3}

    page = report(Run(made.training(tmp_path, settings=settings, best=best)))

    assert "best: epoch 2" in page
    assert (
        "The tested weights are those of epoch 3, the last one, not of the best." in page
    ) != restores
