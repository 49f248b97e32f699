"""Several runs side by side: the facts of each, and the keys in which their jobs differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl import formats
from hpcdl.report import exports, hidden
from hpcdl.report import facts as run_facts
from hpcdl.report.comparable import takes_part, why_not
from hpcdl.report.facts import Facts
from hpcdl.report.measures import OTHERS, SCORES, Measure, further_metrics
from hpcdl.report.overfitting import is_number
from hpcdl.report.settings import differences, with_each_argument
from hpcdl.report.together import Together, together_of_runs
from hpcdl.run import Run, states
from hpcdl.run.paths import TrialPaths

_OF_FOLDS = {  # measures that are means of a cross-validation: the part and the metric
    "test_accuracy": ("test", "accuracy"),
    "test_loss": ("test", "loss"),
    "validation_accuracy": ("validation", "accuracy"),
    "validation_loss": ("validation", "loss"),
}
_TESTED_EPOCHS_DIFFER = (
    "test accuracy is that of the tested epoch: the best one where early_stopping restores "
    "its weights, else the last"
)


@dataclass(frozen=True)
class Row:
    """One fact of all runs.

    values: for programs. texts: for people. best: the places of the best values, if any.
    not_compared: why they cannot be compared, if so.
    """

    key: str
    name: str
    values: list[Any]
    texts: list[str]
    best: set[int]
    not_compared: str = ""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    labels: the runs' names in the table. differences: by key, the values of the jobs that differ.
    notes: sentences on what cannot be compared, and why. together: the mean of their answers; None
    where there is no such thing.
    """

    runs: list[Facts]
    labels: list[str]
    rows: list[Row]
    differences: dict[str, list[Any]]
    notes: list[str]
    together: Together | None = None


def compare(runs: Sequence[Run], shows_env: bool = False) -> Comparison:
    """Read runs and lay them side by side. A fact that no run has gets no row.

    Args:
        runs: the runs.
        shows_env: show the values of env and what else is private.
    """
    facts = [run_facts.read(run, shows_env) for run in runs]
    rows = []
    for measure in (*SCORES, *further_metrics(facts), *OTHERS, *exports.measures(facts)):
        row = _row(measure, facts)
        if row is not None:
            rows.append(row)
    labels = _labels(facts)
    differing = differences([with_each_argument(run.job, run.params) for run in facts])
    if not shows_env:
        for key, values in differing.items():
            differing[key] = [hidden.setting(key, value) for value in values]
    notes = _notes(facts, labels, rows)
    return Comparison(facts, labels, rows, differing, notes, together_of_runs(facts))


def _row(measure: Measure, runs: Sequence[Facts]) -> Row | None:
    """A measure of all runs; None if no run has it."""
    values, texts = [], []
    places = []  # of values that can be compared
    for n, run in enumerate(runs):
        value = measure.value(run)
        values.append(value)
        texts.append(_text(measure, run, value))
        if is_number(value) and takes_part(run):
            places.append(n)
    if all(value is None for value in values):
        return None
    if measure.best is None or len(places) < 2:
        return Row(measure.key, measure.title, values, texts, set())
    reason = why_not(measure.kind, [runs[n] for n in places])
    best: set[int] = set()
    if not reason:
        best = _best(places, values, texts, measure.best)
    return Row(measure.key, measure.title, values, texts, best, reason)


def _best(
    places: Sequence[int],
    values: Sequence[Any],
    texts: Sequence[str],
    choose: Callable[..., Any],
) -> set[int]:
    """The places of the best values and of those that read like them; none if all read alike."""
    best = choose(places, key=values.__getitem__)
    alike = {n for n in places if texts[n] == texts[best]}
    if len(alike) == len(places):
        return set()
    return alike


def _text(measure: Measure, run: Facts, value: Any) -> str:
    """A value for people, with its deviation if it is a mean of folds."""
    if value is None:
        return formats.MISSING
    if measure.key not in _OF_FOLDS or "cross_validation" not in run.result:
        return measure.show(value)
    part, metric = _OF_FOLDS[measure.key]
    return formats.with_deviation(measure.show, value, run.result, part, metric)


def _notes(runs: Sequence[Facts], labels: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """What is not compared, and why."""
    reasons: dict[str, list[str]] = {}  # rows, by reason
    for row in rows:
        if row.not_compared:
            reasons.setdefault(row.not_compared, []).append(row.name)
    notes = []
    for reason, names in reasons.items():
        notes.append(f"{', '.join(names)}: not compared, {reason}")
    scripts = []
    for label, run in zip(labels, runs, strict=True):
        if run.is_script:
            scripts.append(label)
        elif run.status.state != states.DONE:
            notes.append(f"{label} is {run.status.state}: it is not compared")
    if scripts:
        verb = "is a script" if len(scripts) == 1 else "are scripts"
        why = "hpcdl does not know the data and the loss of a script, so it compares nothing of it"
        notes.append(f"{formats.listed(scripts)} {verb}: {why}")
    restored = {run.restored_epoch is not None for run in runs if takes_part(run)}
    if len(restored) > 1:
        notes.append(_TESTED_EPOCHS_DIFFER)
    return notes


def _labels(runs: Sequence[Facts]) -> list[str]:
    """The runs' names; names that several runs have get the end of the id."""
    names = [run.name for run in runs]
    sweeps = set()
    for run in runs:
        sweeps.add(run.run.paths.root.parent)
    labels = []
    for run in runs:
        label = run.name
        if isinstance(run.run.paths, TrialPaths):
            label = f"trial {int(run.id)}"
            if len(sweeps) > 1:
                label = f"{run.name}/…{run.run.paths.sweep.root.name[-4:]} {label}"
        elif names.count(label) > 1:
            label += f"/…{run.id[-4:]}"
        labels.append(label)
    return labels
