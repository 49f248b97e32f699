"""Without a container: this machine's Python has what the job imports. Nothing is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec

from hpcdl.extras import TENSORFLOW, pip_install
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.looking import why_broken
from hpcdl.preflight.script import imports_to_find, question, sources_of, undecodable

_PACKAGES = {"tensorflow": TENSORFLOW[0], "keras": "keras", "numpy": "numpy", "sklearn": "scikit-learn"}


def this_python(subject: Subject) -> Iterator[Finding]:
    """TensorFlow for a model job, and what a script or function cannot begin without."""
    job = subject.submission.job
    if job.script is None and _lacks("tensorflow"):
        cause = f"a model is trained by TensorFlow, which {sys.executable} does not have"
        yield Finding(cause, f"{pip_install(*TENSORFLOW)}, or choose a --cluster with an image", "cluster")
    if job.script is None and not job.functions:
        return
    needed: dict[str, bool] = {}
    for one in imports_to_find(subject, sources_of(subject)):
        needed[one.top] = needed.get(one.top, False) or one.needed
    for name in sorted(needed):
        if not _lacks(name) or (job.script is None and name == "tensorflow"):
            continue
        fix = f"install what brings it, for {sys.executable}"
        if name in _PACKAGES:
            fix = pip_install(_PACKAGES[name])
        key = "script" if job.script else next(iter(job.functions))
        cause = f"the job imports {name}, which {sys.executable} does not have"
        yield Finding(cause, f"{fix}, or choose a --cluster with an image", "job", key, needed[name])
    yield from _broken(subject)


def _broken(subject: Subject) -> Iterator[Finding]:
    """Files that this Python cannot decode or compile."""
    yield from undecodable(subject)
    programs, _, _ = question(subject)
    for name, source in programs.items():
        why = why_broken(name, source)
        if why:
            cause = f"{name} does not compile: {why}"
            yield Finding(cause, "correct it; python -m py_compile shows the line", "job", "script")


def _lacks(name: str) -> bool:
    """Whether a module is not there, by its name alone."""
    try:
        return find_spec(name) is None
    except (ImportError, ValueError):
        return True
