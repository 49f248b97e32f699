"""Checks a submission for ``check`` and ``submit``, and lays out what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.contract.tables import aligned
from hpcdl.formats import several

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.preflight import Report
    from hpcdl.submission.send import Submission

_WIDTH = 88


def checked(
    submission: Submission, site: Cluster, python_only: bool = False
) -> tuple[Report, list[str]]:
    """Make every check that a submission needs.

    Args:
        submission: what would be sent.
        site: the profile it was made with.
        python_only: look only whether this machine's Python has what a local run imports.

    Returns:
        the report, and for each of its findings where it comes from.
    """
    from hpcdl.cli.options import say
    from hpcdl.preflight import Subject
    from hpcdl.preflight.all_checks import check_all, check_python
    from hpcdl.preflight.ask_image import is_known
    from hpcdl.preflight.origin import origin

    container = submission.plan.container
    if container is not None and not python_only and not is_known(submission.plan):
        say(f"looking into {container.image}, once: some seconds")
    checks = check_python if python_only else check_all
    report = checks(Subject(submission, site))
    return report, [origin(finding, submission.job, site) for _, finding in report.findings]


def table(title: str, report: Report, places: list[str]) -> list[str]:
    """The report for people: problems first, each with its fix, then what was not looked at, and what is well."""
    verdict = verdict_of(report)
    passed = ", ".join(["job file", *report.passed])
    return [
        f"{title}{verdict:>{max(len(verdict) + 2, _WIDTH - len(title))}}",
        "",
        *rows(report, places),
        f" ✓ {passed}{f'{report.seconds:.1f} s':>{max(8, _WIDTH - 3 - len(passed))}}",
        *(f"   {note}" for note in report.notes),
    ]


def could_run(report: Report) -> bool | None:
    """Whether the job could run; None if most of the checks could not be made."""
    if report.blocks:
        return False
    if 2 * len(report.skipped) > _checks(report):
        return None
    return True


def verdict_of(report: Report) -> str:
    """The outcome in a few words."""
    blocking = sum(finding.blocks for _, finding in report.findings)
    if blocking:
        return f"{several(blocking, 'problem')}, nothing was submitted"
    skipped, checks = len(report.skipped), _checks(report)
    if could_run(report) is None:
        return f"nothing found wrong, but {skipped} of {checks} checks could not be made"
    if skipped:
        return f"could run, as far as {checks - skipped} of {checks} checks can tell"
    return "could run"


def _checks(report: Report) -> int:
    """How many checks the job needs."""
    found_something = {name for name, _ in report.findings}
    return len(found_something.union(report.passed, [name for name, _ in report.skipped]))


def rows(report: Report, places: list[str]) -> list[str]:
    """What is not well: problems with their fixes, warnings, and what was not looked at."""
    blocking, warnings = [], []
    for (name, finding), place in zip(report.findings, places, strict=True):
        text = f"{finding.cause}   ({place})"
        if finding.blocks:
            blocking += [[f" ✗ {name}", text], ["", finding.fix]]
        else:
            warnings += [[f" ! {name}", text], ["", finding.fix]]
    lines = aligned([*blocking, *warnings])
    for reason in dict.fromkeys(reason for _, reason in report.skipped):
        names = ", ".join(name for name, why in report.skipped if why == reason)
        lines.append(f" - {names}: not checked, {reason}")
    return lines
