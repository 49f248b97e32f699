"""A notebook's image, or what is installed beside it, has JupyterLab."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from hpcdl.extras import pip_install
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.ask_image import Question, ask
from hpcdl.preflight.packages import is_missing
from hpcdl.text import hpcdl_command

PACKAGE = "jupyterlab"


def jupyterlab(subject: Subject) -> Iterator[Finding | Note]:
    """JupyterLab is there. Packages that are not installed have their own check."""
    container = subject.plan.container
    if container is None:
        if find_spec(PACKAGE) is None:
            cause = f"a notebook is JupyterLab's page, which {sys.executable} does not have"
            yield Finding(cause, f"{pip_install(PACKAGE)}, or choose a --cluster", "cluster")
        return
    if is_missing(subject.plan) or has_jupyterlab(subject):
        return
    job = subject.job
    cause = f"there is no JupyterLab in {container.image}"
    requirements = "requirements.txt"
    if job.packages:
        cause += f", nor among the packages of {job.packages}"
        requirements = os.path.basename(job.packages)
    names = f"packages: {requirements} in the job file, with the line {PACKAGE} in that file"
    job_file = os.path.join(job.folder, os.path.basename(job.source))
    build = hpcdl_command("env", "build", job_file)
    yield Finding(cause, f"{names}; then {build}, with this --cluster and --set", "job", "packages")


def has_jupyterlab(subject: Subject) -> bool:
    """Whether the image, with what is installed beside it, has JupyterLab.

    Raises:
        HpcdlError: it cannot be asked on this machine.
    """
    facts = ask(subject.plan, subject.module_lines, Question(modules=[PACKAGE]))
    return PACKAGE not in facts.missing
