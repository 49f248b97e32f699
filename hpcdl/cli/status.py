"""``hpcdl status``: a table of runs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.formats import duration, metric_texts

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.state import Status

_SHOWN = 20


@click.command(short_help="Show runs and their states.")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@options.cluster
@options.runs_dir
@options.as_json
def command(runs: tuple[str, ...], cluster: str | None, runs_dir: str | None, as_json: bool) -> None:
    """Show runs and their states.

    Without RUN, the newest runs of the cluster's runs_root, of --runs-dir and of
    ./runs. The state comes from the run's own files; SLURM is asked at most once
    a minute, and only of runs whose files cannot say.

    \b
    hpcdl status
    hpcdl status k3f9 --json
    """
    from hpcdl.run import runs_below

    if runs:
        chosen = [options.find(run, cluster, runs_dir) for run in runs]
    else:
        chosen = runs_below(options.run_roots(cluster, runs_dir))
    rows = [(run, run.status()) for run in chosen[-_SHOWN:]]
    if as_json:
        click.echo(json.dumps([{"run": str(run.paths.root), **asdict(status)} for run, status in rows], indent=2))
        return
    if not rows:
        options.say("there are no runs yet")
        return
    table = [
        ["RUN", "STATE", "JOB", "EPOCH", "VAL ACC", "ELAPSED", "NOTE"],
        *(_row(run, status) for run, status in rows),
    ]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(chosen) > _SHOWN:
        options.say(f"({len(chosen) - _SHOWN} older runs are not shown)")


def _short(text: str, limit: int = 90) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _epoch(status: Status) -> str:
    if not status.epochs:  # a script does not say how many there will be
        return str(status.epoch) if status.epoch else "-"
    fold = f", fold {status.fold}/{status.folds}" if status.fold else ""
    return f"{status.epoch or 0}/{status.epochs}{fold}"


def _test_accuracy(run: Run, status: Status) -> str:
    result = (run.result() or {}) if status.state == "done" else {}
    accuracy = (result.get("test") or {}).get("accuracy")
    return f"test accuracy {accuracy:.4f}" if isinstance(accuracy, float) else ""


def _script_score(run: Run, status: Status) -> str:
    """A script's newest metrics, or, once it is done, the last line that it printed."""
    from hpcdl.run.logs import last_output

    values = status.metrics
    if status.state == "done":
        values = (run.result() or {}).get("metrics") or {}
    texts = metric_texts(values, most=2)
    if not texts and status.state == "done":
        texts = last_output(run.paths, 1)
    return ", ".join(texts)


def _row(run: Run, status: Status) -> list[str]:
    metrics = status.metrics
    accuracy = metrics.get("val_accuracy")
    elapsed = (status.ended or time.time()) - status.started if status.started else None
    again = f"attempt {status.attempt}" if status.attempt > 1 else ""
    cause = (status.cause or "").replace("_", " ") if status.cause != status.state else ""
    note = ": ".join(part for part in (cause, status.note.splitlines()[0] if status.note else "") if part)
    score = _script_score(run, status) if run.is_script() else _test_accuracy(run, status)
    return [
        run.name,
        status.state,
        status.job_id or "local",
        _epoch(status),
        f"{accuracy:.4f}" if isinstance(accuracy, float) else "-",
        duration(elapsed) if elapsed is not None else "-",
        _short(", ".join(part for part in (score, again, note) if part)),
    ]
