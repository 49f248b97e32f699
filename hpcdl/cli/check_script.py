"""``hpcdl check`` of a batch script: the same table, with the script's lines as places."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.adopt import Adopted
    from hpcdl.adopt.as_job import InMemory
    from hpcdl.cluster import Cluster
    from hpcdl.errors import Problem
    from hpcdl.preflight import Finding, Report, Subject

# How a job's words are called in a batch script
_WORDS = (
    (r"--set cluster\.(account|partition|qos|clusters)=", r"#SBATCH --\1="),
    (r"--set resources\.time=", "#SBATCH --time="),
    (r"--set resources\.nodes=", "#SBATCH --nodes="),
    (r"--set resources\.gpus=", "#SBATCH --gpus-per-node="),
    (r"--set resources\.cpus=", "#SBATCH --cpus-per-task="),
    (r"\bresources\.time\b", "--time"),
    (r"\bresources\.nodes\b", "--nodes"),
    (r"\bresources\.gpus\b", "--gpus-per-node"),
    (r"\bresources\.cpus\b", "--cpus-per-task"),
    (r"\bresources\.memory_gb\b", "--mem"),
    (r"\b(correct|look at) binds in the profile\b", r"\1 --bind in that line"),
    (r"\bthe profile names no partition\b", "the script names no partition"),
    (r"read what would be sent: hpcdl submit --dry-run", "correct that #SBATCH line"),
    (r", or correct it in the profile", ""),
    (r"\bleave gpu_type out\b", "leave the type of the GPUs out: #SBATCH --gres=gpu:N"),
    (r"--set cluster\.gpu_type=(\S+)", r"#SBATCH --gres=gpu:TYPE:N with TYPE \1"),
)
# The check that a key's problem belongs to
_CHECK_OF_KEY = {
    "resources": "size",
    "script": "script",
    "args": "script",
    "workdir": "file system",
    "container": "image",
    "pythonpath": "script",
}


@dataclass(frozen=True)
class _Row:
    """A finding with the name of its check and its place."""

    check: str
    finding: Finding
    place: str


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
) -> tuple[Report, list[_Row], str]:
    """The report with the script's own findings first, its rows, and the cluster's name."""
    from hpcdl.preflight import Report

    report = Report([], [], [], [], 0.0)
    if in_memory is None:
        rows = _own_rows(adopted, None)
        return replace(report, findings=_pairs(rows)), rows, "this cluster"
    problems = list(in_memory.problems)
    cluster = _cluster(adopted, in_memory, settings, problems)
    subject = _subject(adopted, in_memory, cluster, problems)
    if subject is not None:
        from hpcdl.preflight.batch_script import check_batch_script

        _say_slow(subject, in_memory)
        report = check_batch_script(subject, _reasons(adopted, in_memory))
    found = _rows(report, adopted, cluster)
    told = {(row.check, row.place) for row in found}
    rows = _own_rows(adopted, subject)
    rows += [row for row in _rows_of_problems(problems) if (row.check, row.place) not in told]
    rows += found
    names = {row.check for row in rows}
    passed = list(filter(lambda name: name not in names, report.passed))
    return replace(report, findings=_pairs(rows), passed=passed), rows, cluster.name


def _pairs(rows: list[_Row]) -> list[tuple[str, Finding]]:
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
        kept.pop(_first_key(problem), None)
    return cluster_of(adopted, replace(job, cluster=kept), profile, settings.sets)


def _subject(
    adopted: Adopted, in_memory: InMemory, cluster: Cluster, problems: list[Problem]
) -> Subject | None:
    """What is checked. Of what the profile refuses, SLURM is asked all the same."""
    from hpcdl.adopt.as_job import without_limits
    from hpcdl.errors import JobError
    from hpcdl.preflight import Subject

    for site in (cluster, without_limits(cluster, in_memory.job)):
        try:
            return Subject(_submission(adopted, in_memory, site), site)
        except JobError as error:
            problems += error.problems
    return None


def _submission(adopted: Adopted, in_memory: InMemory, cluster: Cluster) -> Any:
    """The script as a submission: SLURM gets its own text."""
    from hpcdl.submission.send import prepare

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
        reasons["image"] = "the program runs without a container"
        if adopted.runtime is not None:
            reasons["image"] = "which image this is, is not known before the script runs"
    if "time" not in adopted.document.items_of("resources"):
        reasons["time"] = "the script names no time limit: the partition's own counts"
    return reasons


def _own_rows(adopted: Adopted, subject: Subject | None) -> list[_Row]:
    """What the script says by itself."""
    script, folder = adopted.script, adopted.folder
    from hpcdl.batchscript.findings import Surroundings, findings
    from hpcdl.preflight import Finding
    from hpcdl.preflight.batch_script import slurm_version

    around = Surroundings(
        slurm_version=None if subject is None else slurm_version(subject),
        home=Path.home(),
        folder=folder,
    )
    rows = []
    for item in findings(script, around):
        cause, fix = _printable(item.cause), _printable(item.fix)
        finding = Finding(cause, fix, "job", "", item.blocks)
        rows.append(_Row(item.code, finding, f"{script.shown}:{item.line}"))
    return rows


def _rows_of_problems(problems: list[Problem]) -> list[_Row]:
    """Values of the script that cannot be used."""
    from hpcdl.preflight import Finding

    rows = []
    for problem in problems:
        key = _first_key(problem)
        check = (
            "time" if problem.key == "resources.time" else _CHECK_OF_KEY.get(key, "batch script")
        )
        cause, _, fix = problem.message.partition(": ")
        if problem.key.startswith("resources."):
            cause = f"{problem.key} {cause}"
        otherwise = "ask for less" if key == "resources" else "correct that line"
        finding = Finding(_in_words(cause), _in_words(fix) or otherwise, "job", problem.key)
        rows.append(_Row(check, finding, problem.where))
    return rows


def _first_key(problem: Problem) -> str:
    """The key of a section, of one that is in it."""
    return problem.key.partition(".")[0].partition("[")[0]


def _rows(report: Report, adopted: Adopted, cluster: Cluster) -> list[_Row]:
    """What the checks found, in a batch script's words."""
    shown = adopted.script.shown
    places = {**adopted.document.places(), "cluster": shown}
    rows = []
    for check, finding in report.findings:
        key = f"cluster.{finding.key}" if finding.source == "profile" else finding.key
        place = finding.source
        if finding.source in ("job", "profile"):
            place = places.get(key) or cluster.places.get(finding.key, "")
            place = place if place.startswith((f"{shown}:", "--set")) else shown
        changed = replace(finding, cause=_in_words(finding.cause), fix=_in_words(finding.fix))
        rows.append(_Row(check, changed, place))
    return rows


def _printable(text: str) -> str:
    """A text without the bytes of another encoding, which no terminal takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _in_words(text: str) -> str:
    """A text about a job in a batch script's words."""
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return _printable(text)
