"""``hpcdl compare``: several runs, or the best trials of a sweep, side by side."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.contract.tables import aligned
from hpcdl.formats import MISSING, cut
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.report.comparison import Comparison, Row
    from hpcdl.run import Run

_WIDEST = 40  # characters of a value
_BEST = 5  # trials of a sweep


@click.command(short_help="Show runs side by side.")
@options.runs
@options.places
@click.option(
    "--html",
    metavar="FILE",
    help="Write a page as well, with the curves in one drawing.",
)
@options.show_env
@options.as_json
def command(
    runs: tuple[str, ...],
    places: options.Places,
    html: str | None,
    show_env: bool,
    as_json: bool,
) -> None:
    """Show runs side by side: accuracy, parameters, depth, time, GPU hours.

    The best value of a row has a star, if the runs can be compared in it; what
    cannot be compared is listed below, with the reason. Then come the keys in
    which the jobs differ. Of a sweep these are its five best trials.

    Runs that were tested on the same images are also scored together, by the
    mean of their answers; so are the folds of one cross-validation.

    \b
    hpcdl compare k3f9 p0aa
    hpcdl compare SWEEP
    hpcdl compare k3f9 p0aa --html compare.html
    """
    from hpcdl.report.comparison import compare

    chosen: list[Run] = []
    for name in runs:
        chosen += _runs_of(options.find(name, places))
    compared = compare(chosen, show_env)
    if html is not None:
        from hpcdl.cli.report import write_page
        from hpcdl.report.comparison_page import comparison_page

        options.say(f"written: {write_page(Path(html), comparison_page(compared))}")
    if as_json:
        click.echo(json.dumps(_plain(compared), indent=2))
        return
    for line in _lines(compared):
        click.echo(line)


def _runs_of(run: Run) -> list[Run]:
    """The run, or the best trials of a sweep, the best first.

    Raises:
        UserError: no trial of the sweep is done.
    """
    from hpcdl.cli.report import is_sweep

    if not is_sweep(run):
        return [run]
    from hpcdl.errors import UserError
    from hpcdl.report.sweep_facts import read

    facts = read(run)
    trials = facts.trial_runs(_BEST)
    if not trials:
        metric = facts.settings.metric
        raise UserError(
            f"{run.name}: no trial of this sweep is done with a value of {metric}; "
            f"{hpcdl_command('report', run.paths.root, '--text')} shows how far it is"
        )
    return trials


def short(value: Any) -> str:
    """A value of a job file on one line."""
    if value is None:
        return MISSING
    return cut(str(value), _WIDEST)


def _plain(compared: Comparison) -> dict[str, Any]:
    """The comparison for programs; a value that is not a number becomes null."""
    runs = []
    for n, run in enumerate(compared.runs):
        values: dict[str, Any] = {"run": str(run.run.paths.root), "name": run.name}
        for row in compared.rows:
            value = row.values[n]
            is_nan = isinstance(value, float) and not math.isfinite(value)
            values[row.key] = None if is_nan else value
        runs.append(values)
    reasons = {row.key: row.not_compared for row in compared.rows if row.not_compared}
    best = {row.key: sorted(row.best) for row in compared.rows if row.best}
    return {
        "runs": runs,
        "best": best,
        "not_compared": reasons,
        "notes": compared.notes,
        "together": asdict(compared.together) if compared.together else None,
        "differences": compared.differences,
    }


def _lines(compared: Comparison) -> list[str]:
    """The comparison for people: a table of facts, the notes, a table of the jobs' differences."""
    facts = [["", *compared.labels]]
    for row in compared.rows:
        facts.append([row.name, *_cells(row)])
    differences = []
    for key, values in compared.differences.items():
        texts = [short(value) for value in values]
        differences.append([key, *texts])
    if differences:
        differences.insert(0, ["JOB"])
    lines = aligned([*facts, *differences])  # in one go, so that a run has one column in both
    below = lines[len(facts) :]
    lines = lines[: len(facts)]
    if compared.notes:
        lines += ["", *compared.notes]
    if compared.together:
        from hpcdl.report.together import sentence

        lines += ["", sentence(compared.together)]
    if below:
        lines += ["", *below]
    return [line.replace("\u00a0", " ") for line in lines]


def _cells(row: Row) -> list[str]:
    """A row's texts, the best ones with a star."""
    cells = []
    for n, text in enumerate(row.texts):
        cells.append(f"{text} *" if n in row.best else text)
    return cells
