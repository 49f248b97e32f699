"""``hpcdl clean``: the disk space of runs, and removing what is not needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.choice import is_pattern, since_time
from hpcdl.contract.tables import aligned
from hpcdl.formats import disk_use, several

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.cleaning import Removal

_KINDS = ("checkpoints", "features", "caches", "logs", "models")
_CODE = "code"
_OLDER = "Runs made before: 30d, 12h, or 2026-11-20."
_CHECKPOINTS = "All checkpoints of runs that are done or cancelled."
_KIND = "Only what runs can do without of this kind; may be repeated."
_YES = "Remove it; without this, it is only shown."


@click.command(short_help="Show the disk space of runs, and remove what is not needed.")
@options.optional_runs
@click.option("--older", "--older-than", "older_than", metavar="AGE|DATE", help=_OLDER)
@click.option("--checkpoints", is_flag=True, help=_CHECKPOINTS)
@click.option("--kind", "kinds", multiple=True, type=click.Choice([*_KINDS, _CODE]), help=_KIND)
@click.option("--yes", "-y", is_flag=True, help=_YES)
@options.places
def command(
    runs: tuple[str, ...],
    older_than: str | None,
    checkpoints: bool,
    kinds: tuple[str, ...],
    yes: bool,
    places: options.Places,
) -> int:
    """Show the disk space of runs, and remove what is not needed.

    Without --yes, nothing is removed. With it, the runs that you name are
    removed, or those that are older than --older says; runs that wait or run
    are left alone. A run is removed whole, model and logs included. With
    --checkpoints or --kind, it keeps all that status, result, report and
    compare read.

    \b
    --kind checkpoints  all but each run's newest; of a sweep, those of trials
                        that are done or pruned
    --kind features     a backbone's features, of runs that have ended well
    --kind caches       caches in a program's home
    --kind logs         logs of earlier attempts, and of one stream alone
    --kind models       of a sweep, those of trials beyond the best it keeps
    --kind code         hpcdl's own code that no run names, and the rests of
                        removals that were interrupted

    \b
    hpcdl clean
    hpcdl clean --checkpoints --older 7d --yes
    hpcdl clean --kind checkpoints --kind logs --older 30d
    hpcdl clean --kind code --yes
    hpcdl clean k3f9 'try-*' --yes
    """
    from hpcdl.errors import UserError
    from hpcdl.run.cleaning import remove

    only_code = set(kinds) == {_CODE}
    if yes and not runs and older_than is None and not only_code:
        advice = "Name them, or say --older-than 30d; hpcdl clean alone only shows all runs"
        raise UserError(f"which runs? {advice}")
    if checkpoints and kinds:
        raise UserError("--checkpoints and --kind are two ways to say it; leave out one")
    if only_code:
        return _clean_code(places, yes)
    chosen = _chosen(runs, older_than, places)
    of_runs = [kind for kind in kinds if kind != _CODE]
    removals = [_removal_of(run, checkpoints, of_runs) for run in chosen]
    if not removals:
        options.say("no run fits")
        return 0
    removals.sort(key=lambda entry: -entry.size_bytes)
    for line in _table(removals):
        click.echo(line)
    removable = [entry for entry in removals if not entry.kept and entry.places]
    size = disk_use(sum(entry.size_bytes for entry in removable))
    count = several(len(removable), "run")
    if not yes:
        options.say(f"{size} in {count} could be freed; nothing was removed (--yes removes it)")
    else:
        for entry in removable:
            remove(entry)
        options.say(f"{size} in {count} freed")
    if _CODE in kinds or not (yes or runs):
        _clean_code(places, yes)
    named = any(not is_pattern(text) for text in runs)
    some_stay = any(entry.kept for entry in removals)
    return 1 if yes and named and some_stay else 0


def _chosen(runs: Sequence[str], older_than: str | None, places: options.Places) -> list[Run]:
    """The runs that are meant."""
    chosen = options.choose(runs, places)
    if older_than is None:
        return chosen
    latest = since_time(older_than, time.time())
    return [run for run in chosen if run.created() < latest]


def _removal_of(run: Run, checkpoints: bool, kinds: Sequence[str]) -> Removal:
    """What can be removed of a run or sweep."""
    from hpcdl.run.cleaning import removal
    from hpcdl.sweeps.folder import SweepPaths

    if SweepPaths(run.paths.root).sweep.exists():
        from hpcdl.sweeps.cleaning import sweep_removal

        return sweep_removal(run, ["checkpoints"] if checkpoints else kinds)
    return removal(run, checkpoints, kinds)


def _clean_code(places: options.Places, yes: bool) -> int:
    """Show the code that no run uses, and the rests of interrupted removals; or remove both."""
    from hpcdl.run.cleaning import interrupted_removals, remove_place, size_of
    from hpcdl.run.code_cleaning import unused_code

    roots = options.run_roots(places)
    spare: list[Path] = [*unused_code(roots), *interrupted_removals(roots)]
    size = disk_use(sum(size_of(place) for place in spare))
    what = several(len(spare), "folder")
    if yes:
        for place in spare:
            remove_place(place)
        options.say(f"{size} of code that no run uses freed ({what})")
    elif spare:
        options.say(f"{size} of code that no run uses ({what}): --kind code --yes removes it")
    return 0


def _table(removals: list[Removal]) -> list[str]:
    """A line for each run, the largest first, and one for all of them."""
    cells = [["RUN", "STATE", "SIZE", *(kind.upper() for kind in _KINDS), "NOTE"]]
    total = dict.fromkeys(_KINDS, 0)
    for entry in removals:
        note = f"kept: {entry.kept}" if entry.kept else entry.note
        kinds = []
        for kind in _KINDS:
            total[kind] += entry.kinds_bytes[kind]
            kinds.append(_size(entry.kinds_bytes[kind]))
        cells.append([entry.run.name, entry.state, disk_use(entry.size_bytes), *kinds, note])
    if len(removals) > 1:
        size = disk_use(sum(entry.size_bytes for entry in removals))
        cells.append(["all", "", size, *map(_size, total.values()), ""])
    return aligned(cells)


def _size(size_bytes: int) -> str:
    return disk_use(size_bytes) if size_bytes else "-"
