"""What the curves of a run say, by the rules that docs/my-results.md gives in words.

Each sentence names the values that it speaks of, taken unsmoothed from the curves. Where the rules
do not agree on a reading, the sentence states the values and draws no conclusion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl.formats import figure, percent, several
from hpcdl.report import trends

Line = dict[str, Any]  # of metrics.jsonl

FEWEST = 3  # points that say anything
_GUESSING = 0.05  # how near a loss is to that of guessing, and an accuracy to chance


@dataclass(frozen=True)
class Fit:
    """What the curves say, for programs and for people.

    kind: overfit, guessing, improving, level, diverged, nan, unclear or unknown.
    text: it may be empty if the kind is "unknown": then there is nothing to say.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Setting:
    """What is known of a run besides its curves.

    classes: the number of classes, if it is known.
    restored_epoch: the epoch whose weights the model has, if it is not the last one.
    is_script: the curves are a script's, which has no keys of a job file to advise.
    unit: what counts the points of the curves: epoch or step.
    """

    classes: int | None = None
    restored_epoch: int | None = None
    is_script: bool = False
    unit: str = "epoch"


@dataclass(frozen=True)
class _Curves:
    """Training and validation loss of the lines that have both."""

    train: list[float]
    valid: list[float]
    lines: list[Line]

    @property
    def lowest(self) -> int:
        """The place of the lowest validation loss, the first of several."""
        return trends.lowest_at(self.valid)


def judge(epochs: Sequence[Line], setting: Setting | None = None) -> Fit:
    """The sentence that a run's curves deserve.

    Args:
        epochs: the lines of metrics.jsonl, oldest first, each epoch (or step) once.
        setting: what else is known of the run.
    """
    setting = setting or Setting()
    if not any("loss" in line for line in epochs):
        return Fit("unknown", "")
    for key, name in (("loss", "training"), ("val_loss", "validation")):
        broken = _no_longer_finite(epochs, key, name, setting)
        if broken is not None:
            return broken
    lines = _with_number(epochs, "loss")
    if len(lines) < FEWEST:
        few = f"With fewer than {FEWEST} {setting.unit}s"
        return Fit("unknown", f"{few} the curves say nothing of over- or under-fitting.")
    fit = _diverged(lines, setting) or _guessing(lines, setting)
    if fit is not None:
        return fit
    return _by_validation(lines, setting)


def best_epoch(epochs: Sequence[Line], best: Line | None) -> tuple[int, str] | None:
    """The best epoch and its metric: as the run says, else that of the lowest val_loss."""
    if best:
        return int(best["epoch"]), str(best["monitor"])
    validated = _with_number(epochs, "val_loss")
    if not validated:
        return None
    lowest = min(validated, key=lambda line: (line["val_loss"], line["epoch"]))
    return int(lowest["epoch"]), "val_loss"


def is_number(value: object) -> bool:
    """Whether a value of a line is a finite number."""
    if isinstance(value, bool):
        return False
    if not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _with_number(lines: Sequence[Line], key: str) -> list[Line]:
    """The lines that have a finite number for a key."""
    return [line for line in lines if is_number(line.get(key))]


def _numbers(lines: Sequence[Line], key: str) -> list[float]:
    return [float(line[key]) for line in lines]


def _no_longer_finite(
    epochs: Sequence[Line],
    key: str,
    name: str,
    setting: Setting,
) -> Fit | None:
    """A loss that ends in NaN or infinity, and since when."""
    lines = [line for line in epochs if key in line]
    if not lines or is_number(lines[-1][key]):
        return None
    first = len(lines) - 1
    while first > 0 and not is_number(lines[first - 1][key]):
        first -= 1
    since = _at(lines[first], setting)
    text = f"The {name} loss is not a number (NaN or infinite) from {since} on."
    if key == "loss":
        text += " Try a lower learning rate."
    return Fit("nan", text)


def _diverged(lines: Sequence[Line], setting: Setting) -> Fit | None:
    """A training loss whose last two values lie far above its lowest one."""
    train = _numbers(lines, "loss")
    if not trends.diverged(train):
        return None
    lowest = trends.lowest_at(train)
    text = (
        f"The training went wrong: its loss was {figure(train[lowest])} after "
        f"{_at(lines[lowest], setting)} and {figure(train[-1])} at the end. "
        "Try a lower learning rate."
    )
    return Fit("diverged", text)


def _guessing(lines: Sequence[Line], setting: Setting) -> Fit | None:
    """A training that ends with the loss and accuracy of guessing, and no longer gets better."""
    classes, last = setting.classes, lines[-1]
    if not classes or classes < 2 or not is_number(last.get("accuracy")):
        return None
    chance = 1 / classes
    if last["accuracy"] > min(2 * chance, chance + _GUESSING):
        return None
    by_chance = math.log(classes)
    if last["loss"] < (1 - _GUESSING) * by_chance:
        return None
    if trends.still_falls(_numbers(lines, "loss")):
        return None
    loss, accuracy = figure(last["loss"]), percent(last["accuracy"], 1)
    guessed = f"guessing among {classes} classes"
    relation = "worse than that of"
    if last["loss"] <= (1 + _GUESSING) * by_chance:
        relation = "that of"
    text = (
        f"It hardly learned: its training loss ({loss}) is {relation} {guessed} "
        f"({figure(by_chance)}), and its accuracy is {accuracy}. Try another learning rate; "
        "check that the labels belong to the images."
    )
    return Fit("guessing", text)


def _by_validation(lines: Sequence[Line], setting: Setting) -> Fit:
    both = _with_number(lines, "val_loss")
    if not both:
        return _unvalidated(setting)
    if len(both) < FEWEST:
        few = f"With fewer than {FEWEST} values of the validation loss"
        return Fit("unknown", f"{few} the curves say nothing of over- or under-fitting.")
    curves = _Curves(_numbers(both, "loss"), _numbers(both, "val_loss"), both)
    if min(curves.valid) < 0:  # a loss of the user's own: shares of it mean nothing
        return Fit("unclear", f"{_values(curves, setting)}.")
    if trends.overfits(curves.train, curves.valid):
        return _overfit(curves, setting)
    if trends.still_falls(curves.valid):
        return _improving(curves, setting)
    return _level_or_unclear(curves, setting)


def _unvalidated(setting: Setting) -> Fit:
    if setting.is_script:
        return Fit("unknown", "")
    advice = "data.validation_split: 0.1 keeps a tenth of the rows"
    text = f"Over-fitting cannot be seen without validation: {advice}."
    return Fit("unknown", text)


def _overfit(curves: _Curves, setting: Setting) -> Fit:
    lowest, valid, train = curves.lowest, curves.valid, curves.train
    turn = _at(curves.lines[lowest], setting)
    rise = ""
    if valid[lowest] > 0 and valid[-1] < 3 * valid[lowest]:
        rise = f", {percent(valid[-1] / valid[lowest] - 1, 0)} higher"
    text = (
        f"It over-fits: the validation loss was lowest after {turn} ({figure(valid[lowest])}) and "
        f"{figure(valid[-1])} at the end{rise}, while the training loss went on falling, from "
        f"{figure(train[lowest])} to {figure(train[-1])}."
    )
    return Fit("overfit", f"{text}{_accuracy_rose(curves)} {_advice(setting)}")


def _accuracy_rose(curves: _Curves) -> str:
    """A sentence if the validation accuracy still rose: then only the loss shows over-fitting."""
    then = curves.lines[curves.lowest].get("val_accuracy")
    now = curves.lines[-1].get("val_accuracy")
    if not is_number(then) or not is_number(now) or now <= then:  # type: ignore[operator]
        return ""
    before, after = percent(then, 1), percent(now, 1)
    if before == after:
        before, after = percent(then, 2), percent(now, 2)
    return f" Its validation accuracy still rose, from {before} to {after}."


def _advice(setting: Setting) -> str:
    if setting.is_script:
        return "Stop earlier, or try dropout, weight decay, more images or a smaller model."
    more = "try dropout, l2, more images or a smaller model."
    if setting.restored_epoch is not None:
        return f"The model has the weights of epoch {setting.restored_epoch}; to go further, {more}"
    return f"Stop there, with early_stopping, or {more}"


def _improving(curves: _Curves, setting: Setting) -> Fit:
    before = curves.valid[: -trends.last_fifth(curves.valid)]
    place = trends.lowest_at(before)
    fall = 1 - curves.valid[-1] / before[place]
    text = (
        f"It had not learned all it could: the validation loss was still falling, from "
        f"{figure(before[place])} after {_at(curves.lines[place], setting)} to "
        f"{figure(curves.valid[-1])} after {_at(curves.lines[-1], setting)} "
        f"({percent(fall, 0)} lower). More {setting.unit}s may help."
    )
    return Fit("improving", text)


def _level_or_unclear(curves: _Curves, setting: Setting) -> Fit:
    values = _values(curves, setting)
    if not trends.is_level(curves.valid):
        return Fit("unclear", f"{values}. This is no clear sign of over- or under-fitting.")
    values = values.replace("The validation loss", "It", 1)
    return Fit("level", f"The validation loss has levelled off. {values}{_gap(curves)}.")


def _values(curves: _Curves, setting: Setting) -> str:
    """Where the validation loss was lowest, and where it ended. This holds for every curve."""
    valid, lowest = curves.valid, curves.lowest
    where = _at(curves.lines[lowest], setting)
    if valid[lowest] == valid[-1]:
        count = several(len(valid), setting.unit)
        return f"The validation loss ended at {figure(valid[-1])}, its lowest value in {count}"
    least, last = figure(valid[lowest]), figure(valid[-1])
    return f"The validation loss was lowest after {where} ({least}) and {last} at the end"


def _gap(curves: _Curves) -> str:
    """A clause if the training loss still fell while the validation loss was level."""
    train, valid = curves.train, curves.valid
    middle = len(train) // 2
    if train[-1] >= (1 - trends.NEAR) * train[middle] or valid[-1] <= 2 * train[-1]:
        return ""
    went_on = f"the training loss went on falling, to {figure(train[-1])}"
    return f"; meanwhile {went_on}: more training would not help"


def _at(line: Line, setting: Setting) -> str:
    """Where a line of metrics.jsonl was written: epoch 7, step 1,000."""
    value = line.get(setting.unit)
    if not is_number(value):
        return f"an earlier {setting.unit}"
    number = float(value)  # type: ignore[arg-type]  # is_number has looked
    if number < 1e6:
        return f"{setting.unit} {number:,g}"
    return f"{setting.unit} {number:,.0f}"
