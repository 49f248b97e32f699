"""``hpcdl check``: every reason why a job could not run, before it is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from hpcdl.cli import completion, options

if TYPE_CHECKING:
    from hpcdl.preflight import Finding, Report


@click.command(
    cls=options.JobCommand, short_help="Find out whether a job could run, and send nothing."
)
@click.argument("job", metavar="JOB", shell_complete=completion.jobs)
@options.backend
@options.cluster
@options.sets
@options.size
@options.runs_dir
@options.as_json
def command(
    job: str,
    backend: str,
    cluster: str | None,
    sets: tuple[str, ...],
    runs_dir: str | None,
    as_json: bool,
) -> int:
    """Find out whether a job could run, and send nothing.

    Everything is looked at that can be seen from here: what the site allows,
    the image, the data, the script, the worker's Python, the folders, and what
    SLURM says of the very script. Every problem is shown at once, with what to
    do. Exit code 2 if there is one; a line with "!" is a warning. Exit code 1 if
    nothing is wrong as far as seen, but most checks could not be made.

    JOB is a job file, a script or notebook (its arguments follow --), or a
    shipped job.

    \b
    hpcdl check mnist_cnn.yaml --cluster mycluster.yaml
    hpcdl check mnist_cnn -c marenostrum5 --set cluster.account=nct00 --set resources.time=04:00:00
    hpcdl check MNIST.py -c mycluster.yaml --gpus 1 --time 00:30:00
    hpcdl check mnist_cnn.yaml -c mycluster.yaml --json
    hpcdl check digits_cnn --backend local
    """
    from hpcdl.cli.checking import checked, could_run, table
    from hpcdl.submission.send import prepare

    default = "local" if backend == "local" else None
    loaded, site = options.load(job, cluster, sets, default)
    submission = prepare(loaded, site, backend, runs_dir)
    for note in submission.notes:
        options.say(note)
    report, places = checked(submission, site)
    if as_json:
        click.echo(json.dumps(_plain(loaded.name, site.name, report, places), indent=2))
    else:
        for line in table(f"{loaded.name} on {site.name}", report, places):
            click.echo(line)
    return {True: 0, False: 2, None: 1}[could_run(report)]


def _plain(job: str, cluster: str, report: Report, places: list[str]) -> dict[str, object]:
    from hpcdl.cli.checking import could_run

    def row(name: str, finding: Finding, place: str) -> dict[str, object]:
        return {"check": name, **vars(finding), "where": place}

    pairs = zip(report.findings, places, strict=True)
    return {
        "job": job,
        "cluster": cluster,
        "could_run": could_run(report),
        "findings": [row(name, finding, place) for (name, finding), place in pairs],
        "passed": ["job file", *report.passed],
        "skipped": [{"check": name, "reason": reason} for name, reason in report.skipped],
        "notes": report.notes,
        "seconds": round(report.seconds, 3),
    }
