"""A sweep in brief, as lines for a terminal."""

from __future__ import annotations

from hpcdl.contract.tables import aligned
from hpcdl.formats import percent
from hpcdl.report.sweep_facts import SweepFacts
from hpcdl.report.sweep_page import importance_note, measure, range_text
from hpcdl.report.sweep_sentences import sentences
from hpcdl.report.sweep_tables import Table, best_trials, cost, failures, rungs

_LISTED = 10  # best trials


def brief(facts: SweepFacts) -> list[str]:
    """What the page of a sweep tells, without its drawings."""
    measured = measure(facts)
    lines = sentences(facts, measured)
    best = best_trials(facts, _LISTED)
    lines += _part("BEST TRIALS", best)
    matters = Table(["parameter", "importance", "best"], [])
    for one in measured:
        effect = "no clear effect"
        if one.is_clear and one.best is not None:
            effect = range_text(facts, one.key, one.best)
        matters.rows.append([facts.short_names[one.key], percent(one.share, 0), effect])
    if importance_note(facts):
        lines += ["", "WHAT MATTERS", importance_note(facts)]
    else:
        lines += _part("WHAT MATTERS", matters)
    lines += _part("PRUNED", rungs(facts))
    for failure in failures(facts):
        noun = "trial" if failure.count == 1 else "trials"
        lines += ["", f"FAILED: {failure.cause}, {noun} {failure.numbers}"]
        lines += [text for text in (failure.message, failure.hint) if text]
    lines += _part("COST", cost(facts))
    return [line.replace("\u00a0", " ") for line in lines]


def _part(title: str, table: Table) -> list[str]:
    if not table.rows:
        return []
    return ["", title, *aligned([table.header, *table.rows])]
