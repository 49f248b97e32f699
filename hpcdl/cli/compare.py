"""``hpcdl compare``: several runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.report.comparison import Comparison

_WIDEST = 40  # characters of a value


@click.command(short_help="Lay runs side by side.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@options.cluster
@options.runs_dir
@click.option("--html", metavar="FILE", help="Write it as a page as well, with the curves in one drawing.")
@options.as_json
def command(runs: tuple[str, ...], cluster: str | None, runs_dir: str | None, html: str | None, as_json: bool) -> None:
    """Lay runs side by side: accuracy, parameters, depth, time, GPU hours.

    Below, the keys in which their jobs differ. The best of a row has a star.

    \b
    hpcdl compare k3f9 p0aa
    hpcdl compare k3f9 p0aa --html compare.html
    """
    from hpcdl.report.comparison import compare

    compared = compare([options.find(run, cluster, runs_dir) for run in runs])
    if html is not None:
        from hpcdl.cli.report import write_page
        from hpcdl.report.sidebyside import comparison_page

        options.say(f"written: {write_page(Path(html), comparison_page(compared))}")
    if as_json:
        click.echo(json.dumps(_plain(compared), indent=2))
        return
    table = [[row.name, *(_starred(text, n in row.best) for n, text in enumerate(row.texts))] for row in compared.rows]
    differing = [[key, *map(short, values)] for key, values in compared.differences.items()]
    _print([["", *compared.labels], *table], [["JOB"], *differing] if differing else [])


def short(value: Any) -> str:
    """A value of a job file on one line."""
    text = "–" if value is None else str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _plain(compared: Comparison) -> dict[str, Any]:
    values = [
        {"run": str(one.run.paths.root), "name": one.name, **{row.key: row.values[n] for row in compared.rows}}
        for n, one in enumerate(compared.runs)
    ]
    return {"runs": values, "differences": compared.differences}


def _starred(text: str, best: bool) -> str:
    return f"{text} *" if best else text


def _print(*tables: list[list[str]]) -> None:
    """Tables below each other, their columns under each other."""
    lines = [line for table in tables for line in table]
    places = range(max(len(line) for line in lines))
    widths = [max(len(line[n]) for line in lines if n < len(line)) for n in places]
    for table in tables:
        for line in table:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))
            click.echo(text.replace("\u00a0", " ").rstrip())
        if table is not tables[-1] and tables[-1]:
            click.echo()
