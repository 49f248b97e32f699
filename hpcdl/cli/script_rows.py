"""The findings on a batch script as rows of the table: each with its check and its line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.cli.script_words import in_words, printable

if TYPE_CHECKING:
    from hpcdl.adopt import Adopted
    from hpcdl.batchscript.model import BatchScript
    from hpcdl.cluster import Cluster
    from hpcdl.errors import Problem
    from hpcdl.preflight import Finding, Report, Subject

# The option that a check is about
OPTION_OF_CHECK = {"account": "account", "partition": "partition", "QoS": "qos"}
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
class Row:
    """A finding with the name of its check and its place."""

    check: str
    finding: Finding
    place: str


def own_rows(adopted: Adopted, subject: Subject | None, is_taken: bool = False) -> list[Row]:
    """What the script says by itself."""
    script, folder = adopted.script, adopted.folder
    from hpcdl.batchscript.findings import Surroundings, findings
    from hpcdl.preflight import Finding
    from hpcdl.preflight.batch_script import slurm_version

    around = Surroundings(
        slurm_version=None if subject is None else slurm_version(subject),
        home=Path.home(),
        folder=folder,
        gpu_vendor=None if subject is None else subject.cluster.gpu_vendor,
        sbatch_takes=is_taken,
    )
    rows = []
    for item in findings(script, around):
        cause, fix = printable(item.cause), printable(item.fix)
        finding = Finding(cause, fix, "job", "", item.blocks)
        rows.append(Row(item.code, finding, f"{script.shown}:{item.line}"))
    return rows


def unlisted_rows(adopted: Adopted, cluster: Cluster, report: Report) -> list[Row]:
    """What the script chooses and the profile does not list, where SLURM has not been asked."""
    from hpcdl.cluster.checks import unlisted
    from hpcdl.preflight import Finding

    check_of_option = {option: check for check, option in OPTION_OF_CHECK.items()}
    places = adopted.document.places()
    rows = []
    for key, name, choices in unlisted(cluster):
        check = check_of_option[key]
        if check in dict(report.skipped):
            cause = f"the profile {cluster.name} does not list {name}: its limits are not known"
            fix = f"nothing, if SLURM has it; the profile lists {', '.join(choices)}"
            finding = Finding(printable(cause), printable(fix), "job", key, False)
            place = places.get(f"cluster.{key}") or adopted.script.shown
            rows.append(Row(check, finding, place))
    return rows


def rows_of_problems(problems: list[Problem], adopted: Adopted) -> list[Row]:
    """Values of the script that cannot be used."""
    from hpcdl.adopt.brought import may_come
    from hpcdl.preflight import Finding

    rows = []
    for problem in problems:
        key = first_key(problem)
        check = (
            "time" if problem.key == "resources.time" else _CHECK_OF_KEY.get(key, "batch script")
        )
        cause, _, fix = problem.message.partition(": ")
        if problem.key.startswith("resources."):
            cause = f"{problem.key} {cause}"
        otherwise = "ask for less" if key == "resources" else "correct that line"
        later = may_come(adopted.script, problem) or _of_image(adopted.script, problem)
        fix = later or in_words(fix) or otherwise
        finding = Finding(in_words(cause), fix, "job", problem.key, not later)
        rows.append(Row(check, finding, problem.where))
    return rows


def _of_image(script: BatchScript, problem: Problem) -> str:
    """What to do about a missing file that may lie in pyxis's image; empty for any other."""
    from hpcdl.batchscript import pyxis

    if problem.key not in ("script", "workdir") or not problem.message.startswith("there is no "):
        return ""
    for program in script.programs:
        is_here = problem.where == f"{script.shown}:{program.command.line}"
        if is_here and program.container is None and pyxis.is_used(script, program):
            return "see whether the image has it: pyxis's are not looked into"
    return ""


def first_key(problem: Problem) -> str:
    """The key of a section, of one that is in it."""
    return problem.key.partition(".")[0].partition("[")[0]


def rows_of_report(report: Report, adopted: Adopted, cluster: Cluster) -> list[Row]:
    """What the checks found, in a batch script's words."""
    from hpcdl.cli.refused_line import refused_line
    from hpcdl.preflight.trial import TRIAL
    from hpcdl.text import one_line

    shown = adopted.script.shown
    places = {**adopted.document.places(), "cluster": shown}
    rows = []
    for check, finding in report.findings:
        key = f"cluster.{finding.key}" if finding.source == "profile" else finding.key
        place = finding.source
        if finding.source in ("job", "profile"):
            place = (
                places.get(key)
                or places.get(key.partition("[")[0])
                or cluster.places.get(finding.key, "")
            )
            place = place if place.startswith((f"{shown}:", "--set")) else shown
        cause, fix = in_words(finding.cause), in_words(finding.fix)
        refused = refused_line(adopted.script, finding.cause) if check == TRIAL else None
        if refused is not None:
            place, fix = f"{shown}:{refused.line}", f"correct that line: {one_line(refused.text)}"
        if adopted.script.directive("gpus-per-node"):
            fix = fix.replace("#SBATCH --gres=gpu:", "#SBATCH --gpus-per-node=")
        rows.append(Row(check, replace(finding, cause=cause, fix=fix), place))
    return rows


def without_secrets(rows: list[Row]) -> list[Row]:
    """The findings without what looks like a secret in the lines that they show."""
    from hpcdl.adopt.secrets import hidden

    shown = []
    for item in rows:
        cause, fix = hidden(item.finding.cause), hidden(item.finding.fix)
        shown.append(replace(item, finding=replace(item.finding, cause=cause, fix=fix)))
    return shown
