"""The tables of a sweep: its best trials, rungs, failures and cost, for a page and a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hpcdl import formats
from hpcdl.files import read_json
from hpcdl.report.sweep_facts import STATES, SweepFacts
from hpcdl.run.hints import hint
from hpcdl.scheduler.arrays import expression_of
from hpcdl.sweeps.state import TrialState
from hpcdl.text import with_run

_READ = 2000  # results of failed trials
_NUMBERS = 60  # characters of a list of trial numbers
_MESSAGE = 300  # characters


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        header: the columns' names.
        rows: as many texts each; the first one names the row.
    """

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Failure:
    """The trials that failed for one cause.

    Args:
        cause: as `hpcdl.run.causes` names it, in words.
        count: how many trials.
        numbers: theirs, as text.
        message: of the first one.
        hint: what to do.
    """

    cause: str
    count: int
    numbers: str
    message: str
    hint: str


def best_trials(facts: SweepFacts, most: int) -> Table:
    """The best trials with their parameters; those with a value if none is done yet."""
    keys = facts.settings.space.names
    names = [facts.short_names[key] for key in keys]
    header = ["trial", facts.settings.metric, "epoch", *names, "time"]
    ranked = facts.best or facts.ranked
    if not facts.best:
        header.insert(1, "state")
    rows = []
    for trial in ranked[:most]:
        epoch = formats.MISSING if trial.epoch is None else str(trial.epoch)
        texts = [str(trial.number), facts.metric_text(trial.value), epoch]
        for key in keys:
            texts.append(facts.shown(key, trial.params.get(key)))
        texts.append(formats.seconds(trial.seconds))
        if not facts.best:
            texts.insert(1, trial.state)
        rows.append(texts)
    return Table(header, rows)


def rungs(facts: SweepFacts) -> Table:
    """How many trials reached each rung, and how many were stopped there."""
    stopped = stopped_at(facts)
    rows = []
    for epoch in sorted({*facts.state.rungs, *stopped}):
        values = []
        for value in facts.state.rungs.get(epoch, {}).values():
            if value is not None:
                values.append(value)
        best, middle = formats.MISSING, formats.MISSING
        if values:
            choose = max if facts.settings.direction == "maximize" else min
            best = facts.metric_text(choose(values))
            middle = facts.metric_text(statistics.median(values))
        reached = len(facts.state.rungs.get(epoch, {}))
        rows.append([str(epoch), str(reached), str(stopped.get(epoch, 0)), best, middle])
    return Table(["epoch", "trials that reached it", "pruned there", "best", "median"], rows)


def stopped_at(facts: SweepFacts) -> dict[int, int]:
    """How many trials were pruned, by the last rung that each had reached."""
    rung_of: dict[int, int] = {}
    for epoch in sorted(facts.state.rungs):
        for number in facts.state.rungs[epoch]:
            rung_of[number] = epoch
    stopped: dict[int, int] = {}
    for trial in facts.in_state("pruned"):
        epoch = rung_of.get(trial.number, trial.epochs)
        stopped[epoch] = stopped.get(epoch, 0) + 1
    return stopped


def cost(facts: SweepFacts) -> Table:
    """What the trials took, by their state."""
    header = ["state", "trials", "epochs", "time", "time of a trial"]
    if facts.gpus:
        header.append("GPU-hours")
    groups = [(state, facts.in_state(state)) for state in STATES]
    groups.append(("all", facts.trials))
    rows = []
    for state, trials in groups:
        if trials:
            rows.append(_cost_row(facts, state, trials))
    return Table(header, rows)


def gpu_hours(facts: SweepFacts, trials: Sequence[TrialState]) -> float:
    """GPUs times hours of trials; that of those that run is not known before they end."""
    return facts.gpus * sum(trial.seconds for trial in trials) / 3600


def failures(facts: SweepFacts) -> list[Failure]:
    """The trials that failed, by cause; the most frequent one first."""
    failed = facts.in_state("failed")
    groups: dict[str, list[TrialState]] = {}
    messages: dict[str, str] = {}
    for trial in failed[:_READ]:
        result = read_json(facts.paths.result(trial.number)) or {}
        cause = str(result.get("cause") or "cause not known")
        groups.setdefault(cause, []).append(trial)
        messages.setdefault(cause, str(result.get("message") or ""))
    if len(failed) > _READ:
        groups["not looked at, as there are so many"] = failed[_READ:]
    listed = []
    for cause in sorted(groups, key=lambda cause: -len(groups[cause])):
        numbers = number_text([trial.number for trial in groups[cause]])
        first = str(facts.paths.trial(groups[cause][0].number))
        advice = with_run(hint(cause, facts.run.is_script) or "", first)
        message = formats.cut(facts.safe(messages.get(cause, "")), _MESSAGE)
        text = cause.replace("_", " ")
        listed.append(Failure(text, len(groups[cause]), numbers, message, advice))
    return listed


def number_text(numbers: Sequence[int]) -> str:
    """Trial numbers as text, such as ``0-15, 17``, cut where it is long."""
    if not numbers:
        return ""
    return formats.cut(expression_of(sorted(numbers)).replace(",", ", "), _NUMBERS)


def _cost_row(facts: SweepFacts, state: str, trials: Sequence[TrialState]) -> list[str]:
    seconds = sum(trial.seconds for trial in trials)
    epochs = sum(trial.epochs for trial in trials)
    ended = [trial for trial in trials if trial.state != "running"]
    texts = [state, formats.count(len(trials)), formats.count(epochs)]
    if ended:
        texts += [formats.seconds(seconds), formats.seconds(seconds / len(ended))]
    else:
        texts += [formats.MISSING, formats.MISSING]
    if facts.gpus:
        texts.append(f"{gpu_hours(facts, trials):.3f}" if ended else formats.MISSING)
    return texts
