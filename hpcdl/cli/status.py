"""``hpcdl status``: a table of runs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.choice import STATES, WAITING, fits_name, is_pattern, since_time
from hpcdl.cli.run_lines import metric_texts
from hpcdl.contract.tables import aligned
from hpcdl.formats import cut, duration
from hpcdl.run import states

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.state import Status

    RunStatus = tuple[Run, Status]

_SHOWN = 20  # runs, without --all
_LONGEST_NOTE = 90  # characters
_ALL = f"Show all that fit, not the newest {_SHOWN} only."
_NAME = "Only runs of this job; * and ? stand for any."
_SINCE = "Only runs made since: 2d, 12h, 30m, or 2026-11-20."


@dataclass(frozen=True)
class Filters:
    """Which runs are shown: --all, --state, --name, --since."""

    show_all: bool
    states: tuple[str, ...]
    names: tuple[str, ...]
    since: str | None


_filters = options.grouped(
    "filters",
    Filters,
    click.option("--all", "show_all", is_flag=True, help=_ALL),
    click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice(STATES),
        help="Only these. May be repeated.",
    ),
    click.option("--name", "names", multiple=True, metavar="NAME", help=_NAME),
    click.option("--since", metavar="AGE|DATE", help=_SINCE),
)


@click.command(short_help="Show runs and their states.")
@options.optional_runs
@_filters
@options.places
@options.as_json
def command(runs: tuple[str, ...], filters: Filters, places: options.Places, as_json: bool) -> None:
    """Show runs and their states, the newest last.

    Without RUN, it shows the newest runs of the cluster's runs_root, of
    --runs-dir and of ./runs. A RUN may be a pattern, as 'mnist*'. The state comes
    from the run's own files; SLURM is asked at most once a minute, and only about
    runs whose files cannot say. ELAPSED is the time from a run's first start to
    its end, with the waits between attempts.

    \b
    hpcdl status
    hpcdl status --state failed --since 2d
    hpcdl status 'mnist*' --all
    hpcdl status k3f9 --json
    """
    chosen = _chosen(runs, filters, places)
    limit: int | None = _SHOWN
    if filters.show_all or _are_named(runs, chosen):
        limit = None
    shown, hidden = _with_status(chosen, filters.states, limit)
    if as_json:
        content = [{"run": str(run.paths.root), **asdict(status)} for run, status in shown]
        click.echo(json.dumps(content, indent=2))
    elif shown:
        for line in _table(shown):
            click.echo(line)
        _say_how_to_look_further(shown)
    elif runs or filters.names or filters.since or filters.states:
        options.say("no run fits; hpcdl status --all shows all")
    else:
        roots = " or ".join(map(str, options.run_roots(places)))
        options.say(f"there are no runs yet under {roots}")
    if hidden:
        options.say(f"({hidden} older runs are not shown; hpcdl status --all)")


def _are_named(texts: Sequence[str], chosen: Sequence[Run]) -> bool:
    """Whether each run that fits was asked for by its own name."""
    if not texts or len(chosen) > len(texts):
        return False
    return not any(is_pattern(text) for text in texts)


def _chosen(texts: Sequence[str], filters: Filters, places: options.Places) -> list[Run]:
    """The runs that fit all but --state, in the order of `options.choose`."""
    chosen = options.choose(texts, places, several=True)
    if filters.names:
        chosen = [run for run in chosen if fits_name(run, filters.names)]
    if filters.since is not None:
        earliest = since_time(filters.since, time.time())
        chosen = [run for run in chosen if run.created() >= earliest]
    return chosen


def _with_status(
    runs: Sequence[Run], state_names: Sequence[str], limit: int | None
) -> tuple[list[RunStatus], int]:
    """The newest runs that are in one of the states, with their status.

    Args:
        runs: oldest first.
        state_names: the states; if empty, all, and then no more runs are read than are shown.
        limit: how many runs; None for all.

    Returns:
        the runs, oldest first, and how many older ones fit as well.
    """
    if not state_names:
        newest = runs if limit is None else runs[-limit:]
        return [(run, run.status()) for run in newest], len(runs) - len(newest)
    fitting = []
    for run in runs:
        status = run.status()
        if status.state in state_names:
            fitting.append((run, status))
    shown = fitting if limit is None else fitting[-limit:]
    return shown, len(fitting) - len(shown)


def _say_how_to_look_further(runs: Sequence[RunStatus]) -> None:
    """If a job waits for a reason, say which command of SLURM's explains it."""
    waiting = [status.job_id for _, status in runs if status.state in WAITING and status.note]
    if waiting:
        options.say(f"why a job waits, in SLURM's own words: scontrol show job {waiting[-1]}")


def _table(runs: Sequence[RunStatus]) -> list[str]:
    cells = [["RUN", "STATE", "JOB", "EPOCH", "VAL ACC", "ELAPSED", "NOTE"]]
    for run, status in runs:
        cells.append(_cells(run, status))
    return aligned(cells)


def _cells(run: Run, status: Status) -> list[str]:
    return [
        run.name,
        status.state,
        status.job_id or "local",
        _epoch(status),
        _validation_accuracy(status),
        _elapsed(status),
        cut(_note(run, status), _LONGEST_NOTE),
    ]


def _epoch(status: Status) -> str:
    if not status.epochs:  # a script does not say how many there will be
        return str(status.epoch) if status.epoch else "-"
    fold = f", fold {status.fold}/{status.folds}" if status.fold else ""
    return f"{status.epoch or 0}/{status.epochs}{fold}"


def _validation_accuracy(status: Status) -> str:
    accuracy = status.metrics.get("val_accuracy")
    return f"{accuracy:.4f}" if isinstance(accuracy, float) else "-"


def _elapsed(status: Status) -> str:
    if not status.started:
        return "-"
    return duration((status.ended or time.time()) - status.started)


def _note(run: Run, status: Status) -> str:
    """The score, the attempt, the cause of the end and the first line of the note."""
    score = _script_score(run, status) if run.is_script() else _test_accuracy(run, status)
    parts = [score]
    if status.attempt > 1:
        parts.append(f"attempt {status.attempt}")
    reasons = []
    if status.cause and status.cause != status.state:
        reasons.append(status.cause.replace("_", " "))
    if status.note:
        reasons.append(status.note.splitlines()[0])
    parts.append(": ".join(filter(None, reasons)))
    return ", ".join(filter(None, parts))


def _test_accuracy(run: Run, status: Status) -> str:
    if status.state != states.DONE:
        return ""
    test = (run.result() or {}).get("test") or {}
    accuracy = test.get("accuracy")
    return f"test accuracy {accuracy:.4f}" if isinstance(accuracy, float) else ""


def _script_score(run: Run, status: Status) -> str:
    """A script's newest metrics or, once it is done, the last line that it printed."""
    from hpcdl.run.logs import last_output

    values = status.metrics
    if status.state == states.DONE:
        values = (run.result() or {}).get("metrics") or {}
    texts = metric_texts(values, most=2)
    if not texts and status.state == states.DONE:
        texts = last_output(run.paths, 1)
    return ", ".join(texts)
