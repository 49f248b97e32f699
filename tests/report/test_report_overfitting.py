"""The sentence that each curve deserves: forty curves as people get them, and what is said of each."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest

from hpcdl.report.overfitting import Setting, best_epoch, is_number, judge

pytestmark = pytest.mark.cases("F4")
LN10 = math.log(10)
MODEL = Setting(classes=10)
SCRIPT = Setting(is_script=True)
NAN = float("nan")


def epochs(loss=None, val_loss=None, accuracy=None, val_accuracy=None, unit="epoch"):
    """Lines of metrics.jsonl; a value that is "-" is not in its line."""
    columns = {
        "loss": loss,
        "val_loss": val_loss,
        "accuracy": accuracy,
        "val_accuracy": val_accuracy,
    }
    count = max(len(values) for values in columns.values() if isinstance(values, list))
    lines: list[dict[str, Any]] = [{unit: n} for n in range(1, count + 1)]
    for key, values in columns.items():
        for n, line in enumerate(lines):
            value = values[n] if isinstance(values, list) else values
            if value is not None and value != "-":
                line[key] = None if value == "null" else value
    return lines


def noisy(values, size, seed=1):
    """The same curve with noise of a relative size, the same at every call."""
    chance = random.Random(seed)
    return [value * (1 + chance.uniform(-size, size)) for value in values]


def down_to(level, count, start=2.0, rate=0.6):
    """A curve that falls fast, then nears a level."""
    return [level + (start - level) * rate**n for n in range(count)]


HYPERBOLA = [1 / n for n in range(1, 19)]
FALLING = down_to(0.02, 20, rate=0.75)
LEVEL = down_to(0.30, 20, rate=0.5)
U_SHAPE = [1.0, 0.7, 0.5, 0.4, 0.35, 0.34, 0.33, *(0.34 + n / 100 for n in range(11))]
PHOTOS_LOSS = [1.8, 1.5, 1.2, 0.95, 0.8, 0.65, 0.5, 0.4, 0.33, 0.288, 0.21, 0.16]
PHOTOS = [1.7, 1.4, 1.15, 0.9, 0.75, 0.6, 0.5, 0.42, 0.3537, 0.2307, 0.2662, 0.2510]
ONE_LUCKY = [1.0, 0.7, 0.5, 0.42, 0.25, 0.41, 0.40, 0.41, 0.40, 0.41, 0.40, 0.41]
STEPPED = [*down_to(0.40, 12, rate=0.4), 0.31, 0.301, 0.300, 0.299, 0.299, 0.299]

# What it is, its lines, what else is known, the kind, and a part of the sentence.
CURVES: list[tuple[str, list[dict[str, Any]], Setting, str, str]] = [
    ("still falling at the end", epochs(HYPERBOLA, [v * 1.1 for v in HYPERBOLA]), MODEL, "improving",
     "still falling, from 0.0733 after epoch 15 to 0.0611 after epoch 18 (17 % lower). More epochs may help."),
    ("three epochs, falling", epochs([1.0, 0.7, 0.5], [1.0, 0.8, 0.6]), MODEL, "improving",
     "from 0.8000 after epoch 2 to 0.6000 after epoch 3 (25 % lower)"),
    ("slow start of many classes", epochs([6.9, 6.8, 6.6, 6.3], [6.9, 6.75, 6.5, 6.2], accuracy=0.001),
     Setting(classes=1000), "improving", "still falling"),
    ("falling, with little noise", epochs(FALLING[:18], noisy([v + 0.1 for v in HYPERBOLA], 0.01)), MODEL,
     "improving", "still falling"),
    ("levelled off", epochs(LEVEL, [v + 0.02 for v in LEVEL]), MODEL, "level", "levelled off"),
    ("levelled off, noisy", epochs(LEVEL, noisy(LEVEL, 0.03)), MODEL, "level", "levelled off"),
    ("levelled off, lowest by chance in the last epoch",
     epochs(FALLING[:8], [0.5, 0.4, 0.31, 0.30, 0.32, 0.30, 0.31, 0.292]), MODEL, "level", "levelled off"),
    ("levelled off while training goes on", epochs(FALLING, LEVEL), MODEL, "level",
     "meanwhile the training loss went on falling, to 0.0284: more training would not help"),
    ("photos: minimum before the last two epochs", epochs(PHOTOS_LOSS, PHOTOS), MODEL, "level",
     "levelled off. It was lowest after epoch 10 (0.2307) and 0.2510 at the end"),
    ("one lucky epoch", epochs(FALLING[:12], ONE_LUCKY), MODEL, "unclear",
     "The validation loss was lowest after epoch 5 (0.2500) and 0.4100 at the end. This is no clear sign"),
    ("one bad epoch at the end", epochs(FALLING[:8], [0.9, 0.6, 0.4, 0.3, 0.29, 0.285, 0.284, 0.41]), MODEL,
     "unclear", "0.4100 at the end. This is no clear sign"),
    ("wild up and down", epochs(FALLING[:10], [1, 0.4, 0.9, 0.5, 0.8, 0.4, 0.9, 0.5, 0.7, 0.6]), MODEL,
     "unclear", "no clear sign"),
    ("over-fitting, mild", epochs(FALLING, [*down_to(0.30, 10, rate=0.4), *(0.3 + n / 300 for n in range(1, 11))]),
     MODEL, "overfit", "while the training loss went on falling, from"),
    ("over-fitting, strong", epochs(HYPERBOLA, [1.0, 0.7, 0.6, *(0.6 + n / 5 for n in range(1, 16))]), MODEL,
     "overfit",
     "lowest after epoch 3 (0.6000) and 3.6000 at the end, while the training loss went on falling, from 0.3333"),
    ("rising after a minimum", epochs(HYPERBOLA, U_SHAPE), MODEL, "overfit",
     "lowest after epoch 7 (0.3300) and 0.4400 at the end, 33 % higher, while the training loss went on falling"),
    ("rising, noisy", epochs(FALLING[:18], noisy(U_SHAPE, 0.02)), MODEL, "overfit", "It over-fits"),
    ("over-fitting by the loss, accuracy still rises",
     epochs(HYPERBOLA, U_SHAPE, 0.9, [0.8 + n / 200 for n in range(18)]), MODEL, "overfit",
     "Its validation accuracy still rose, from 83.0 % to 88.5 %."),
    ("stopped early, best weights restored", epochs(HYPERBOLA[:12], U_SHAPE[:12]), Setting(10, restored_epoch=7),
     "overfit", "The model has the weights of epoch 7; to go further"),
    ("over-fitting to no loss at all", epochs([1, 0.5, 0.1, 0.01, 0.0, 0.0], [1, 0.5, 0.4, 0.6, 0.8, 1.0]), MODEL,
     "overfit", "falling, from 0.1000 to 0."),
    ("validation below training (dropout)", epochs([v + 0.5 for v in FALLING[:18]], U_SHAPE), MODEL, "unclear",
     "no clear sign"),
    ("validation below training, both fall", epochs([v + 0.5 for v in HYPERBOLA], HYPERBOLA), MODEL, "improving",
     "still falling"),
    ("both losses rise a little", epochs([0.2 + n / 400 for n in range(18)], U_SHAPE), MODEL, "unclear",
     "no clear sign"),
    ("learnt nothing", epochs([LN10 + 0.01, 2.303, 2.301, 2.302], [2.303] * 4, accuracy=0.102), MODEL,
     "guessing",
     "its training loss (2.3020) is that of guessing among 10 classes (2.3026), and its accuracy is 10.2 %"),
    ("learnt nothing, without validation", epochs([2.31, 2.303, 2.301, 2.302], accuracy=0.1), MODEL, "guessing",
     "hardly learned"),
    ("learnt nothing of two classes", epochs([0.70, 0.694, 0.693, 0.693], [0.693] * 4, 0.51), Setting(2),
     "guessing", "among 2 classes (0.6931)"),
    ("two classes, learnt a little", epochs([0.70, 0.68, 0.67, 0.665], [0.69, 0.68, 0.679, 0.678], 0.70),
     Setting(2), "level", "levelled off"),
    ("stuck above guessing", epochs([4.0, 4.1, 4.0, 4.05], [4.0, 4.1, 4.0, 4.1], 0.1), MODEL, "guessing",
     "is worse than that of guessing"),
    ("flat from the start, accuracy unknown", epochs([2.302, 2.303, 2.301], [2.303, 2.302, 2.303]), MODEL, "level",
     "levelled off"),
    ("diverged after a good start", epochs([2.3, 1.0, 0.5, 2.3, 2.31], [2.3, 1.0, 0.6, 2.3, 2.3], 0.2), MODEL,
     "diverged", "its loss was 0.5000 after epoch 3 and 2.3100 at the end. Try a lower learning rate."),
    ("diverged from the start", epochs([2.5, 40.0, 900.0], [3.0, 80.0, 1500.0], 0.1), MODEL, "diverged",
     "its loss was 2.5000 after epoch 1 and 900.00 at the end"),
    ("NaN at the end", epochs([1.0, 0.8, NAN, NAN], [1.0, 0.9, NAN, NAN]), MODEL, "nan",
     "The training loss is not a number (NaN or infinite) from epoch 3 on."),
    ("null at the end", epochs([1.0, 0.8, 0.7, "null"], [1.0, 0.9, 0.8, 0.7]), MODEL, "nan", "from epoch 4 on"),
    ("only the validation is NaN", epochs([1.0, 0.8, 0.7], [1.0, 0.9, math.inf]), MODEL, "nan",
     "The validation loss is not a number"),
    ("one epoch", epochs([1.0], [0.9]), MODEL, "unknown", "With fewer than 3 epochs the curves say nothing"),
    ("two epochs", epochs([1.0, 0.5], [0.9, 0.6]), MODEL, "unknown", "With fewer than 3 epochs"),
    ("no validation", epochs(FALLING), MODEL, "unknown", "Over-fitting cannot be seen without validation"),
    ("no validation, a script", epochs(FALLING), SCRIPT, "unknown", ""),
    ("only accuracy", epochs(accuracy=[0.5, 0.7, 0.8, 0.9]), SCRIPT, "unknown", ""),
    ("no epochs yet", [], MODEL, "unknown", ""),
    ("step drop of the learning rate", epochs(FALLING[:18], STEPPED), MODEL, "level",
     "levelled off. It ended at 0.2990, its lowest value"),
    ("step drop three epochs before the end", epochs(FALLING[:18], [*[0.40] * 15, 0.31, 0.309, 0.3085]), MODEL, "level",
     "levelled off. It ended at 0.3085, its lowest value"),
    ("a rise in the very last epoch", epochs(FALLING[:18], [*[0.40] * 15, 0.35, 0.31, 0.33]), MODEL, "level",
     "It was lowest after epoch 17 (0.3100) and 0.3300 at the end"),
    ("huge scale", epochs([v * 1e6 for v in HYPERBOLA], [v * 1e6 for v in U_SHAPE]), SCRIPT, "overfit",
     "(3.3e+05) and 4.4e+05 at the end, 33 % higher"),
    ("tiny scale", epochs([v * 1e-6 for v in HYPERBOLA], [v * 1.1e-6 for v in HYPERBOLA]), SCRIPT, "improving",
     "(17 % lower)"),
    ("zero loss throughout", epochs([0.0] * 5, [0.0] * 5), MODEL, "level", "ended at 0, its lowest value in 5 epochs"),
    ("falls to zero", epochs([1.0, 0.1, 0.0, 0.0, 0.0], [1.0, 0.2, 0.0, 0.0, 1e-9]), MODEL, "level", "levelled off"),
    ("negative loss", epochs([-1.0, -2.0, -3.0], [-1.0, -2.0, -2.5]), SCRIPT, "unclear",
     "ended at -2.5000, its lowest value in 3 epochs"),
    ("fine-tuning from features: good from the first epoch",
     epochs([0.31, 0.305, 0.303, 0.302, 0.302], [0.330, 0.329, 0.329, 0.328, 0.328], 0.9), MODEL, "level",
     "levelled off"),
    ("validated every second epoch", epochs(HYPERBOLA, [v if n % 2 else "-" for n, v in enumerate(U_SHAPE)]), MODEL,
     "overfit", "lowest after epoch 6 (0.3400)"),
    ("validated twice", epochs(HYPERBOLA, ["-"] * 16 + [0.4, 0.3]), MODEL, "unknown", "fewer than 3 values"),
    ("a script's steps", epochs(HYPERBOLA, U_SHAPE, unit="step"), Setting(is_script=True, unit="step"), "overfit",
     "lowest after step 7 (0.3300)"),
    ("one NaN in the middle", epochs([1.0, NAN, *HYPERBOLA[2:]], U_SHAPE), MODEL, "overfit", "after epoch 7"),
]  # fmt: skip


def plain(text):
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("lines", "setting", "kind", "words"),
    [row[1:] for row in CURVES],
    ids=[row[0] for row in CURVES],
)
def test_each_curve_gets_its_sentence(lines, setting, kind, words):
    fit = judge(lines, setting)

    assert fit.kind == kind, fit.text
    assert words in plain(fit.text)
    assert bool(words) == bool(fit.text)


@pytest.mark.parametrize(
    ("lines", "setting"), [row[1:3] for row in CURVES], ids=[row[0] for row in CURVES]
)
def test_every_value_is_on_the_curve(lines, setting):
    """Each "VALUE after epoch N" and "after epoch N (VALUE)" of a sentence is what the curve has there."""
    text = plain(judge(lines, setting).text)
    pairs = [(n, value) for value, n in re.findall(r"([-\d.e+]+) after (?:epoch|step) (\d+)", text)]
    pairs += re.findall(r"after (?:epoch|step) (\d+) \(([-\d.e+]+)\)", text)

    for number, value in pairs:
        line = next(line for line in lines if line.get("epoch", line.get("step")) == int(number))
        losses = [line[key] for key in ("loss", "val_loss") if is_number(line.get(key))]
        assert any(loss == pytest.approx(float(value), rel=0.01, abs=6e-5) for loss in losses), text


@pytest.mark.parametrize("seed", range(40))
def test_improving_means_lowest_at_the_end(seed):
    """Whatever the curve, "still falling" is said only where the last value is about the lowest."""
    chance = random.Random(seed)
    count = chance.randint(3, 40)
    valid = noisy(down_to(chance.uniform(0, 0.5), count, rate=chance.uniform(0.3, 0.97)), 0.2, seed)
    lines = epochs(down_to(0.0, count, rate=0.8), valid)

    fit = judge(lines, MODEL)

    if fit.kind == "improving":
        assert valid[-1] <= 1.01 * min(valid)
    if fit.kind == "overfit":
        assert valid[-1] > 1.05 * min(valid)
    if fit.kind == "level":
        assert valid[-1] <= 1.1 * min(valid)


def test_script_advice_names_no_job_keys():
    text = judge(epochs(HYPERBOLA, U_SHAPE), SCRIPT).text

    assert "early_stopping" not in text
    assert "Stop earlier" in text


def test_best_epoch_comes_from_run():
    """The run's own best epoch is used; without it the lowest validation loss decides."""
    lines = epochs(HYPERBOLA, U_SHAPE)

    assert best_epoch(lines, {"epoch": 9, "monitor": "val_accuracy"}) == (9, "val_accuracy")
    assert best_epoch(lines, None) == (7, "val_loss")
    assert best_epoch(epochs(HYPERBOLA), None) is None
