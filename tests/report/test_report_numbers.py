"""Every number of a report, worked out again from the run's own files with nothing but numpy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcdl.report.page import report
from hpcdl.run import Run
from tests.report import made

pytestmark = pytest.mark.cases("F23")
ROWS, CLASSES = 311, 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with classes of unequal size, one of which has no image in the test part."""
    folder = made.training(
        tmp_path_factory.mktemp("runs"), data={"classes": CLASSES, "rows_test": ROWS}
    )
    chance = np.random.default_rng(5)
    labels = chance.choice(CLASSES - 1, ROWS, p=[0.4, 0.2, 0.2, 0.1, 0.07, 0.03]).astype(np.int32)
    scores = chance.normal(size=(ROWS, CLASSES)) * 1.7 + 2.2 * np.eye(CLASSES)[labels]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.savez(folder / "predictions.npz", labels=labels, probabilities=shares.astype(np.float32))
    right = float((shares.argmax(axis=1) == labels).mean())
    result = json.loads((folder / "result.json").read_text())
    result["test"] = {"accuracy": right, "loss": 0.5, "rows": ROWS}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return plain(report(Run(folder)))


@pytest.fixture(scope="module")
def predictions(folder: Path) -> dict[str, Any]:
    loaded = np.load(folder / "predictions.npz")
    return {
        "labels": loaded["labels"],
        "shares": loaded["probabilities"],
        "answers": loaded["probabilities"].argmax(1),
    }


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.replace("\u00a0", " ")))


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def shares_of_class(predictions: dict[str, Any], label: int) -> tuple[Any, Any, Any]:
    labels, answers = predictions["labels"], predictions["answers"]
    hits = int(((labels == label) & (answers == label)).sum())
    answered, there = int((answers == label).sum()), int((labels == label).sum())
    precision = hits / answered if answered else None
    recall = hits / there if there else None
    f1 = 2 * hits / (answered + there) if answered + there else None
    return precision, recall, f1


def test_accuracy_and_top_k(page, predictions):
    labels, shares = predictions["labels"], predictions["shares"]
    right = predictions["answers"] == labels
    wrong = int((~right).sum())

    assert f"It gets {percent(right.mean())} of {ROWS} test images right ({wrong} wrong)." in page
    assert f"{percent(right.mean())} of {ROWS} images" in page
    order = np.argsort(-shares, axis=1, kind="stable")
    among_three = (order[:, :3] == labels[:, None]).any(axis=1).mean()
    assert f"top 3 {percent(among_three)}" in page


def test_balanced_accuracy(page, predictions):
    recalls = [shares_of_class(predictions, label)[1] for label in range(CLASSES)]
    known = [recall for recall in recalls if recall is not None]

    assert f"balanced {percent(float(np.mean(known)))}" in page


def test_every_class(page, predictions):
    for label in range(CLASSES):
        precision, recall, f1 = shares_of_class(predictions, label)
        there = int((predictions["labels"] == label).sum())
        texts = ["–" if share is None else percent(share) for share in (precision, recall, f1)]
        assert f" {label} {there} {' '.join(texts)} " in page


def test_confused_pairs_in_order(page, predictions):
    pairs: dict[tuple[int, int], int] = {}
    for label, answer in zip(
        predictions["labels"].tolist(), predictions["answers"].tolist(), strict=True
    ):
        if label != answer:
            pairs[label, answer] = pairs.get((label, answer), 0) + 1
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:10]
    texts = []
    for (label, answer), rows in ordered:
        there = int((predictions["labels"] == label).sum())
        texts.append(f"{label} {answer} {rows} {percent(rows / there)}")

    assert f"of its class {' '.join(texts)}" in page


def test_calibration(page, predictions):
    confidence = predictions["shares"].max(axis=1)
    right = predictions["answers"] == predictions["labels"]
    error, rows_of_table = 0.0, []
    for n in range(10):
        inside = (confidence > n / 10) & (confidence <= (n + 1) / 10)
        if inside.any():
            mean, share = (
                float(confidence[inside].mean(dtype=np.float64)),
                float(right[inside].mean()),
            )
            error += abs(mean - share) * inside.sum() / ROWS
            cells = (
                f"{10 * n} % to {10 * n + 10} %",
                str(inside.sum()),
                percent(mean, 1),
                percent(share, 1),
            )
            rows_of_table.append(" ".join(cells))

    assert f"off by {100 * error:.2f} percentage points on average" in page
    for row in rows_of_table:
        assert row in page


def test_most_confident_mistakes_are_sorted(folder, predictions):
    confidence = predictions["shares"].max(axis=1)
    wrong = np.flatnonzero(predictions["answers"] != predictions["labels"])
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:24]
    archive = {"labels": predictions["labels"], "probabilities": predictions["shares"]}
    pictures = np.zeros((len(order), 4, 4, 1), np.uint8)
    np.savez(folder / "predictions.npz", **archive, picture_rows=order, pictures=pictures)

    shown = re.findall(
        r"(\d+) , ([<>]? ?[\d.]+ %) it is (\d+) row (\d+)", plain(report(Run(folder)))
    )

    expected = []
    for row in order.tolist():
        answer, label = predictions["answers"][row], predictions["labels"][row]
        expected.append((str(answer), percent(confidence[row], 1), str(label), str(row)))
    assert shown == expected


def test_curves_are_drawn_to_scale(folder):
    """The points of the loss lie where metrics.jsonl has them, by the numbers at the axis."""
    drawing = (
        report(Run(folder)).partition("Loss of training and validation")[2].partition("</svg>")[0]
    )
    ticks = [
        (float(y), float(text))
        for y, text in re.findall(r'class="end"[^>]*y="([\d.]+)">([\d.]+)<', drawing)
    ]
    (y_low, low), (y_high, high) = ticks[0], ticks[-1]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    drawn = [
        re.findall(r"[\d.]+,([\d.]+)", points)
        for points in re.findall(r'points="([^"]*)"', drawing)
    ]

    assert len(drawn) == 2
    for key, ys in zip(("loss", "val_loss"), drawn, strict=True):
        values = [low + (y_low - 4 - float(y)) / (y_low - y_high) * (high - low) for y in ys]
        assert values == pytest.approx([line[key] for line in lines], abs=0.005)
