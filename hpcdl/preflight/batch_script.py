"""The checks of somebody's own batch script, which goes to SLURM as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hpcdl.errors import HpcdlError, SchedulerError
from hpcdl.preflight import Check, Finding, Note, Report, Subject, check
from hpcdl.preflight.all_checks import SITE, without_trial
from hpcdl.preflight.as_it_stands import as_it_stands
from hpcdl.preflight.filesystem import file_system
from hpcdl.preflight.image import image
from hpcdl.preflight.script import script
from hpcdl.preflight.sources import sources_of
from hpcdl.preflight.trial import TRIAL, trial
from hpcdl.preflight.visible import visible

_OF_RUNS = ("runs_root", "data_root")  # keys of a run, which a batch script does not make
# Checks in their order, besides those of the site
_CHECKS: dict[str, Check] = {
    "image": image,
    "script": script,
    "paths": visible,
    "file system": file_system,
    TRIAL: trial,
}


def check_batch_script(subject: Subject, reasons: Mapping[str, str]) -> Report:
    """Make the checks that a batch script needs.

    Args:
        subject: the script as a submission: its text is what SLURM would get.
        reasons: why a check cannot be made, by its name.
    """
    checks: dict[str, Check] = {named.name: named.check for named in SITE}
    checks.update(_CHECKS)
    checks["file system"] = _own_folders
    if "image" in reasons and "script" not in reasons:
        checks["script"] = _as_it_stands
    made = []
    for name, function in checks.items():
        made.append((name, _not_made(reasons[name]) if name in reasons else function))
    if "image" in reasons and "script" not in reasons:
        made.append(("imports and names", _not_made(reasons["image"])))
    for name in reasons:
        if name not in checks:
            made.append((name, _not_made(reasons[name])))
    report = check(subject, made)
    names = {named.name for named in SITE}
    if any(finding.blocks for name, finding in report.findings if name in names):
        return without_trial(report)
    return report


def slurm_version(subject: Subject) -> tuple[int, int] | None:
    """SLURM's version here; None where it does not say it."""
    try:
        text = subject.slurm_site.config.get("SLURM_VERSION", "")
    except SchedulerError:
        return None
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _own_folders(subject: Subject) -> Iterator[Finding]:
    """The folders that the script itself names can be used."""
    for finding in file_system(subject):
        if finding.key not in _OF_RUNS and finding.source != "--runs-dir":
            yield finding


def _as_it_stands(subject: Subject) -> Iterator[Finding | Note]:
    """What the program's text says by itself, where no image is there to ask."""
    yield from as_it_stands(subject, sources_of(subject))


def _not_made(reason: str) -> Callable[[Subject], Iterator[Finding | Note]]:
    """A check that says why it is not made."""

    def refuse(subject: Subject) -> Iterator[Finding | Note]:
        raise HpcdlError(reason)
        yield

    return refuse
