"""Does `hpcdl predict` see that images have changed, and is it silent when they have not?

python benchmarks/drift_answers.py DATA ANSWERS && python benchmarks/drift.py ANSWERS [NAME...]

ANSWERS has what networks answer to changed images. For each network a table has the points of
accuracy that a change costs, and in how many of 100 draws of n images the verdicts were *changed*,
*likely worse* and *nobody can tell*. A draw takes a half of the test images, at random, for the
test, and n of the others. It ends with 1 if more than 1 % of a network's draws without a
change give a verdict.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcdl.report.drift import Drift, Sample, drift

DRAWS = 100
QUIET_DRAWS = 500
SIZES = (50, 500)
QUIET_SIZES = (20, 50, 200, 500, 2000)
MOST_OF_TEST = 2500
NAMES = [str(label) for label in range(10)]


@dataclass(frozen=True)
class Answers:
    """What a network answers to all test images. changed: by the name of a change."""

    labels: Any
    same: Sample
    changed: dict[str, Sample]

    def accuracy(self, sample: Sample) -> float:
        return float((sample.probabilities.argmax(axis=1) == self.labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("answers", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = options.names or sorted(path.stem for path in options.answers.glob("*.npz"))
    too_many = False
    for name in names:
        answers = read(options.answers / f"{name}.npz")
        show(name, answers)
        too_many |= false_alarms(name, answers)
    sys.exit(too_many)


def read(path: Path) -> Answers:
    with np.load(path) as arrays:
        samples = {}
        for key in arrays.files:
            change, _, kind = key.partition("/")
            if kind == "looks":
                samples[change] = Sample(arrays[f"{change}/probabilities"], arrays[key])
        return Answers(arrays["labels"], samples.pop("none"), samples)


def show(name: str, answers: Answers) -> None:
    """The table of a network."""
    of_test = answers.accuracy(answers.same)
    sure = answers.same.probabilities.max(axis=1)
    print(f"\n{name}: accuracy {of_test:.3f}, confidence {sure.mean():.3f} +- {sure.std():.3f}")
    print(
        "| change | points lost | n = 50: changed, worse, cannot tell | n = 500 |\n|---|---|---|---|"
    )
    for change, sample in answers.changed.items():
        lost = "-" if change == "other" else f"{100 * (of_test - answers.accuracy(sample)):.1f}"
        print_row(change, lost, answers, sample)
    for change in ("no nines", "half are ones"):
        print_row(change, "-", answers, answers.same)


def print_row(change: str, lost: str, answers: Answers, sample: Sample) -> None:
    cells = []
    for size in SIZES:
        verdicts = list(draws(answers, sample, change, size, DRAWS))
        cells.append(shares(verdicts) if verdicts else "-")
    print(f"| {change} | {lost} | {' | '.join(cells)} |", flush=True)


def shares(verdicts: list[Drift]) -> str:
    """In how many of 100 draws each verdict was given."""
    changed = np.mean([verdict.changed for verdict in verdicts])
    worse = np.mean([verdict.likely_worse is True for verdict in verdicts])
    unknown = np.mean([verdict.likely_worse is None for verdict in verdicts])
    return f"{100 * changed:.0f}, {100 * worse:.0f}, {100 * unknown:.0f}"


def draws(answers: Answers, sample: Sample, change: str, size: int, count: int) -> Iterator[Drift]:
    """Verdicts about images drawn at random; none if there are not that many."""
    random = np.random.default_rng(7)
    for _ in range(count):
        order = random.permutation(len(answers.labels))
        half = min(MOST_OF_TEST, len(order) // 2)
        others = of_change(order[half:], answers.labels, change)
        if change == "other":
            others = random.permutation(len(sample.probabilities))
        if len(others) < size:
            return
        yield drift(rows_of(answers.same, order[:half]), rows_of(sample, others[:size]), NAMES)


def of_change(rows: Any, labels: Any, change: str) -> Any:
    """Those of some rows that a change leaves."""
    if change == "no nines":
        return rows[labels[rows] != 9]
    if change == "half are ones":
        ones, others = rows[labels[rows] == 1], rows[labels[rows] != 1]
        least = min(len(ones), len(others))
        mixed = np.stack([ones[:least], others[:least]], axis=1)
        return mixed.ravel()
    return rows


def rows_of(sample: Sample, rows: Any) -> Sample:
    if sample.looks is None:
        raise ValueError("the answers were written without looks")
    return Sample(sample.probabilities[rows], sample.looks[rows])


def false_alarms(name: str, answers: Answers) -> bool:
    """Print how often there is a verdict without a change; whether that is too often."""
    alarms = 0
    count = 0
    for size in QUIET_SIZES:
        verdicts = list(draws(answers, answers.same, "none", size, QUIET_DRAWS))
        if not verdicts:
            continue
        changed = sum(verdict.changed for verdict in verdicts)
        worse = sum(verdict.likely_worse is not False for verdict in verdicts)
        print(f"false alarms of {name}, n = {size}: changed {changed}, worse or cannot tell {worse}"
              f" of {len(verdicts)}", flush=True)  # fmt: skip
        alarms += max(changed, worse)
        count += len(verdicts)
    return alarms > 0.01 * count


if __name__ == "__main__":
    main()
