"""``hpcdl export``: what a run's model was exported as."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from hpcdl.cli import options
from hpcdl.contract.tables import aligned
from hpcdl.errors import UserError


@click.command(short_help="Show what a run's model was exported as.")
@options.run_name
@options.as_json
def command(run_name: str, places: options.Places, as_json: bool) -> None:
    """Show what a run's model was exported as, with sizes and what was measured.

    Accuracy and agreement are on test images; agreement is the share of them
    that get the answer of the trained model. A kind that could not be made is
    listed with its reason. A job file says which kinds: export: [serving, int8].

    \b
    hpcdl export k3f9
    hpcdl export k3f9 --json
    """
    from hpcdl.report import exports
    from hpcdl.run.exported import read_exported

    run = options.find(run_name, places)
    every = read_exported(run.paths)
    if as_json:
        click.echo(json.dumps([asdict(exported) for exported in every], indent=2))
        return
    if not every:
        raise UserError(
            f"{run.paths.root} has no exported model: write export: [serving, tflite, int8] into "
            "its job file and submit it again"
        )
    made = exports.rows(every)
    if made:
        for line in aligned([list(exports.TITLES), *made]):
            click.echo(line.replace("\u00a0", " "))
    for sentence in exports.refused(every):
        click.echo(f"not exported: {sentence}")
    click.echo(f"in {run.paths.export}")
