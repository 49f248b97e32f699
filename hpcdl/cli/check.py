"""``hpcdl check``: every reason why a job could not run, before it is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.preflight import Finding, Report

_WIDTH = 88


@click.command(short_help="Find out whether a job could run, and send nothing.")
@click.argument("job", metavar="JOB")
@options.cluster
@options.sets
@options.runs_dir
@options.as_json
def command(job: str, cluster: str | None, sets: tuple[str, ...], runs_dir: str | None, as_json: bool) -> int:
    """Find out whether a job could run, and send nothing.

    Everything is looked at that can be seen from here: what the site allows,
    the image, the data, the script, the worker's Python, the folders, and what
    SLURM says of the very script. Every problem is shown at once, with what to
    do. Exit code 2 if there is one; a line with "!" is a warning.

    \b
    hpcdl check mnist_cnn.yaml --cluster mycluster.yaml
    hpcdl check mnist_cnn -c marenostrum5 --set cluster.account=nct00 --set resources.time=04:00:00
    hpcdl check mnist_cnn.yaml -c mycluster.yaml --json
    """
    from hpcdl.cluster import choose_cluster
    from hpcdl.preflight import Subject
    from hpcdl.preflight.order import check_all
    from hpcdl.preflight.origin import Origin
    from hpcdl.submission import prepare

    loaded, site = options.load(job, cluster, sets)
    submission = prepare(loaded, site, "slurm", runs_dir)
    for note in submission.notes:
        options.say(note)
    report = check_all(Subject(submission, site))
    origin = Origin(job, choose_cluster(cluster), sets)
    places = [origin.of(finding) for _, finding in report.findings]
    if as_json:
        click.echo(json.dumps(_plain(loaded.name, site.name, report, places), indent=2))
    else:
        for line in table(f"{loaded.name} on {site.name}", report, places):
            click.echo(line)
    return 2 if report.blocks else 0


def table(title: str, report: Report, places: list[str]) -> list[str]:
    """The report for people: problems first, each with its fix, then what was not looked at, and what is well."""
    blocking = sum(finding.blocks for _, finding in report.findings)
    many = "1 problem" if blocking == 1 else f"{blocking} problems"
    verdict = f"{many}, nothing was submitted" if blocking else "could run"
    lines = [f"{title}{verdict:>{max(len(verdict) + 2, _WIDTH - len(title))}}", ""]
    width = max([len(name) for name, _ in report.findings] or [0]) + 2
    rows = sorted(zip(report.findings, places, strict=True), key=lambda row: not row[0][1].blocks)
    for (name, finding), place in rows:
        lines.append(f" {'✗' if finding.blocks else '!'} {name:<{width}}{finding.cause}   ({place})")
        lines.append(f"   {'':<{width}}{finding.fix}")
    for reason in dict.fromkeys(reason for _, reason in report.skipped):
        names = ", ".join(name for name, why in report.skipped if why == reason)
        lines.append(f" - {names}: not checked, {reason}")
    passed = ", ".join(["job file", *report.passed])
    lines.append(f" ✓ {passed}{f'{report.seconds:.1f} s':>{max(8, _WIDTH - 3 - len(passed))}}")
    lines += [f"   {note}" for note in report.notes]
    return lines


def _plain(job: str, cluster: str, report: Report, places: list[str]) -> dict[str, object]:
    def row(name: str, finding: Finding, place: str) -> dict[str, object]:
        return {"check": name, **vars(finding), "where": place}

    pairs = zip(report.findings, places, strict=True)
    return {
        "job": job,
        "cluster": cluster,
        "could_run": not report.blocks,
        "findings": [row(name, finding, place) for (name, finding), place in pairs],
        "passed": ["job file", *report.passed],
        "skipped": [{"check": name, "reason": reason} for name, reason in report.skipped],
        "notes": report.notes,
        "seconds": round(report.seconds, 3),
    }
