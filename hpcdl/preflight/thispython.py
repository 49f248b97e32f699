"""Without a container: this machine's Python has what the job imports. Nothing is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from hpcdl.extras import TENSORFLOW, pip_install
from hpcdl.in_image.names import is_missing, why_broken
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.ask_image import LEGACY_KERAS
from hpcdl.preflight.imports import Import, remedy
from hpcdl.preflight.script import as_it_stands, imports_to_find, question_for, unreadable
from hpcdl.preflight.sources import left_behind, sources_of
from hpcdl.preflight.usedkeras import ASKS, first_use, plan_to_ask
from hpcdl.usercode.notebook import SUFFIX

_KNOWS_LEGACY_KERAS = (2, 14)  # TensorFlow, by its python/util/lazy_loader.py
_PACKAGES = {
    "tensorflow": TENSORFLOW[0],
    "keras": "keras",
    "numpy": "numpy",
    "sklearn": "scikit-learn",
}


def this_python(subject: Subject) -> Iterator[Finding | Note]:
    """TensorFlow for a model job, and what a script or function cannot begin without."""
    job = subject.job
    if job.script is None and _lacks("tensorflow"):
        cause = f"a model is trained by TensorFlow, which {sys.executable} does not have"
        yield Finding(
            cause, f"{pip_install(*TENSORFLOW)}, or choose a --cluster with an image", "cluster"
        )
    if not unreadable(subject):
        yield from _tf_keras(subject, sources_of(subject))
    if job.script is None and not job.functions:
        return
    if refused := unreadable(subject):
        yield refused
        return
    sources = sources_of(subject)
    imports = imports_to_find(subject, sources)
    yield from as_it_stands(subject, sources)
    yield from _not_there(subject, imports)
    yield from _gone(imports)
    yield from _broken(subject)


def _tf_keras(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """The package that TF_USE_LEGACY_KERAS asks for; a run inherits this shell's variables."""
    job = subject.job
    plan = plan_to_ask(subject.plan, sources)
    version = _tensorflow_version()
    asked = {**os.environ, **plan.env}.get(LEGACY_KERAS) in ASKS
    if not (asked and version and _lacks("tf_keras")):
        return
    place, at_once = first_use(sources)
    if version < _KNOWS_LEGACY_KERAS or (job.script is not None and not place):
        return
    package = "tf-keras=={}.{}.*".format(*version)
    fix = f"{pip_install(package)}, or take {LEGACY_KERAS} out"
    key = f"env.{LEGACY_KERAS}" if LEGACY_KERAS in job.env else ""
    cause = f"{place}{LEGACY_KERAS} asks for tf-keras, which {sys.executable} does not have"
    yield Finding(cause, fix, "job" if key else "cluster", key, job.script is None or at_once)


def _tensorflow_version() -> tuple[int, ...]:
    """Major and minor, without importing it; empty where it is not there."""
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return tuple(int(number) for number in metadata.version(name).split(".")[:2])
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return ()


def _not_there(subject: Subject, imports: list[Import]) -> Iterator[Finding]:
    """The packages that this Python lacks."""
    job = subject.job
    needed: dict[str, bool] = {}
    for one in imports:
        needed[one.top] = needed.get(one.top, False) or one.needed
    for name in sorted(needed):
        if not _lacks(name) or (job.script is None and name == "tensorflow"):
            continue
        fix = f"install what brings it, for {sys.executable}"
        if name in _PACKAGES:
            fix = pip_install(_PACKAGES[name])
        key = "script" if job.script else next(iter(job.functions))
        cause = f"the job imports {name}, which {sys.executable} does not have"
        if there := left_behind(subject, name):
            yield Finding(cause, there, "job", key, needed[name])
            continue
        yield Finding(
            cause, f"{fix}, or choose a --cluster with an image", "job", key, needed[name]
        )


def _gone(imports: list[Import]) -> Iterator[Finding]:
    """Parts of packages that are known to be gone, or to be a service's own, such as ``google.colab``."""
    named: set[str] = set()
    for one in imports:
        fix = remedy(one.dotted)
        if fix is None or one.dotted in named or _lacks(one.top) or not is_missing(one.name):
            continue
        named.add(one.dotted)
        cause = f"{one.file} imports {one.dotted}, which {sys.executable} does not have"
        yield Finding(cause, fix, "job", "script", one.needed)


def _broken(subject: Subject) -> Iterator[Finding]:
    """Files that this Python cannot compile."""
    for name, source in question_for(subject).programs.items():
        if why := why_broken(name, source):
            fix = "correct it; python -m py_compile shows the line"
            if SUFFIX in name:
                fix = "correct that cell"
            yield Finding(f"{name} does not compile: {why}", fix, "job", "script")


def _lacks(name: str) -> bool:
    """Whether a module is not there, by its name alone."""
    try:
        return find_spec(name) is None
    except (ImportError, ValueError):
        return True
