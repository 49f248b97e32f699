"""``hpcdl status``: a table of runs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hpcdl.cli import completion, options
from hpcdl.cli.choice import STATES, WAITING, fits_name, is_pattern, since_time
from hpcdl.cli.run_lines import metric_texts
from hpcdl.contract.tables import aligned
from hpcdl.formats import cut, duration

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.state import Status

_SHOWN = 20
_LONGEST_NOTE = 90  # characters


@click.command(short_help="Show runs and their states.")
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=completion.runs)
@click.option(
    "--all", "all_runs", is_flag=True, help=f"Show all that fit, not the newest {_SHOWN} only."
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only these. May be repeated.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only runs of this job; * and ? stand for any.",
)
@click.option(
    "--since", metavar="AGE|DATE", help="Only runs made since: 2d, 12h, 30m, or 2026-11-20."
)
@options.cluster
@options.runs_dir
@options.as_json
def command(
    runs: tuple[str, ...],
    all_runs: bool,
    states: tuple[str, ...],
    names: tuple[str, ...],
    since: str | None,
    cluster: str | None,
    runs_dir: str | None,
    as_json: bool,
) -> None:
    """Show runs and their states.

    Without RUN, the newest runs of the cluster's runs_root, of --runs-dir and of
    ./runs, the newest last. A RUN may be a pattern, as 'mnist*'. The state comes
    from the run's own files; SLURM is asked at most once a minute, and only of
    runs whose files cannot say. ELAPSED is from a run's first start to its end,
    with the waits between attempts.

    \b
    hpcdl status
    hpcdl status --state failed --since 2d
    hpcdl status 'mnist*' --all
    hpcdl status k3f9 --json
    """
    chosen = _chosen(runs, names, since, (cluster, runs_dir))
    named = bool(runs) and len(chosen) <= len(runs) and not any(is_pattern(text) for text in runs)
    shown, hidden = _with_status(chosen, states, None if all_runs or named else _SHOWN)
    if as_json:
        rows = [{"run": str(run.paths.root), **asdict(status)} for run, status in shown]
        click.echo(json.dumps(rows, indent=2))
    elif shown:
        for line in _table(shown):
            click.echo(line)
        _say_how_to_look_further(shown)
    elif runs or names or since or states:
        options.say("no run fits; hpcdl status --all shows all")
    else:
        roots = options.run_roots(cluster, runs_dir)
        options.say(f"there are no runs yet under {' or '.join(map(str, roots))}")
    if hidden:
        options.say(f"({hidden} older runs are not shown; hpcdl status --all)")


def _chosen(
    runs: Sequence[str],
    names: Sequence[str],
    since: str | None,
    places: tuple[str | None, str | None],
) -> list[Run]:
    """The runs that the command line is about: named ones in its order, others oldest first."""
    chosen = options.choose(runs, *places, several=True)
    if names:
        chosen = [run for run in chosen if fits_name(run, names)]
    if since is not None:
        earliest = since_time(since, time.time())
        chosen = [run for run in chosen if run.created() >= earliest]
    return chosen


def _with_status(
    runs: Sequence[Run], states: Sequence[str], limit: int | None
) -> tuple[list[tuple[Run, Status]], int]:
    """The newest runs in one of the states, oldest first, and how many older ones there are.

    Args:
        runs: oldest first.
        states: the states; none for all of them, when no more runs than shown are looked at.
        limit: how many runs; None for all.
    """
    if not states:
        newest = runs if limit is None else runs[-limit:]
        return [(run, run.status()) for run in newest], len(runs) - len(newest)
    fitting = []
    for run in runs:
        status = run.status()
        if status.state in states:
            fitting.append((run, status))
    shown = fitting if limit is None else fitting[-limit:]
    return shown, len(fitting) - len(shown)


def _table(rows: Sequence[tuple[Run, Status]]) -> list[str]:
    cells = [["RUN", "STATE", "JOB", "EPOCH", "VAL ACC", "ELAPSED", "NOTE"]]
    return aligned([*cells, *(_row(run, status) for run, status in rows)])


def _say_how_to_look_further(rows: Sequence[tuple[Run, Status]]) -> None:
    """Where a job waits for a reason: the command of SLURM's that says more."""
    waiting = [status.job_id for _, status in rows if status.state in WAITING and status.note]
    if waiting:
        options.say(f"why a job waits, in SLURM's own words: scontrol show job {waiting[-1]}")


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
    note = ": ".join(
        part for part in (cause, status.note.splitlines()[0] if status.note else "") if part
    )
    score = _script_score(run, status) if run.is_script() else _test_accuracy(run, status)
    return [
        run.name,
        status.state,
        status.job_id or "local",
        _epoch(status),
        f"{accuracy:.4f}" if isinstance(accuracy, float) else "-",
        duration(elapsed) if elapsed is not None else "-",
        cut(", ".join(part for part in (score, again, note) if part), _LONGEST_NOTE),
    ]
