"""``hpcdl clean``: the disk space of runs, and removing what is not needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.choice import is_pattern, since_time
from hpcdl.contract.tables import aligned
from hpcdl.formats import disk_use, several

if TYPE_CHECKING:
    from hpcdl.run.cleaning import Removal

_OLDER = "Runs made before: 30d, 12h, or 2026-11-20."
_CHECKPOINTS = "Only the checkpoints of runs that are done or cancelled."
_YES = "Remove it; without this, it is only shown."


@click.command(short_help="Show the disk space of runs, and remove what is not needed.")
@options.optional_runs
@click.option("--older-than", metavar="AGE|DATE", help=_OLDER)
@click.option("--checkpoints", is_flag=True, help=_CHECKPOINTS)
@click.option("--yes", "-y", is_flag=True, help=_YES)
@options.places
def command(
    runs: tuple[str, ...],
    older_than: str | None,
    checkpoints: bool,
    yes: bool,
    places: options.Places,
) -> int:
    """Show the disk space of runs, and remove what is not needed.

    Without --yes, nothing is removed. With it, the runs that you name are
    removed, or those that are older than --older-than says; runs that wait or
    run are left alone. A run is removed whole, model and logs included. With
    --checkpoints, it keeps all that status, result, report and compare read.

    \b
    hpcdl clean
    hpcdl clean --checkpoints --older-than 7d --yes
    hpcdl clean k3f9 'try-*' --yes
    """
    from hpcdl.errors import UserError
    from hpcdl.run.cleaning import removal, remove

    if yes and not runs and older_than is None:
        advice = "Name them, or say --older-than 30d; hpcdl clean alone only shows all runs"
        raise UserError(f"which runs? {advice}")
    chosen = options.choose(runs, places)
    if older_than is not None:
        latest = since_time(older_than, time.time())
        chosen = [run for run in chosen if run.created() < latest]
    removals = [removal(run, checkpoints) for run in chosen]
    if not removals:
        options.say("no run fits")
        return 0
    for line in _table(removals):
        click.echo(line)
    removable = [entry for entry in removals if not entry.kept and entry.folders]
    size = disk_use(sum(entry.size_bytes for entry in removable))
    count = several(len(removable), "run")
    if not yes:
        options.say(f"{size} in {count} could be freed; nothing was removed (--yes removes it)")
        return 0
    for entry in removable:
        remove(entry)
    options.say(f"{size} in {count} freed")
    named = any(not is_pattern(text) for text in runs)
    some_stay = any(entry.kept for entry in removals)
    return 1 if named and some_stay else 0


def _table(removals: list[Removal]) -> list[str]:
    cells = [["RUN", "STATE", "SIZE", "NOTE"]]
    for entry in removals:
        note = f"kept: {entry.kept}" if entry.kept else ""
        cells.append([entry.run.name, entry.state, disk_use(entry.size_bytes), note])
    return aligned(cells)
