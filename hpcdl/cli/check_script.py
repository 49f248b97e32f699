"""``hpcdl check`` of a batch script: the same table, with the script's lines as places."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.cli.script_rows import (
    OPTION_OF_CHECK,
    Row,
    first_key,
    own_rows,
    rows_of_problems,
    rows_of_report,
    unlisted_rows,
    without_secrets,
)

if TYPE_CHECKING:
    from hpcdl.adopt import Adopted
    from hpcdl.adopt.as_job import InMemory
    from hpcdl.cluster import Cluster
    from hpcdl.errors import Problem
    from hpcdl.preflight import Finding, Report, Subject


def check_script(name: str, settings: options.JobSettings, as_json: bool) -> Report:
    """Check a batch script, and print what was found.

    Args:
        name: the script, as the user calls it.
        settings: what the command line says besides.
        as_json: whether to print JSON.
    """
    from hpcdl.adopt import adopt
    from hpcdl.adopt.as_job import job_of
    from hpcdl.cli.batch_scripts import read

    _require_nothing_of_jobs(name, settings)
    script = read(name)
    adopted = adopt(script)
    if adopted.folder != Path.cwd() or "/" in name:
        options.say(f"{name}: paths as if sbatch were called in {adopted.folder}")
    in_memory = job_of(adopted)
    report, rows, cluster = _checked(adopted, in_memory, settings)
    rows = without_secrets(rows)
    report = replace(report, findings=_pairs(rows))
    places = [row.place for row in rows]
    title = script.value("job-name") or script.path.stem
    if as_json:
        from hpcdl.cli.check import as_json_report

        content = {"job": title, "cluster": cluster, **as_json_report(report, places)}
        content["passed"] = ["batch script", *report.passed]
        click.echo(json.dumps(content, indent=2))
        return report
    from hpcdl.cli.checking import report_lines

    for line in report_lines(f"{title} on {cluster}", report, places, "batch script"):
        click.echo(line)
    return report


def _require_nothing_of_jobs(name: str, settings: options.JobSettings) -> None:
    """Make sure that the command line changes nothing that the script says.

    Raises:
        UserError: it does.
    """
    from hpcdl.errors import UserError
    from hpcdl.text import hpcdl_command

    changes = [text for text in settings.sets if not text.startswith("cluster.")]
    changes += [] if settings.gpus is None else [f"--gpus {settings.gpus}"]
    changes += [] if settings.time is None else [f"--time {settings.time}"]
    changes += options.script_arguments()
    if changes:
        adopt = hpcdl_command("adopt", name, "-o", "job.yaml")
        raise UserError(
            f"{changes[0]} changes a job, and {name} is a batch script: "
            f"change its line, or make a job file of it: {adopt}"
        )


def _checked(
    adopted: Adopted, in_memory: InMemory | None, settings: options.JobSettings
) -> tuple[Report, list[Row], str]:
    """The report without its findings, these as rows, the script's own first, and the cluster."""
    from hpcdl.preflight import Report
    from hpcdl.preflight.trial import TRIAL

    report = Report([], [], [], [], 0.0)
    if in_memory is None:
        rows = own_rows(adopted, None)
        return report, rows, "this cluster"
    problems = list(in_memory.problems)
    cluster = _cluster(adopted, in_memory, settings, problems)
    subject = _subject(adopted, in_memory, cluster, problems)
    if subject is not None:
        from hpcdl.preflight.batch_script import check_batch_script

        _say_slow(subject, in_memory)
        report = check_batch_script(subject, _reasons(adopted, in_memory))
    rows = own_rows(adopted, subject, TRIAL in report.passed)
    rows += unlisted_rows(adopted, cluster, report)
    checked = [
        *filter(lambda item: not _is_told(item, rows), rows_of_report(report, adopted, cluster))
    ]
    places = set(map(_check_and_place, checked))
    for item in rows_of_problems(problems, adopted):
        if _check_and_place(item) not in places:
            rows.append(item)
    rows += checked
    names = _unanswered(rows).union(row.check for row in rows)
    passed = list(filter(lambda name: name not in names, report.passed))
    skipped = list(filter(lambda pair: pair[0] not in names, report.skipped))
    report = replace(report, passed=passed, skipped=skipped)
    return report, rows, cluster.name


def _check_and_place(row: Row) -> tuple[str, str]:
    return row.check, row.place


def _is_told(row: Row, own: list[Row]) -> bool:
    """Whether a value that SLURM does not know is one that stands for the user's own."""
    for other in own:
        value = other.finding.cause.partition(" stands for ")[0]
        if (other.check, other.place) == ("placeholder", row.place) and value in row.finding.cause:
            return True
    return False


def _unanswered(rows: list[Row]) -> set[str]:
    """The checks of options for which the script has no value yet."""
    names = set()
    for row in rows:
        for check, option in OPTION_OF_CHECK.items():
            if row.check == "placeholder" and f" --{option}=" in row.finding.fix:
                names.add(check)
    return names


def _pairs(rows: list[Row]) -> list[tuple[str, Finding]]:
    return [(row.check, row.finding) for row in rows]


def _cluster(
    adopted: Adopted, in_memory: InMemory, settings: options.JobSettings, problems: list[Problem]
) -> Cluster:
    """The cluster, without those values of the script that a profile cannot have.

    Raises:
        ClusterError: the profile itself is wrong.
        UserError: there is no such profile.
    """
    from hpcdl.adopt.as_job import cluster_of
    from hpcdl.cluster import fitting_cluster, named_cluster
    from hpcdl.errors import ClusterError

    profile = named_cluster(settings.cluster) or fitting_cluster()
    job = in_memory.job
    try:
        return cluster_of(adopted, job, profile, settings.sets)
    except ClusterError as error:
        own = error.problems
        if not all(item.where.startswith(f"{job.source}:") for item in own):
            raise
    problems += own
    kept = dict(job.cluster)
    for problem in own:
        kept.pop(first_key(problem), None)
    return cluster_of(adopted, replace(job, cluster=kept), profile, settings.sets)


def _subject(
    adopted: Adopted, in_memory: InMemory, cluster: Cluster, problems: list[Problem]
) -> Subject | None:
    """What is checked. Of what the profile refuses, SLURM is asked all the same."""
    from hpcdl.adopt.as_job import as_far_as_known, without_limits
    from hpcdl.errors import JobError
    from hpcdl.preflight import Subject

    job = in_memory.job
    for site in (as_far_as_known(cluster, job), without_limits(cluster, job)):
        try:
            return Subject(_submission(adopted, in_memory, site), site)
        except JobError as error:
            problems += error.problems
    return None


def _submission(adopted: Adopted, in_memory: InMemory, cluster: Cluster) -> Any:
    """The script as a submission: SLURM gets its own text."""
    from hpcdl.submission.prepare import prepare

    submission = prepare(in_memory.job, cluster)
    return replace(submission, script=adopted.script.text)


def _say_slow(subject: Subject, in_memory: InMemory) -> None:
    from hpcdl.preflight.ask_image import is_known

    container = subject.plan.container
    if container is not None and in_memory.has_image and not is_known(subject.plan):
        options.say(f"looking into {container.image}, once: some seconds")


def _reasons(adopted: Adopted, in_memory: InMemory) -> dict[str, str]:
    """Why checks are not made, by their names."""
    reasons = {}
    if in_memory.has_script and adopted.obstacles:
        first = adopted.obstacles[0]
        reasons["other programs"] = f"line {first.line}: {first.why}"
    if not in_memory.has_script:
        why = "its program is not there"
        if adopted.obstacles:
            first = adopted.obstacles[0]
            why = f"line {first.line}: {first.why}"
        reasons.update(dict.fromkeys(("script", "paths"), why))
    if not in_memory.has_image:
        reasons["image"] = _why_no_image(adopted)
    if "time" not in adopted.document.items_of("resources"):
        given = adopted.script.value("time")
        limit = "the script names no time limit" if given is None else f"{given} is no time limit"
        reasons["time"] = f"{limit}: the partition's own counts"
    return reasons


def _why_no_image(adopted: Adopted) -> str:
    """Why the image is not looked at."""
    from hpcdl.adopt.shells import why_unread
    from hpcdl.batchscript import pyxis

    programs = adopted.script.programs
    if any(pyxis.is_used(adopted.script, program) for program in programs):
        return "hpcdl looks into Apptainer's images only, not into pyxis's"
    if any(program.container is not None for program in programs):
        return "which image this is, is not known before the script runs"
    if any(program.python is not None for program in programs):
        return "the program runs without a container"
    for program in programs:
        if (program.words and not program.words[0].base) or why_unread(program.command):
            return "which program this starts is not known before the script runs"
    return "no container is started"
