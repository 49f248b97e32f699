"""What came out of a run, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from hpcdl.report.evaluation import Evaluation, confused_pairs
from hpcdl.report.facts import Facts
from hpcdl.report.fit import Fit
from hpcdl.report.words import count, percent, seconds, several, with_deviation

_HARD = 0.95  # a class found less often than this is worth a sentence


def sentences(facts: Facts, fit: Fit | None, scores: Evaluation | None) -> list[str]:
    """The summary of a run, as far as it has come."""
    said = [_outcome(facts), _model(facts), _cost(facts)]
    if fit is not None:
        said.append(fit.text)
    if scores is not None:
        said += [_hardest(scores, facts.class_names), _calibration(scores)]
    if facts.emulated:
        said.append("GPUs were emulated: parts of the CPU stood in for them, so that times say nothing of GPUs.")
    return [sentence for sentence in said if sentence]


def _outcome(facts: Facts) -> str:
    status, test = facts.status, facts.section("test")
    if status.state == "done" and isinstance(test.get("accuracy"), float):
        rows = test["rows"]
        if facts.fold is not None:
            mean = with_deviation(percent, facts.result, "test")
            return (
                f"Trained {several(len(facts.folds), 'time')}, with a different part of the training images left out "
                f"each time, it gets {mean} of {count(rows)} test images right (mean ± standard deviation)."
            )
        wrong = round((1 - test["accuracy"]) * rows)
        what = f"{count(wrong)} wrong" if wrong else "none wrong"
        return f"It gets {percent(test['accuracy'])} of {count(rows)} test images right ({what})."
    if status.state == "done":
        return "It is done." if test else "It is done: its script ended without an error."
    if status.state == "failed":
        cause = f" ({status.cause.replace('_', ' ')})" if status.cause else ""
        return f"It failed{cause}." + _progress(facts)
    return f"It is {status.state}: " + (status.note or "there is no result yet") + "." + _progress(facts)


def _progress(facts: Facts) -> str:
    if not facts.epochs:
        return ""
    epochs = facts.status.epochs
    done = several(len(facts.epochs), "epoch") + (f" of {epochs}" if epochs else "")
    accuracy = facts.epochs[-1].get("val_accuracy", facts.epochs[-1].get("accuracy"))
    reached = f", which reached an accuracy of {percent(accuracy)}" if isinstance(accuracy, float) else ""
    return f" {done} {'was' if len(facts.epochs) == 1 else 'were'} trained{reached}."


def _model(facts: Facts) -> str:
    model = facts.section("model")
    if not model:
        return ""
    depth = f" in {several(model['depth'], 'layer')}" if "depth" in model else ""
    parameters, trained = model["parameters"], model["trainable_parameters"]
    share = "all of them trained" if parameters == trained else f"{count(trained)} of them trained"
    return f"The model, {model['name']}, has {count(parameters)} parameters{depth}, {share}."


def _cost(facts: Facts) -> str:
    if facts.total_s is None:
        return ""
    text = f"It took {seconds(facts.total_s)}" + (f" on {facts.devices}" if facts.devices else "")
    timing = facts.section("timing")
    if "per_epoch_s" in timing:
        text += f": {seconds(timing['per_epoch_s'])} an epoch, {timing['images_per_s']:,.0f} images a second"
    attempts = len(facts.ends)
    if attempts > 1:
        reasons = ", ".join(str(row["reason"]).replace("_", " ") for row in facts.ends[:-1])
        text += f"; in {attempts} attempts (ended before: {reasons})"
    return text + "."


def _hardest(scores: Evaluation, names: Sequence[str]) -> str:
    known = [(one.recall, one.label) for one in scores.classes if one.recall is not None]
    if not known:
        return ""
    recall, label = min(known)
    if recall >= _HARD:
        return f"Every class is found at least {percent(recall, 1)} of the time."
    text = f"The hardest class is {names[label]}: {percent(recall, 1)} of its images are found"
    mistaken = [(j, rows) for i, j, rows in confused_pairs(scores.confusion, scores.confusion.size) if i == label]
    return text + (f", and it is most often taken for {names[mistaken[0][0]]}." if mistaken else ".")


def _calibration(scores: Evaluation) -> str:
    confidence = sum(one.confidence * one.rows for one in scores.bins) / scores.rows
    if scores.calibration_error < 0.02:
        return f"Its confidence can be trusted: it is off by {percent(scores.calibration_error, 1)} on average."
    way = "surer than it is right" if confidence > scores.accuracy else "less sure than it is right"
    return f"It is {way}: its confidence is off by {percent(scores.calibration_error, 1)} on average."
