"""The summary of a run, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpcdl.formats import count, listed, percent, points, seconds, several, with_deviation
from hpcdl.report.evaluation import Evaluation, confused_pairs
from hpcdl.report.facts import Facts
from hpcdl.report.overfitting import Fit
from hpcdl.run import states

_HARD = 0.95  # a class found less often than this is worth a sentence
_CALIBRATED = 0.02  # mean distance of confidence and accuracy up to which it can be trusted


def sentences(facts: Facts, fit: Fit | None, scores: Evaluation | None) -> list[str]:
    """The summary of a run, as far as it has come."""
    of_fold = ""
    if facts.fold is not None:
        of_fold = f"Of fold {facts.fold}: "
    summary = [_outcome(facts), _model(facts), _cost(facts)]
    if fit is not None and fit.text:
        summary.append(of_fold + fit.text)
    if scores is not None:
        summary.append(of_fold + _hardest(scores, facts.names_of(len(scores.classes))))
        summary.append(of_fold + _calibration(scores))
    if facts.emulated:
        summary.append(_emulated(len(facts.section("devices").get("names") or ())))
    return [sentence for sentence in summary if sentence and sentence != of_fold]


def _emulated(devices: int) -> str:
    if devices == 1:
        what = "The GPU was emulated: a part of the CPU stood in for it"
    else:
        what = "The GPUs were emulated: parts of the CPU stood in for them"
    return f"{what}, so the times say nothing about GPUs."


def _outcome(facts: Facts) -> str:
    status, test = facts.status, facts.section("test")
    rows = test.get("rows")
    is_scored = status.state == states.DONE and isinstance(test.get("accuracy"), float)
    if is_scored and isinstance(rows, int):
        if facts.fold is not None:
            mean = with_deviation(percent, test["accuracy"], facts.result, "test")
            times = several(len(facts.folds), "time")
            return (
                f"Trained {times}, with a different part of the training "
                f"images left out each time, it gets {mean} of {several(rows, 'test image')} right "
                "(mean ± standard deviation)."
            )
        mistakes = round((1 - test["accuracy"]) * rows)
        number = "none"
        if mistakes:
            number = count(mistakes)
        right = percent(test["accuracy"])
        return f"It gets {right} of {several(rows, 'test image')} right ({number} wrong)."
    if status.state == states.DONE and facts.result.get("command"):
        return "It is done: its command ended without an error."
    if status.state == states.DONE and facts.is_script:
        return "It is done: its script ended without an error."
    if status.state == states.DONE:
        return "It is done."
    if status.state == states.FAILED:
        outcome = "It failed"
        if status.cause:
            outcome += f" ({status.cause.replace('_', ' ')})"
        return f"{outcome}.{_progress(facts)}"
    note = status.note or "there is no result yet"
    return f"It is {status.state}: {note}.{_progress(facts)}"


def _progress(facts: Facts) -> str:
    """How many epochs a training that is not done has trained."""
    if not facts.epochs or facts.is_script:
        return ""
    done = several(len(facts.epochs), "epoch")
    if facts.status.epochs:
        done += f" of {facts.status.epochs}"
    accuracy = facts.epochs[-1].get("val_accuracy", facts.epochs[-1].get("accuracy"))
    reached = ""
    if isinstance(accuracy, float):
        reached = f", which reached an accuracy of {percent(accuracy)}"
    verb = "was" if len(facts.epochs) == 1 else "were"
    return f" {done} {verb} trained{reached}."


def _model(facts: Facts) -> str:
    model = facts.section("model")
    if not model:
        return ""
    parameters, trained = model["parameters"], model["trainable_parameters"]
    size = several(parameters, "parameter")
    if "depth" in model:
        size += f" in {several(model['depth'], 'layer')}"
    share = "all"
    if parameters != trained:
        share = count(trained)
    return f"The model, {model['name']}, has {size}, {share} of them trained."


def _cost(facts: Facts) -> str:
    if facts.total_s is None:
        return ""
    text = f"It took {seconds(facts.total_s)}"
    if facts.devices:
        text += f" on {facts.devices}"
    timing = facts.section("timing")
    if "per_epoch_s" in timing and "images_per_s" in timing:
        speed = several(round(timing["images_per_s"]), "image")
        text += f": {seconds(timing['per_epoch_s'])} an epoch, {speed} a second"
    attempts = len(facts.ends)
    if attempts > 1:
        reasons = []
        for end in facts.ends[:-1]:
            reasons.append(str(end.get("reason")).replace("_", " "))
        text += f"; in {attempts} attempts (ended before: {', '.join(reasons)})"
    return text + "."


def _hardest(scores: Evaluation, names: Sequence[str]) -> str:
    """The class that is found least often and what it is taken for; of several, their names."""
    recalls: dict[int, float] = {}
    for score in scores.classes:
        if score.recall is not None:
            recalls[score.label] = score.recall
    if not recalls:
        return ""
    recall = min(recalls.values())
    if recall >= _HARD:
        least = math.floor(1000 * recall) / 1000  # rounded up, it would not hold for all classes
        return f"Every class is found at least {percent(least, 1)} of the time."
    hardest = [label for label, value in recalls.items() if value == recall]
    if len(hardest) > 1:
        classes = listed([names[label] for label in hardest])
        share = percent(recall, 1)
        return f"The hardest classes are {classes}: {share} of the images of each are found."
    label = hardest[0]
    there = scores.classes[label].support
    share = f"{percent(recall, 1)} of its images are found ({round(recall * there)} of {there})"
    text = f"The hardest class is {names[label]}: {share}"
    return f"{text}{_taken_for(scores, label, names)}."


def _taken_for(scores: Evaluation, label: int, names: Sequence[str]) -> str:
    """What a class is most often taken for; if several are as frequent, all of them."""
    mistakes: dict[int, int] = {}
    for true, answer, rows in confused_pairs(scores.confusion, scores.confusion.size):
        if true == label:
            mistakes[answer] = rows
    if not mistakes:
        return ""
    most = max(mistakes.values())
    answers = [names[answer] for answer, rows in mistakes.items() if rows == most]
    images = several(most, "image")
    if len(mistakes) == 1:
        return f"; the others are taken for {answers[0]} ({images})"
    if len(answers) == 1:
        return f"; it is most often taken for {answers[0]} ({images})"
    return f"; it is as often taken for {listed(answers)} ({images} each)"


def _calibration(scores: Evaluation) -> str:
    confidence = sum(group.confidence * group.rows for group in scores.bins) / scores.rows
    distance = points(scores.calibration_error)
    if scores.calibration_error < _CALIBRATED:
        return f"Its confidence can be trusted: it is off by {distance} on average."
    if abs(confidence - scores.accuracy) < scores.calibration_error / 2:
        both = "sometimes too high, sometimes too low"
        return f"Its confidence is off by {distance} on average, {both}."
    comparison = "less sure"
    if confidence > scores.accuracy:
        comparison = "surer"
    return f"It is {comparison} than it is right: its confidence is off by {distance} on average."
