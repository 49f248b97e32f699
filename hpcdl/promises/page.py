"""A test as one HTML file that needs no network, no JavaScript and no other file."""

from __future__ import annotations

from hpcdl.promises.outcome import SIGNS, Outcome
from hpcdl.promises.verdict import BROKEN
from hpcdl.report.page import render
from hpcdl.yamlfile.writer import plain


def page(outcome: Outcome) -> str:
    """The page of a test: a table of the promises, what to change, and the jobs."""
    rows = []
    for name, verdict in outcome.verdicts.items():
        rows.append(
            {"title": outcome.titles[name], "sign": SIGNS[verdict.outcome], **vars(verdict)}
        )
    jobs = []
    for name, about in outcome.evidence.items():
        nodes = [attempt.node for attempt in about.attempts if attempt.node]
        has_cause = about.cause not in (None, about.state)
        state = f"{about.state} ({about.cause})" if has_cause else about.state
        jobs.append(
            {
                "name": name,
                "job_ids": ", ".join(about.job_ids),
                "state": f"did not run: {about.unsent}" if about.unsent else state,
                "nodes": ", ".join(dict.fromkeys(nodes)),
                "folder": about.folder,
            }
        )
    lines = [f"{key}: {plain(value)}" for key, value in outcome.changes.items()]
    return render(
        "promises.html.j2",
        outcome=outcome,
        rows=rows,
        broken=BROKEN,
        lines=lines,
        jobs=jobs,
    )
