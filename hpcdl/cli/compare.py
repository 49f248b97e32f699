"""``hpcdl compare``: several runs side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import completion, options

if TYPE_CHECKING:
    from hpcdl.report.comparison import Comparison

_WIDEST = 40  # characters of a value


@click.command(short_help="Lay runs side by side.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=completion.runs)
@options.cluster
@options.runs_dir
@click.option(
    "--html",
    metavar="FILE",
    help="Write it as a page as well, with the curves in one drawing.",
)
@options.show_env
@options.as_json
def command(
    runs: tuple[str, ...],
    cluster: str | None,
    runs_dir: str | None,
    html: str | None,
    show_env: bool,
    as_json: bool,
) -> None:
    """Lay runs side by side: accuracy, parameters, depth, time, GPU hours.

    Below, what cannot be compared and why, and the keys in which their jobs
    differ. The best of a row has a star, where the runs can be compared in it.

    \b
    hpcdl compare k3f9 p0aa
    hpcdl compare k3f9 p0aa --html compare.html
    """
    from hpcdl.report.comparison import compare

    compared = compare([options.find(run, cluster, runs_dir) for run in runs], show_env)
    if html is not None:
        from hpcdl.cli.report import write_page
        from hpcdl.report.comparison_page import comparison_page

        options.say(f"written: {write_page(Path(html), comparison_page(compared))}")
    if as_json:
        click.echo(json.dumps(_plain(compared), indent=2))
        return
    table = [["", *compared.labels]]
    for row in compared.rows:
        cells = [_starred(text, n in row.best) for n, text in enumerate(row.texts)]
        table.append([row.name, *cells])
    differing = [["JOB"]]
    for key, values in compared.differences.items():
        differing.append([key, *map(short, values)])
    tables = [table, differing] if compared.differences else [table]
    _print(tables, compared.notes)


def short(value: Any) -> str:
    """A value of a job file on one line."""
    text = "–" if value is None else str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


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
        "differences": compared.differences,
    }


def _starred(text: str, best: bool) -> str:
    return f"{text} *" if best else text


def _print(tables: list[list[list[str]]], notes: list[str]) -> None:
    """Tables below each other, their columns under each other; notes after the first one."""
    lines = [line for table in tables for line in table]
    widths: dict[int, int] = {}
    for line in lines:
        for n, cell in enumerate(line):
            widths[n] = max(widths.get(n, 0), len(cell))
    for table in tables:
        if table is not tables[0]:
            click.echo()
        for line in table:
            text = "  ".join(cell.ljust(widths[n]) for n, cell in enumerate(line))
            click.echo(text.replace("\u00a0", " ").rstrip())
        if table is tables[0] and notes:
            click.echo()
            for note in notes:
                click.echo(note.replace("\u00a0", " "))
