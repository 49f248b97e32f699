"""All checks, in the order in which people read them, and the one call that makes them."""

from __future__ import annotations

from dataclasses import replace

from hpcdl.preflight import Check, Report, Subject, check
from hpcdl.preflight.data import data
from hpcdl.preflight.filesystem import places
from hpcdl.preflight.hostpython import host_python
from hpcdl.preflight.image import image, image_here
from hpcdl.preflight.limits import account, partition, qos, size, time_limit, trial
from hpcdl.preflight.packages import packages
from hpcdl.preflight.scaling import scaling
from hpcdl.preflight.script import script
from hpcdl.preflight.thispython import this_python
from hpcdl.preflight.visible import visible
from hpcdl.preflight.weights import weights
from hpcdl.scheduler import site

_PYTHON = "this Python"
_TRIAL = "sbatch --test-only"
SITE = [
    ("account", account),
    ("partition", partition),
    ("QoS", qos),
    ("time", time_limit),
    ("size", size),
]
CHECKS: list[tuple[str, Check]] = [
    *SITE,
    ("image", image),
    ("packages", packages),
    ("data", data),
    ("script", script),
    ("image values", scaling),
    ("weights", weights),
    ("paths", visible),
    ("host Python", host_python),
    ("file system", places),
    (_TRIAL, trial),
]
LOCAL: list[tuple[str, Check]] = [
    ("image", image_here),
    ("packages", packages),
    (_PYTHON, this_python),
    ("data", data),
    ("script", script),
    ("weights", weights),
    ("paths", visible),
    ("file system", places),
]


def check_all(subject: Subject) -> Report:
    """Make every check that this job needs."""
    submission = subject.submission
    job, local = submission.job, submission.backend == "local"
    has = {
        "packages": bool(job.packages or job.pythonpath),
        "data": subject.submission.spec is not None,
        "weights": bool(
            subject.submission.job.script or hasattr(subject.submission.job.model, "backbone")
        ),
        "image values": _function(subject),
        "script": bool(subject.submission.job.script or _function(subject)),
        "paths": bool(job.script or job.functions or subject.submission.unseen),
    }
    if local:
        container = submission.plan.image is not None
        has.update({"image": container, _PYTHON: not container})
        has.update({name: has[name] and container for name in ("script", "paths")})
    checks = LOCAL if local else CHECKS
    report = check(subject, [(name, function) for name, function in checks if has.get(name, True)])
    if any(name in dict(SITE) for name, _ in report.findings):
        site.forget()
    if any(name in dict(SITE) and finding.blocks for name, finding in report.findings):
        report = _without_echo(report)
    return report


def check_python(subject: Subject) -> Report:
    """The one check before a local run: it starts at once and reports the rest itself."""
    if subject.submission.plan.image is not None:
        return check(subject, [])
    return check(subject, [(_PYTHON, this_python)])


def _without_echo(report: Report) -> Report:
    """SLURM refuses a script for one reason at a time, which the checks of the site have said already: a note only."""
    echoes = [finding.cause for name, finding in report.findings if name == _TRIAL]
    findings = [(name, finding) for name, finding in report.findings if name != _TRIAL]
    return replace(report, findings=findings, notes=[*report.notes, *echoes])


def _function(subject: Subject) -> bool:
    return hasattr(subject.submission.job.model, "function")
