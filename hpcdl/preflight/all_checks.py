"""The list of all checks, in the order in which people read them, and what makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hpcdl.preflight import Check, Report, Subject, check
from hpcdl.preflight.data import data
from hpcdl.preflight.earlier_runs import earlier_runs, has_earlier_runs
from hpcdl.preflight.filesystem import file_system
from hpcdl.preflight.gpu_budget import gpu_budget, has_budget
from hpcdl.preflight.hostpython import host_python
from hpcdl.preflight.image import image, image_here
from hpcdl.preflight.limits import account, partition, qos, time_limit
from hpcdl.preflight.node_size import size
from hpcdl.preflight.other_runs import has_other_runs, other_runs
from hpcdl.preflight.packages import packages
from hpcdl.preflight.scaling import scaling
from hpcdl.preflight.script import script
from hpcdl.preflight.thispython import this_python
from hpcdl.preflight.trial import TRIAL, trial
from hpcdl.preflight.visible import visible
from hpcdl.preflight.weights import weights
from hpcdl.scheduler import ask_site


@dataclass(frozen=True)
class NamedCheck:
    """A check in the list.

    Args:
        name: how reports call it.
        check: the check.
        needed: whether a job needs it.
    """

    name: str
    check: Check
    needed: Callable[[Subject], bool] = lambda subject: True


def _has_packages(subject: Subject) -> bool:
    return bool(subject.job.packages or subject.job.pythonpath)


def _has_data(subject: Subject) -> bool:
    return subject.spec is not None


def _has_model_function(subject: Subject) -> bool:
    return hasattr(subject.job.model, "function")


def _has_script(subject: Subject) -> bool:
    return bool(subject.job.script) or _has_model_function(subject)


def _may_use_weights(subject: Subject) -> bool:
    return bool(subject.job.script) or hasattr(subject.job.model, "backbone")


def _names_paths(subject: Subject) -> bool:
    job = subject.job
    return bool(job.script or job.functions or subject.submission.unseen)


def _in_container(subject: Subject) -> bool:
    return subject.plan.container is not None


def _has_script_in_container(subject: Subject) -> bool:
    return _has_script(subject) and _in_container(subject)


def _names_paths_in_container(subject: Subject) -> bool:
    return _names_paths(subject) and _in_container(subject)


def _without_container(subject: Subject) -> bool:
    return subject.plan.container is None and not subject.plan.program.on_host


SITE = [
    NamedCheck("account", account),
    NamedCheck("partition", partition),
    NamedCheck("QoS", qos),
    NamedCheck("time", time_limit),
    NamedCheck("size", size),
]
EARLIER_RUNS = NamedCheck("earlier runs", earlier_runs, has_earlier_runs)
CHECKS = [
    *SITE,
    NamedCheck("budget", gpu_budget, has_budget),
    EARLIER_RUNS,
    NamedCheck("image", image, _in_container),
    NamedCheck("packages", packages, _has_packages),
    NamedCheck("data", data, _has_data),
    NamedCheck("models of other runs", other_runs, has_other_runs),
    NamedCheck("script", script, _has_script),
    NamedCheck("image values", scaling, _has_model_function),
    NamedCheck("weights", weights, _may_use_weights),
    NamedCheck("paths", visible, _names_paths),
    NamedCheck("host Python", host_python),
    NamedCheck("file system", file_system),
    NamedCheck(TRIAL, trial),
]
THIS_PYTHON = NamedCheck("this Python", this_python, _without_container)
LOCAL = [
    EARLIER_RUNS,
    NamedCheck("image", image_here, _in_container),
    NamedCheck("packages", packages, _has_packages),
    THIS_PYTHON,
    NamedCheck("data", data, _has_data),
    NamedCheck("models of other runs", other_runs, has_other_runs),
    NamedCheck("script", script, _has_script_in_container),
    NamedCheck("weights", weights, _may_use_weights),
    NamedCheck("paths", visible, _names_paths_in_container),
    NamedCheck("file system", file_system),
]


def check_all(subject: Subject, more: Sequence[tuple[str, Check]] = ()) -> Report:
    """Make every check that this job needs.

    Args:
        subject: what is checked.
        more: checks, by name, that a sweep needs besides, or instead of the one with this name.
    """
    checks = LOCAL if subject.submission.backend == "local" else CHECKS
    names_of_more = {name for name, _ in more}
    of_job = [named for named in checks if named.name not in names_of_more]
    report = _make(subject, of_job, more)
    names = {named.name for named in SITE}
    about_site = [finding for name, finding in report.findings if name in names]
    if about_site:
        ask_site.forget()  # the site may allow by then what it does not allow now
    if any(finding.blocks for finding in about_site):
        return without_trial(report)
    return report


def check_python(subject: Subject, more: Sequence[tuple[str, Check]] = ()) -> Report:
    """Make the one check before a local run. Such a run starts at once and reports the rest.

    Args:
        subject: what is checked.
        more: checks, by name, that a sweep needs besides.
    """
    return _make(subject, [THIS_PYTHON], more)


def _make(
    subject: Subject, checks: Sequence[NamedCheck], more: Sequence[tuple[str, Check]]
) -> Report:
    """Make those checks that the job needs."""
    needed = [(named.name, named.check) for named in checks if named.needed(subject)]
    return check(subject, [*needed, *more])


def without_trial(report: Report) -> Report:
    """The report with the words of SLURM's own test as notes.

    SLURM gives one reason when it refuses a script, and other checks have reported that reason.
    """
    findings, notes = [], list(report.notes)
    for name, finding in report.findings:
        if name == TRIAL:
            notes.append(finding.cause)
        else:
            findings.append((name, finding))
    return replace(report, findings=findings, notes=notes)
