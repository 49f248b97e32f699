"""``hpcdl clean``: what runs take up, and removing what is not needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hpcdl.cli import completion, options
from hpcdl.cli.choice import is_pattern, since_time
from hpcdl.contract.tables import aligned
from hpcdl.formats import disk_use, several

if TYPE_CHECKING:
    from hpcdl.run.cleaning import Removal


@click.command(short_help="Show what runs take up, and remove what is not needed.")
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=completion.runs)
@click.option("--older-than", metavar="AGE|DATE", help="Runs made before: 30d, 12h, or 2026-11-20.")
@click.option(
    "--checkpoints", is_flag=True, help="Only the checkpoints of runs that are done or cancelled."
)
@click.option("--yes", "-y", is_flag=True, help="Remove it; without this, it is only shown.")
@options.cluster
@options.runs_dir
def command(
    runs: tuple[str, ...],
    older_than: str | None,
    checkpoints: bool,
    yes: bool,
    cluster: str | None,
    runs_dir: str | None,
) -> int:
    """Show what runs take up, and remove what is not needed.

    Nothing is removed without --yes, and then only of the runs that you name or
    that are older than you say. Runs that wait or run are left alone. A run is
    removed whole, model and logs included; with --checkpoints it keeps all that
    status, result, report and compare read.

    \b
    hpcdl clean
    hpcdl clean --checkpoints --older-than 7d --yes
    hpcdl clean k3f9 'try-*' --yes
    """
    from hpcdl.errors import UserError
    from hpcdl.run.cleaning import removal, remove

    if yes and not runs and older_than is None:
        advice = "Name them, or say --older-than 30d; hpcdl clean alone only shows what there is"
        raise UserError(f"which runs? {advice}")
    chosen = options.choose(runs, cluster, runs_dir)
    if older_than is not None:
        latest = since_time(older_than, time.time())
        chosen = [run for run in chosen if run.created() < latest]
    removals = [removal(run, checkpoints) for run in chosen]
    if not removals:
        options.say("no run fits")
        return 0
    for line in _table(removals):
        click.echo(line)
    free = [what for what in removals if not what.kept and what.folders]
    size = disk_use(sum(what.size_bytes for what in free))
    runs_freed = several(len(free), "run")
    if not yes:
        advice = "nothing was removed (--yes removes it)"
        options.say(f"{size} in {runs_freed} could be freed; {advice}")
        return 0
    for what in free:
        remove(what)
    options.say(f"{size} in {runs_freed} freed")
    named = any(not is_pattern(text) for text in runs)
    some_stay = any(what.kept for what in removals)
    return 1 if named and some_stay else 0


def _table(removals: list[Removal]) -> list[str]:
    cells = [["RUN", "STATE", "SIZE", "NOTE"]]
    for what in removals:
        note = f"kept: {what.kept}" if what.kept else ""
        cells.append([what.run.name, what.state, disk_use(what.size_bytes), note])
    return aligned(cells)
