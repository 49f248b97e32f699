"""A sweep in a few sentences."""

from __future__ import annotations

from hpcdl.formats import count, listed, percent, several
from hpcdl.report.importance import Importance
from hpcdl.report.sweep_facts import SweepFacts
from hpcdl.report.sweep_tables import gpu_hours

_MUCH = 0.1  # a share of the ranks' variance that is worth a sentence


def sentences(facts: SweepFacts, measured: list[Importance]) -> list[str]:
    """What came out, how far it is, what matters, what it cost."""
    texts = [_best(facts), _progress(facts), _matters(facts, measured), _cost(facts)]
    texts += _stops(facts)
    return [text for text in texts if text]


def _best(facts: SweepFacts) -> str:
    metric = facts.settings.metric
    if not facts.best:
        return f"No trial is done with a value of {metric} yet."
    best = facts.best[0]
    settings = []
    for key in facts.settings.space.names:
        settings.append(f"{facts.short_names[key]} {facts.shown(key, best.params.get(key))}")
    epoch = ""
    if best.epoch is not None:
        epoch = f" at epoch {best.epoch}"
    text = f"The best is trial {best.number}: {metric} {facts.metric_text(best.value)}{epoch}"
    return f"{text}, with {listed(settings, most=6)}."


def _progress(facts: SweepFacts) -> str:
    parts = []
    for state, words in (
        ("done", "done"),
        ("pruned", "pruned"),
        ("failed", "failed"),
        ("running", "running by its task's log"),
    ):
        trials = facts.in_state(state)
        if trials:
            parts.append(f"{count(len(trials))} {words}")
    waiting = facts.budget - len(facts.trials)
    if waiting > 0:
        parts.append(f"{count(waiting)} not begun")
    text = f"Of {several(facts.budget, 'trial')}: {', '.join(parts)}."
    ended = len(facts.in_state("done")) + len(facts.in_state("pruned"))
    without = ended - len(facts.ranked)
    if without:
        verb = "has" if without == 1 else "have"
        text += f" {count(without)} of them {verb} no value of {facts.settings.metric}."
    return text


def _matters(facts: SweepFacts, measured: list[Importance]) -> str:
    clear = []
    for one in measured:
        if one.is_clear and one.share is not None and one.share >= _MUCH:
            clear.append(f"{facts.short_names[one.key]} ({percent(one.share, 0)})")
    if clear:
        return f"What matters most: {listed(clear)} of the order of the trials."
    return ""


def _cost(facts: SweepFacts) -> str:
    if not facts.gpus:
        return ""
    used = gpu_hours(facts, facts.trials)
    text = f"The trials that have ended took {used:.2f} GPU-hours"
    if facts.settings.gpu_hours is not None:
        text += f" of {facts.settings.gpu_hours:g}"
    pruned = gpu_hours(facts, facts.in_state("pruned"))
    if used and pruned:
        text += f", {percent(pruned / used, 0)} of them in trials that were pruned"
    return f"{text}."


def _stops(facts: SweepFacts) -> list[str]:
    """Why it does not go on."""
    texts = []
    if facts.paths.cancelled.exists():
        texts.append("It was cancelled.")
    elif facts.paths.stop.exists():
        texts.append("It was stopped: no other trial begins.")
    reasons = sorted(set(facts.state.stops.values()))
    for reason in reasons[:3]:
        texts.append(f"A task stopped: {facts.safe(reason)}")
    return texts
