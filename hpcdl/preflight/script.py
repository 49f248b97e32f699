"""A job's own programs: they compile, find what they import, and call nothing that would fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hpcdl.in_image.names import TF_KERAS
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.api_history import history
from hpcdl.preflight.api_names import names_used
from hpcdl.preflight.as_it_stands import as_it_stands, unreadable
from hpcdl.preflight.ask_image import ImageFacts, ask
from hpcdl.preflight.imports import Import, remedy
from hpcdl.preflight.kerascalls import keras_calls
from hpcdl.preflight.kerasdata import keras_data
from hpcdl.preflight.kerasoptimizers import last_word
from hpcdl.preflight.packages import is_missing
from hpcdl.preflight.question import imports_to_find, question_for
from hpcdl.preflight.replicas import alone_on_each_node, replicas
from hpcdl.preflight.sources import left_behind, program_finding, sources_of
from hpcdl.preflight.usedkeras import is_unclear, keras_of, plan_to_ask
from hpcdl.usercode import notebook
from hpcdl.usercode.notebook import where
from hpcdl.usercode.source import parse_source

# The sets of Keras whose load_data takes a path
_TAKE_A_PATH = ("mnist", "boston_housing", "california_housing", "imdb", "reuters")


def script(subject: Subject) -> Iterator[Finding | Note]:
    """The script, or the model's function, and the files next to it that it imports."""
    finding = unreadable(subject)
    if finding:
        yield finding
        return
    sources = sources_of(subject)
    yield from as_it_stands(subject, sources)
    yield from alone_on_each_node(subject, sources)
    plan = plan_to_ask(subject.plan, sources)
    facts = ask(plan, subject.module_lines, question_for(subject))
    for name, reason in facts.broken.items():
        yield _broken(subject, name, reason, facts.python)
    if not is_missing(subject.plan):
        yield from _missing_modules(subject, sources, facts.missing)
    yield from _absent_names(subject, sources, facts)
    for name, source in sources.items():
        keras = keras_of(source, facts)
        yield from _loads_by_path(subject, name, source, keras)
        yield from keras_data(subject, name, source, keras)
        yield from keras_calls(subject, name, source, keras)
        yield from replicas(subject, name, source, keras)


def _broken(subject: Subject, name: str, reason: str, python: str) -> Finding:
    """A program that does not compile.

    Args:
        subject: what is checked.
        name: the program's file, or ``nb.ipynb, cell 3``.
        reason: why, from `why_broken`.
        python: the version of the image's Python.
    """
    message = f"{name} does not compile under the image's Python {python}: {reason}"
    fix = "correct it; python -m py_compile shows the line"
    if notebook.SUFFIX in name:
        line, _, error = reason.removeprefix("line ").partition(": ")
        place = f"{name}, line {line}"
        message = f"{place} does not compile under the image's Python {python}: {error}"
        fix = "correct that cell"
    return program_finding(subject, message, fix)


def _missing_modules(
    subject: Subject, sources: dict[str, str], missing: frozenset[str]
) -> Iterator[Finding]:
    """Each module once that the image does not have; first those that a program needs at once."""
    reported: set[str] = set()
    imports = imports_to_find(subject, sources)
    for imported in sorted(imports, key=lambda each: not each.needed):
        if imported.top in missing:
            name = imported.top
        elif imported.name in missing:
            name = imported.dotted
        else:
            continue
        if any(f"{name}.".startswith(f"{other}.") for other in reported):
            continue
        reported.add(name)
        importer = imported.file
        if importer.endswith(notebook.SUFFIX):
            importer = where(imported.file, sources[imported.file], imported.line)
        cause = f"{importer} imports {name}, which the image does not have"
        fix = _how_to_get(subject, imported, missing)
        yield program_finding(subject, cause, fix, imported.needed)


def _how_to_get(subject: Subject, imported: Import, missing: frozenset[str]) -> str:
    """What to do about a module that the image does not have."""
    fix = remedy(imported.dotted)
    if fix:
        return fix
    if imported.top not in missing:
        return "the image has the package, but not this part: see the package's documentation"
    return left_behind(subject, imported.top) or (
        "name it in a requirements file (packages:), use an image that has it, "
        "or put it next to the script"
    )


def _absent_names(
    subject: Subject, sources: dict[str, str], facts: ImageFacts
) -> Iterator[Finding]:
    """Names that the image's version of a package does not have, each once."""
    reported: set[str] = set()
    for file, source in sources.items():
        keras_is_known = bool(facts.version(TF_KERAS)) and not is_unclear(source)
        for name, (line, at_once) in names_used(source).items():
            absent = facts.absent.get(name)
            package = name.partition(".")[0]
            if absent is None or absent in reported or not facts.version(package):
                continue
            if f"{name}.".startswith(f"{TF_KERAS}.") and not keras_is_known:
                continue  # another Keras, or none: the check of the image reports that
            reported.add(absent)
            place = where(file, source, line)
            cause = f"{place}: {package} {facts.version(package)} has no {absent}"
            when = history(name)
            if when:
                cause = f"{cause}: {when}"
            fix = "use an image whose version has it, or what that version has instead"
            yield program_finding(subject, cause, fix, at_once)


def _loads_by_path(subject: Subject, name: str, source: str, keras: str) -> Iterator[Finding]:
    """Each Keras ``load_data`` with a path. Keras 3 refuses one with folders in it."""
    tree = parse_source(source)
    if tree is None or not keras.startswith("3"):
        return
    for node in ast.walk(tree):
        path = _path_of_load(node) if isinstance(node, ast.Call) else None
        if path is None:
            continue
        certain = isinstance(path, ast.Constant)
        if isinstance(path, ast.Constant) and "/" not in str(path.value):
            continue
        place = where(name, source, getattr(node, "lineno", 0))
        cause = f"{place}: load_data gets a path, and Keras {keras} refuses one with folders"
        fix = "read the file with numpy.load(path), as jobs/MNIST.py does"
        yield program_finding(subject, cause, fix, certain)


def _path_of_load(call: ast.Call) -> ast.expr | None:
    """The path that a call of a Keras ``load_data`` gets; None if it is not such a call."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "load_data":
        return None
    if last_word(call.func.value) not in _TAKE_A_PATH:
        return None
    for word in call.keywords:
        if word.arg == "path":
            return word.value
    return call.args[0] if call.args else None
