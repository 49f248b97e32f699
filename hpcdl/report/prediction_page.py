"""One prediction as one HTML file that needs no network, no JavaScript and no other file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Any

from hpcdl import formats
from hpcdl.contract.file_names import shown
from hpcdl.errors import HpcdlError
from hpcdl.report import facts as run_facts
from hpcdl.report import sent, surroundings
from hpcdl.report.facts import Facts
from hpcdl.report.gallery import heat_note, hottest_place, overlay
from hpcdl.report.page import failure, render, when
from hpcdl.report.png import data_uri
from hpcdl.report.predicted import read_spec, test_file, verdict_lines
from hpcdl.run import Run, states
from hpcdl.trainer.explain.squares import SIDE

_LISTED_CLASSES = 100
_LISTED_FILES = 100


@dataclass(frozen=True)
class Share:
    """How often a class was the answer.

    Args:
        name: the class.
        images: to so many images.
        share: of all images.
        of_test: the same of the test's images; None if that is not known.
    """

    name: str
    images: int
    share: float
    of_test: float | None


@dataclass(frozen=True)
class Uncertain:
    """An image of whose class the model is not sure, with the two likeliest answers.

    ``heat`` is the map over the dimmed image, and ``hottest`` its hottest place in words; or "".
    """

    uri: str
    file: str
    answer: str
    confidence: float
    second: str
    second_confidence: float
    heat: str = ""
    hottest: str = ""


def prediction_report(run: Run, shows_env: bool = False) -> str:
    """The page of a prediction; parts that it does not have yet are missing.

    Args:
        run: the run.
        shows_env: show the values of env and what else is private.
    """
    facts = run_facts.read(run, shows_env)
    is_done = facts.status.state == states.DONE
    names = list(facts.result.get("answers") or ())
    unusable, more = _unusable(facts)
    return render(
        "prediction.html.j2",
        facts=facts,
        when=when(facts),
        figures=_figures(facts),
        summary=_summary(facts),
        failure=failure(facts),
        verdicts=verdict_lines(facts.result) if is_done else [],
        shares=_shares(facts, names),
        classes=len(names),
        pictures=_pictures(facts, names),
        heat_note=_heat_note(facts.result.get("explain")),
        unusable=unusable,
        more_unusable=more,
        models=facts.result.get("runs") or [],
        environment=surroundings.rows(facts),
        files=sent.files(facts),
    )


def _figures(facts: Facts) -> list[tuple[str, str]]:
    """The few numbers on top."""
    result = facts.result
    figures: list[tuple[str, str]] = []
    for key in ("images", "unusable"):
        if key in result:
            figures.append((key, formats.count(result[key])))
    if "images_per_s" in result:
        figures.append(("images a second", f"{result['images_per_s']:,.1f}"))
    if facts.total_s is not None:
        figures.append(("in all", formats.seconds(facts.total_s)))
    return figures


def _summary(facts: Facts) -> list[str]:
    result = facts.result
    if facts.status.state != states.DONE:
        note = facts.status.note or "there is no result yet"
        return [f"It is {facts.status.state}: {note}."]
    models = len(result.get("runs") or ())
    text = f"{formats.several(result.get('images', 0), 'image')} of {result.get('folder')}"
    if models > 1:
        text += f", predicted by {models} models: their mean counts"
    return [f"{text}."]


def _shares(facts: Facts, names: list[str]) -> list[Share]:
    """The classes, the most frequent answer first."""
    counts = facts.result.get("answers") or {}
    total = sum(counts.values())
    of_test = _shares_of_test(facts, len(names))
    shares = []
    for number, name in enumerate(names):
        test_share = None if of_test is None else of_test[number]
        shares.append(Share(name, counts[name], counts[name] / max(1, total), test_share))
    shares.sort(key=lambda one: -one.images)
    return shares[:_LISTED_CLASSES]


def _shares_of_test(facts: Facts, classes: int) -> list[float] | None:
    """How often each class was the answer in the test of the runs; None if that is not known."""
    import numpy as np

    from hpcdl.report.drift import read_sample

    try:
        spec = read_spec(facts.run.paths)
        test = read_sample([test_file(member) for member in spec.members])
    except HpcdlError:
        return None
    if test.probabilities.shape[1] != classes:
        return None
    counts = np.bincount(test.probabilities.argmax(axis=1), minlength=classes)
    return [float(count) / len(test.probabilities) for count in counts]


def _pictures(facts: Facts, names: list[str]) -> list[Uncertain]:
    """The least certain images; none if predictions.npz is missing, damaged or without pictures."""
    import numpy as np

    try:
        with np.load(facts.run.paths.predictions) as arrays:
            rows, pictures = arrays["picture_rows"], arrays["pictures"]
            files, probabilities = arrays["files"], arrays["probabilities"]
            heat = {}
            if "heat" in arrays:
                heat = dict(zip(arrays["heat_rows"].tolist(), arrays["heat"], strict=True))
    except (OSError, ValueError, KeyError):
        return []
    if not names or probabilities.shape[1] != len(names):
        return []
    uncertain = []
    for row, picture in zip(rows, pictures, strict=False):
        second, first = np.argsort(probabilities[row], kind="stable")[-2:]
        heated = heat.get(int(row))
        heat_uri = hottest = ""
        if heated is not None and heated.shape == picture.shape[:2]:
            heat_uri, hottest = data_uri(overlay(picture, heated)), hottest_place(heated)
        one = Uncertain(
            uri=data_uri(picture),
            file=shown(str(files[row])),
            answer=names[first],
            confidence=float(probabilities[row][first]),
            second=names[second],
            second_confidence=float(probabilities[row][second]),
            heat=heat_uri,
            hottest=hottest,
        )
        uncertain.append(one)
    return uncertain


def _heat_note(explain: Any) -> str:
    """What the maps show, or why there are none; "" if none were tried."""
    if isinstance(explain, dict) and "problem" in explain:
        return f"There are no maps of where the model looked: {explain['problem']}."
    note = heat_note(explain)
    side = explain.get("side", SIDE) if note else SIDE
    if side > SIDE:
        note += (
            f" The squares are coarse, {side:.0%} of the image's shorter side, because this model "
            "is slow."
        )
    return note


def _unusable(facts: Facts) -> tuple[list[list[str]], int]:
    """The first files that could not be used, each with its reason; and how many more there are."""
    try:
        with facts.run.paths.unusable_csv.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
    except (OSError, ValueError, csv.Error):
        return [], 0
    return rows[:_LISTED_FILES], max(0, len(rows) - _LISTED_FILES)
