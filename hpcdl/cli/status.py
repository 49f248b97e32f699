"""``hpcdl status``: a table of runs and sweeps."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.cli.choice import STATES, WAITING, Chosen, fits_name, is_pattern, since_time
from hpcdl.run import states

if TYPE_CHECKING:
    from hpcdl.cli.entries import Entry, SweepEntry
    from hpcdl.run.listing import ListedRun
    from hpcdl.run.worker_states import WorkerState
    from hpcdl.sweeps.causes import Group

_SHOWN = 20  # runs, without --all
_ALL = f"Show all that fit, not the newest {_SHOWN} only."
_CAUSE = "Only what failed for this cause, such as out_of_memory."
_NAME = "Only runs of this job; * and ? stand for any."
_SINCE = "Only runs made since: 2d, 12h, 30m, or 2026-11-20."
_FRESH = "Read all runs again, also those that have ended."
_WATCH = "Show it again and again, until Ctrl-C or until the named runs have ended."


@dataclass(frozen=True)
class Filters:
    """Which runs are shown: --all, --state, --cause, --name, --since, --fresh."""

    show_all: bool = False
    states: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    since: str | None = None
    fresh: bool = False

    @property
    def need_status(self) -> bool:
        """Whether only a run's status tells if it is shown."""
        return bool(self.states or self.causes)


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
    click.option("--cause", "causes", multiple=True, metavar="CAUSE", help=_CAUSE),
    click.option("--name", "names", multiple=True, metavar="NAME", help=_NAME),
    click.option("--since", metavar="AGE|DATE", help=_SINCE),
    click.option("--fresh", is_flag=True, help=_FRESH),
)


@dataclass(frozen=True)
class View:
    """What is shown.

    Args:
        entries: the runs and sweeps, oldest first.
        hidden: how many older ones fit as well.
        sweep: the sweep that was named, whose trials are shown in groups; else None.
        groups: its trials by state and cause.
        workers: of the run that was named alone, if it is on several nodes.
    """

    entries: list[Entry]
    hidden: int = 0
    sweep: SweepEntry | None = None
    groups: list[Group] = field(default_factory=list)
    workers: list[WorkerState] = field(default_factory=list)


@click.command(short_help="Show runs and sweeps, and their states.")
@options.optional_runs
@_filters
@options.places
@options.as_json
@click.option("--watch", is_flag=True, help=_WATCH)
def command(
    runs: tuple[str, ...], filters: Filters, places: options.Places, as_json: bool, watch: bool
) -> int | None:
    """Show runs and sweeps and their states, the newest last.

    Without RUN, it shows the newest runs of the cluster's runs_root, of
    --runs-dir and of ./runs. A RUN may be a pattern, as 'mnist*'. A sweep has one
    line; named alone, its trials are shown by state and cause. SWEEP/17 is its
    trial 17. A run on several nodes, named alone, has a line for each worker. The
    state comes from the run's own files; SLURM is asked at most once a minute, and
    only about runs whose files cannot say. ELAPSED is the time from a run's first
    start to its end, with the waits between attempts.

    \b
    hpcdl status
    hpcdl status --state failed --since 2d
    hpcdl status --cause out_of_memory
    hpcdl status 'mnist*' --all
    hpcdl status k3f9 --json
    hpcdl status k3f9 --state failed
    hpcdl status --watch
    """
    if watch:
        if as_json:
            raise click.UsageError("--watch shows a table; leave out --json, or --watch")
        from hpcdl.cli.watch_table import watch_table

        return watch_table(lambda: _view(runs, filters, places), ends=bool(runs))
    view = _view(runs, filters, places)
    if as_json:
        click.echo(json.dumps(_as_json(view), indent=2))
    elif view.entries:
        for line in lines_of(view):
            click.echo(line)
        _say_how_to_look_further(view.entries)
    elif runs or filters.names or filters.since or filters.need_status:
        options.say("no run fits; hpcdl status --all shows all")
    else:
        roots = " or ".join(map(str, options.run_roots(places)))
        options.say(f"there are no runs yet under {roots}")
    if view.hidden:
        options.say(f"({view.hidden} older runs are not shown; hpcdl status --all)")
    return None


def lines_of(view: View) -> list[str]:
    """The table, and below it more of what was named: a sweep's trials, or a run's workers."""
    from hpcdl.cli.status_table import table
    from hpcdl.cli.sweep_table import detail_lines

    lines = table(view.entries)
    if view.sweep is not None and view.sweep.overview is not None:
        details = detail_lines(view.sweep.overview, view.groups)
        if details:
            lines += ["", *details]
    if view.workers:
        lines += ["", *(worker.text() for worker in view.workers)]
    return lines


def _view(texts: Sequence[str], filters: Filters, places: options.Places) -> View:
    """Look at the runs that fit."""
    chosen = Chosen(texts, places, several=True, fresh=filters.fresh)
    runs = _fitting(chosen.runs, filters)
    named = _are_named(texts, runs)
    if named and len(runs) == 1 and runs[0].is_sweep:
        return _sweep_view(runs[0], filters)
    limit: int | None = _SHOWN
    if filters.show_all or named:
        limit = None
    view = _newest(runs, filters, limit)
    chosen.save()
    if named and len(view.entries) == 1:
        view = replace(view, workers=_workers(view.entries[0]))
    return view


def _workers(entry: Entry) -> list[WorkerState]:
    """The workers of a run on several nodes."""
    from hpcdl.run.paths import run_paths
    from hpcdl.run.worker_states import worker_states

    return worker_states(run_paths(Path(entry.folder)), entry.state == states.RUNNING)


def _are_named(texts: Sequence[str], chosen: Sequence[ListedRun]) -> bool:
    """Whether each run that fits was asked for by its own name."""
    if not texts or len(chosen) > len(texts):
        return False
    return not any(is_pattern(text) for text in texts)


def _fitting(runs: Sequence[ListedRun], filters: Filters) -> list[ListedRun]:
    """The runs that fit --name and --since."""
    fitting = list(runs)
    if filters.names:
        fitting = [run for run in fitting if fits_name(run.name, filters.names)]
    if filters.since is not None:
        earliest = since_time(filters.since, time.time())
        fitting = [run for run in fitting if run.created >= earliest]
    return fitting


def _newest(runs: Sequence[ListedRun], filters: Filters, limit: int | None) -> View:
    """The newest runs that fit --state and --cause, with their status.

    Args:
        runs: oldest first.
        filters: if no status is needed, no more runs are read than are shown.
        limit: how many runs; None for all.
    """
    from hpcdl.cli.entries import entries_of

    if not filters.need_status:
        newest = runs if limit is None else runs[-limit:]
        return View(entries_of(newest), len(runs) - len(newest))
    fitting = [entry for entry in entries_of(runs) if _fits_status(entry, filters)]
    shown = fitting if limit is None else fitting[-limit:]
    return View(shown, len(fitting) - len(shown))


def _fits_status(entry: Entry, filters: Filters) -> bool:
    if filters.states and entry.state not in filters.states:
        return False
    return not filters.causes or bool(_causes_of(entry) & _normal(filters.causes))


def _causes_of(entry: Entry) -> set[str]:
    """Why a run failed; of a sweep, why its trials did."""
    from hpcdl.cli.entries import RunEntry

    if isinstance(entry, RunEntry):
        return {entry.run.status.cause or ""}
    return {group.cause for group in _groups(entry)}


def _normal(causes: Sequence[str]) -> set[str]:
    """Causes as files have them; a table shows them with spaces."""
    return {cause.strip().replace(" ", "_") for cause in causes}


def _groups(entry: SweepEntry) -> list[Group]:
    from hpcdl.sweeps.causes import groups
    from hpcdl.sweeps.folder import SweepPaths

    return [] if entry.overview is None else groups(SweepPaths(entry.root), entry.overview)


def _sweep_view(run: ListedRun, filters: Filters) -> View:
    """A sweep that was named alone: its groups or, with --state or --cause, those trials."""
    from hpcdl.cli.entries import entries_of, sweep_entry

    sweep = sweep_entry(run.name, run.root)
    groups = _groups(sweep)
    if not filters.need_status or sweep.overview is None:
        return View([sweep], 0, sweep, groups)
    numbers: list[int] = []
    for group in groups:
        fits_state = not filters.states or group.state in filters.states
        fits_cause = not filters.causes or group.cause in _normal(filters.causes)
        if fits_state and fits_cause:
            numbers += group.numbers
    trials = sweep.trials(sorted(numbers))
    limit = None if filters.show_all else _SHOWN
    shown = trials if limit is None else trials[:limit]
    return View(entries_of(shown), len(trials) - len(shown))


def _as_json(view: View) -> list[dict[str, Any]]:
    content = [entry.as_dict() for entry in view.entries]
    if view.sweep is not None and view.sweep.overview is not None:
        groups = []
        for group in view.groups:
            groups.append({"state": group.state, "cause": group.cause, "trials": group.numbers})
        content[0]["groups"] = groups
    if view.workers:
        content[0]["workers"] = [worker.as_dict() for worker in view.workers]
    return content


def _say_how_to_look_further(entries: Sequence[Entry]) -> None:
    """If a job waits for a reason, say which command of SLURM's explains it."""
    from hpcdl.cli.entries import RunEntry

    waiting = []
    for entry in entries:
        if isinstance(entry, RunEntry) and entry.state in WAITING and entry.run.status.note:
            waiting.append(entry.run.status.job_id)
    if waiting:
        options.say(f"why a job waits, in SLURM's own words: scontrol show job {waiting[-1]}")
