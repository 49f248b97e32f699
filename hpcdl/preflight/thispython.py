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
from hpcdl.preflight.as_it_stands import as_it_stands, unreadable
from hpcdl.preflight.ask_image import LEGACY_KERAS
from hpcdl.preflight.imports import Import, remedy
from hpcdl.preflight.question import imports_to_find, question_for
from hpcdl.preflight.sources import left_behind, program_finding, sources_of
from hpcdl.preflight.usedkeras import TRUE_VALUES, first_use, plan_to_ask
from hpcdl.usercode.notebook import SUFFIX

# The first TensorFlow that reads TF_USE_LEGACY_KERAS: its python/util/lazy_loader.py
_OLDEST_WITH_LEGACY_KERAS = (2, 14)
_OTHER_REMEDY = "or choose a --cluster with an image"
# What pip installs for a module
_PACKAGES = {
    "tensorflow": TENSORFLOW[0],
    "keras": "keras",
    "numpy": "numpy",
    "sklearn": "scikit-learn",
}


def this_python(subject: Subject) -> Iterator[Finding | Note]:
    """TensorFlow for a model job, and what a script or function needs to start."""
    job = subject.job
    if job.script is None and _is_absent("tensorflow"):
        cause = f"a model is trained by TensorFlow, which {sys.executable} does not have"
        yield Finding(cause, f"{pip_install(*TENSORFLOW)}, {_OTHER_REMEDY}", "cluster")
    finding = unreadable(subject)
    if finding:
        if job.script is not None or job.functions:
            yield finding
        return
    sources = sources_of(subject)
    yield from _tf_keras(subject, sources)
    if job.script is None and not job.functions:
        return
    imports = imports_to_find(subject, sources)
    yield from as_it_stands(subject, sources)
    yield from _missing_packages(subject, imports)
    yield from _missing_parts(imports)
    yield from _broken(subject)


def _tf_keras(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """The package that TF_USE_LEGACY_KERAS asks for. A run inherits this shell's variables."""
    job = subject.job
    env = {**os.environ, **plan_to_ask(subject.plan, sources).environment.env}
    version = _tensorflow_version()
    if env.get(LEGACY_KERAS) not in TRUE_VALUES or version < _OLDEST_WITH_LEGACY_KERAS:
        return
    place, at_once = first_use(sources)
    if not _is_absent("tf_keras") or (job.script is not None and not place):
        return
    package = "tf-keras=={}.{}.*".format(*version)
    fix = f"{pip_install(package)}, or take {LEGACY_KERAS} out"
    cause = f"{place}{LEGACY_KERAS} asks for tf-keras, which {sys.executable} does not have"
    blocks = job.script is None or at_once
    if LEGACY_KERAS in job.env:
        yield Finding(cause, fix, "job", f"env.{LEGACY_KERAS}", blocks)
    else:
        yield Finding(cause, fix, "cluster", "", blocks)


def _tensorflow_version() -> tuple[int, ...]:
    """Major and minor version, without importing it; () if it is not installed."""
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return tuple(int(number) for number in metadata.version(name).split(".")[:2])
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return ()


def _missing_packages(subject: Subject, imports: list[Import]) -> Iterator[Finding]:
    """The packages that this Python does not have."""
    needed: dict[str, bool] = {}
    for imported in imports:
        needed[imported.top] = needed.get(imported.top, False) or imported.needed
    for name in sorted(needed):
        if not _is_absent(name) or (subject.job.script is None and name == "tensorflow"):
            continue
        cause = f"the job imports {name}, which {sys.executable} does not have"
        fix = left_behind(subject, name) or _how_to_install(name)
        yield program_finding(subject, cause, fix, needed[name])


def _how_to_install(module: str) -> str:
    if module in _PACKAGES:
        return f"{pip_install(_PACKAGES[module])}, {_OTHER_REMEDY}"
    return f"install what brings it, for {sys.executable}, {_OTHER_REMEDY}"


def _missing_parts(imports: list[Import]) -> Iterator[Finding]:
    """Parts of packages that left them, or belong to a service, such as ``google.colab``."""
    reported: set[str] = set()
    for imported in imports:
        name, fix = imported.dotted, remedy(imported.dotted)
        if fix is None or name in reported or _is_absent(imported.top):
            continue
        if is_missing(imported.name):
            reported.add(name)
            cause = f"{imported.file} imports {name}, which {sys.executable} does not have"
            yield Finding(cause, fix, "job", "script", imported.needed)


def _broken(subject: Subject) -> Iterator[Finding]:
    """Programs that this Python cannot compile."""
    for name, source in question_for(subject).programs.items():
        reason = why_broken(name, source)
        if reason:
            fix = "correct it; python -m py_compile shows the line"
            if SUFFIX in name:
                fix = "correct that cell"
            yield Finding(f"{name} does not compile: {reason}", fix, "job", "script")


def _is_absent(name: str) -> bool:
    """Whether this Python does not find a module, by its name alone."""
    try:
        return find_spec(name) is None
    except (ImportError, ValueError):
        return True
