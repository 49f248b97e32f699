"""What a job adds to its image: packages that are installed for it, and folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcdl.cache import cached_sha256
from hpcdl.job.find import shipped_jobs
from hpcdl.packages import manifest, others
from hpcdl.planning import Plan
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.api_names import ROOTS
from hpcdl.text import hpcdl_command

_MOST_LISTED = 10


def packages(subject: Subject) -> Iterator[Finding | Note]:
    """The job's packages are installed, and no folder of ``pythonpath`` has its own TensorFlow.

    `hpcdl env build` refuses packages that hide the image's. The check of the image sees from where
    TensorFlow, Keras and numpy are imported.
    """
    yield from _installed(subject)
    for number, folder in enumerate(subject.plan.environment.pythonpath):
        for name in ROOTS:
            if Path(folder, f"{name}.py").exists() or Path(folder, name, "__init__.py").exists():
                hides = f"its own {name}, which would be imported instead of the image's"
                fix = f"remove or rename it there, so that the image's {name} is used"
                yield Finding(f"{folder} has {hides}", fix, "job", f"pythonpath[{number}]")


def _installed(subject: Subject) -> Iterator[Finding | Note]:
    """The job's packages are installed for its image."""
    plan = subject.plan
    installed = manifest(plan)
    if installed is not None:
        yield Note(f"in addition to the image: {_listed(plan, installed['packages'])}")
        return
    if plan.container is None or not plan.container.overlay:
        return  # the job needs none, or there is no image, as its own check reports
    missing = f"{subject.job.packages} is not installed for {plan.container.image}"
    job_file = os.path.join(subject.job.folder, os.path.basename(plan.source))
    if job_file in map(str, shipped_jobs().values()):
        job_file = os.path.basename(job_file).removesuffix(".yaml")
    fix = f"{hpcdl_command('env', 'build', job_file)}, with this --cluster and --set"
    yield Finding(f"{missing}{_most_similar(subject)}", fix, "job", "packages")


def _listed(plan: Plan, packages: dict[str, str]) -> str:
    """The packages that are installed; of very many only those that the job asks for."""
    names = [f"{name} {version}" for name, version in sorted(packages.items())]
    if len(names) <= _MOST_LISTED:
        return ", ".join(names) or "nothing, because the image has everything"
    asked = set()
    for line in plan.require_container().requirements:
        asked.add(re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", line)[0]).lower())
    chosen = [name for name in names if name.split(" ")[0] in asked]
    return f"{', '.join(chosen[:_MOST_LISTED])} and {len(names) - len(chosen)} that they need"


def is_missing(plan: Plan) -> bool:
    """Whether the job's packages are not installed: then nobody knows what they bring."""
    container = plan.container
    return container is not None and bool(container.requirements) and manifest(plan) is None


def _most_similar(subject: Subject) -> str:
    """The most similar set of packages that is installed, and how it differs; "" if none is."""
    plan = subject.plan
    container = plan.require_container()
    sha256 = cached_sha256(Path(container.image))
    needed = set(container.requirements)
    for installed in others(plan, subject.cluster):
        requirements = set(installed["requirements"])
        image = installed["image"]
        if image["sha256"] == sha256 and requirements != needed:
            return f" (other requirements are installed{_difference(requirements, needed)})"
        if image["path"] == container.image and requirements == needed:
            return _other_image(image, sha256)
    return ""


def _difference(installed: set[str], needed: set[str]) -> str:
    """The requirements that are new or gone."""
    words = ""
    if needed - installed:
        words += f"; new: {', '.join(sorted(needed - installed))}"
    if installed - needed:
        words += f"; gone: {', '.join(sorted(installed - needed))}"
    return words


def _other_image(image: dict[str, Any], sha256: str) -> str:
    other = image["sha256"][:12]
    return f" (it is for another image with that name, {other}; this one is {sha256[:12]})"
