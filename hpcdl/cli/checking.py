"""Checks a submission for ``check`` and ``submit``, and lays out the findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcdl.contract.tables import aligned
from hpcdl.formats import several

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.preflight import Check, Report
    from hpcdl.submission.prepare import Submission

_WIDTH = 88  # of the report, in characters


def check_submission(
    submission: Submission,
    cluster: Cluster,
    python_only: bool = False,
    more: Sequence[tuple[str, Check]] = (),
) -> tuple[Report, list[str]]:
    """Make every check that a submission needs.

    Args:
        submission: what would be sent.
        cluster: the profile it was made with.
        python_only: check only whether this machine's Python has what a local run imports.
        more: checks, by name, that a sweep needs besides.

    Returns:
        the report, and for each of its findings the place that it is about.
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
    if submission.plan.program.on_host:
        from hpcdl.cli.step_command import words_fit

        more = [*more, ("command", words_fit)]
    report = checks(Subject(submission, cluster), more)
    places = [origin(finding, submission.job, cluster) for _, finding in report.findings]
    return report, places


def report_lines(
    title: str, report: Report, places: list[str], what: str = "job file"
) -> list[str]:
    """The whole report for people.

    Problems come first, each with its fix, then checks that could not be made, then those that
    passed.

    Args:
        title: what was checked, and where it would run.
        report: the report.
        places: the place of each finding.
        what: what was read, which is in order as far as that goes.
    """
    verdict = verdict_of(report)
    verdict_width = max(len(verdict) + 2, _WIDTH - len(title))
    passed = f" ✓ {', '.join([what, *report.passed])}"
    time_width = max(8, _WIDTH - len(passed))
    time = f"{report.seconds:.1f} s"
    return [
        f"{title}{verdict:>{verdict_width}}",
        "",
        *problem_lines(report, places),
        f"{passed}{time:>{time_width}}",
        *(f"   {note}" for note in report.notes),
    ]


def problem_lines(report: Report, places: list[str]) -> list[str]:
    """Problems with their fixes, warnings, and checks that could not be made."""
    problems, warnings = [], []
    for (name, finding), place in zip(report.findings, places, strict=True):
        text = f"{finding.cause}   ({place})"
        if finding.blocks:
            problems += [[f" ✗ {name}", text], ["", finding.fix]]
        else:
            warnings += [[f" ! {name}", text], ["", finding.fix]]
    lines = aligned([*problems, *warnings])
    skipped: dict[str, list[str]] = {}  # names, by reason
    for name, reason in report.skipped:
        skipped.setdefault(reason, []).append(name)
    for reason, names in skipped.items():
        lines.append(f" - {', '.join(names)}: not checked, {reason}")
    return lines


def could_run(report: Report) -> bool | None:
    """Whether the job could run; None if most of the checks could not be made."""
    if report.blocks:
        return False
    if 2 * len(report.skipped) > _checks(report):
        return None
    return True


def verdict_of(report: Report) -> str:
    """The outcome in a few words."""
    problems = sum(finding.blocks for _, finding in report.findings)
    if problems:
        return f"{several(problems, 'problem')}, nothing was submitted"
    skipped, checks = len(report.skipped), _checks(report)
    if could_run(report) is None:
        return f"no problem found, but {skipped} of {checks} checks could not be made"
    if skipped:
        return f"could run, as far as {checks - skipped} of {checks} checks can tell"
    return "could run"


def _checks(report: Report) -> int:
    """How many checks the job needs."""
    names = set(report.passed)
    names.update(name for name, _ in report.findings)
    names.update(name for name, _ in report.skipped)
    return len(names)
