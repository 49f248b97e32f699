"""A job's own Python files: they compile, their imports are to be had, and they call nothing that is known to fail."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.in_image.names import TF_KERAS
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.api_names import history, names_used, unbound_calls
from hpcdl.preflight.ask_image import ImageFacts, Question, ask
from hpcdl.preflight.imports import Import, imports_of, remedy
from hpcdl.preflight.kerascalls import keras_calls
from hpcdl.preflight.kerasdata import keras_data
from hpcdl.preflight.packages import is_missing
from hpcdl.preflight.replicas import replicas
from hpcdl.preflight.sources import files_of, left_behind, notebooks_of, sources_of
from hpcdl.preflight.usedkeras import is_unclear, keras_of, plan_to_ask
from hpcdl.trainer.support.showing import STAND_INS
from hpcdl.usercode import notebook
from hpcdl.usercode.freeze import user_files
from hpcdl.usercode.notebook import where
from hpcdl.usercode.source import parse_source, why_undecodable

_KERAS_FILES = (
    "mnist",
    "boston_housing",
    "california_housing",
    "imdb",
    "reuters",
)  # their load_data takes a path
_OF_THE_IMAGE = ("tensorflow", "keras", "numpy")


def script(subject: Subject) -> Iterator[Finding | Note]:
    """The script, or the model's function, and what it imports from beside it."""
    if refused := unreadable(subject):
        yield refused
        return
    sources = sources_of(subject)
    yield from as_it_stands(subject, sources)
    plan = plan_to_ask(subject.plan, sources)
    facts = ask(plan, subject.module_lines, question_for(subject))
    for name, why in facts.broken.items():
        yield _broken(subject, name, why, facts.python)
    if not is_missing(subject.plan):
        yield from _not_there(subject, sources, facts.missing)
    yield from _lacking(subject, sources, facts)
    for name, source in sources.items():
        keras = keras_of(source, facts)
        if keras.startswith("3"):
            for line, certain in _loads_by_path(source):
                place = where(name, source, line)
                wrong = f"{place}: load_data is given a path, and Keras {keras} refuses one with folders"
                yield _finding(
                    subject,
                    wrong,
                    "read the file with numpy.load(path), as jobs/MNIST.py does",
                    certain,
                )
        yield from keras_data(subject, name, source, keras)
        yield from keras_calls(subject, name, source, keras)
        yield from replicas(subject, name, source, keras)


def unreadable(subject: Subject) -> Finding | None:
    """The finding that the script is called a notebook and is none, if so."""
    try:
        notebooks_of(subject)
    except UserError as error:
        return _remarked(subject, str(error))
    return None


def as_it_stands(subject: Subject, sources: dict[str, str]) -> Iterator[Finding | Note]:
    """What the files themselves say, whichever Python runs them."""
    for read in notebooks_of(subject):
        for problem in read.problems:
            yield _remarked(subject, problem)
        for doubt in read.doubts:
            yield _remarked(subject, doubt, False)
        for text in read.left_out:
            yield Note(text)
    yield from _undecodable(subject)
    yield from _shadowing(subject)
    yield from _interactive(subject, sources)
    yield from _relative(subject, sources)
    yield from _function(subject, sources)


def question_for(subject: Subject) -> Question:
    """What to ask the image: the job's programs, the modules they import, and the names they use."""
    sources = sources_of(subject)
    names: set[str] = set()
    for source in sources.values():
        names.update(names_used(source))
    modules: set[str] = set()
    for imported in imports_to_find(subject, sources):
        modules |= {imported.name, imported.top}
    return Question(_programs(subject, sources), sorted(modules), names)


def _programs(subject: Subject, sources: dict[str, str]) -> dict[str, str]:
    """The programs to compile: a notebook's cells are compiled one by one."""
    programs = {}
    files = files_of(subject)
    for name, source in sources.items():
        if not name.endswith(notebook.SUFFIX) and not why_undecodable(files[name]):
            programs[name] = source
    for read in notebooks_of(subject):
        refused = {
            f"{read.path.name}, cell {cell.cell.number}" for cell in read.cells if cell.problems
        }
        for name, source in read.programs.items():
            if name not in refused:  # it is told why already
                programs[name] = source
    return programs


def _broken(subject: Subject, name: str, why: str, python: str) -> Finding:
    message = f"{name} does not compile under the image's Python {python}: {why}"
    fix = "correct it; python -m py_compile shows the line"
    if notebook.SUFFIX in name:
        line, _, error = why.removeprefix("line ").partition(": ")
        message = f"{name}, line {line} does not compile under the image's Python {python}: {error}"
        fix = "correct that cell"
    return _finding(subject, message, fix)


def imports_to_find(subject: Subject, sources: dict[str, str]) -> list[Import]:
    """The imports that the image must have: those of modules that lie elsewhere are left out."""
    job = subject.job
    imports = imports_of(sources)
    for key, function in job.functions.items():
        imports.append(Import(function.partition(":")[0].partition(".")[0], key, 0, True))
    elsewhere = {
        Path(name).parts[0].partition(".")[0] for name in user_files(job).values() if name != "."
    }
    chosen = {Path(text) for text in job.files}
    elsewhere |= {
        path.stem for path in user_files(job) if path not in chosen
    }  # also in src/, on sys.path
    for read in notebooks_of(subject):
        elsewhere |= {Path(name).stem for name in read.writes}
    given = job.env.get("PYTHONPATH", "").split(":")
    roots = [Path(root) for root in [*given, *job.pythonpath] if root]
    for top in {one.top for one in imports}:
        if any((root / top).is_dir() or (root / f"{top}.py").is_file() for root in roots):
            elsewhere.add(top)
    looked_for = []
    for one in imports:
        stands_in = bool(notebooks_of(subject)) and one.name.partition(":")[0] in STAND_INS
        if one.top not in elsewhere and not stands_in:
            looked_for.append(one)
    return looked_for


def _not_there(
    subject: Subject, sources: dict[str, str], missing: frozenset[str]
) -> Iterator[Finding]:
    """Each module once that the image does not have; first where a program needs it to begin."""
    said: set[str] = set()
    for one in sorted(imports_to_find(subject, sources), key=lambda one: not one.needed):
        if one.name not in missing and one.top not in missing:
            continue
        name, fix = (
            one.dotted,
            "the image has the package, and not this part of it: look for it in its documentation",
        )
        if one.top in missing:
            name = one.top
            fix = (
                left_behind(subject, name)
                or "name it in a requirements file (packages:), use an image that has it, or put it beside the script"
            )
        if name in said or any(name.startswith(f"{other}.") for other in said):
            continue
        said.add(name)
        importer = one.file
        if importer.endswith(notebook.SUFFIX):
            importer = where(one.file, sources[one.file], one.line)
        fix = remedy(one.dotted) or fix
        yield _finding(
            subject, f"{importer} imports {name}, which the image has not", fix, one.needed
        )


def _remarked(subject: Subject, remark: str, blocks: bool = True) -> Finding:
    """A remark on a notebook: what is wrong, and after its last semicolon the remedy."""
    message, semicolon, fix = remark.rpartition("; ")
    if not semicolon:
        return _finding(subject, remark, "correct that line of the notebook", blocks)
    return _finding(subject, message, fix, blocks)


def _undecodable(subject: Subject) -> Iterator[Finding]:
    """Python files whose bytes are not what they say, or what Python takes them for."""
    for name, path in files_of(subject).items():
        if path.suffix == ".py" and (why := why_undecodable(path)):
            fix = "save it as UTF-8, or name its encoding in its first line: # -*- coding: latin-1 -*-"
            yield _finding(subject, f"{name} cannot be decoded by Python: {why}", fix)


def _shadowing(subject: Subject) -> Iterator[Finding]:
    """Files that Python would import instead of the modules that they are named like."""
    for path, name in user_files(subject.job).items():
        module = name.removesuffix(".py")
        if "/" in name or module not in {*_OF_THE_IMAGE, *sys.stdlib_module_names}:
            continue
        wrong = f"{path} is named like the module {module}, and would be imported in its place"
        yield _finding(subject, wrong, "rename it", module in _OF_THE_IMAGE)


def _lacking(subject: Subject, sources: dict[str, str], facts: ImageFacts) -> Iterator[Finding]:
    """Names that the image's version of a package does not have, each once."""
    told: set[str] = set()
    for file, source in sources.items():
        for name, (line, needed) in names_used(source).items():
            lacking = facts.absent.get(name)
            root = name.partition(".")[0]
            if not lacking or lacking in told or not facts.version(root):
                continue
            unknown = is_unclear(source) or not facts.version(TF_KERAS)
            if unknown and f"{name}.".startswith(f"{TF_KERAS}."):
                continue  # of another Keras, or of none at all, as the check of the image says
            told.add(lacking)
            when = history(name)
            wrong = (
                f"{where(file, source, line)}: {root} {facts.version(root)} has no {lacking}"
                + (f": {when}" if when else "")
            )
            yield _finding(
                subject,
                wrong,
                "use an image whose version has it, or what that version has for it",
                needed,
            )


def _loads_by_path(source: str) -> Iterator[tuple[int, bool]]:
    """The lines with a Keras ``load_data`` that is given a path, and whether that has folders for certain."""
    tree = parse_source(source)
    if tree is None:
        return
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "load_data"
        ):
            continue
        owner = node.func.value
        if (
            owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        ) not in _KERAS_FILES:
            continue
        for given in [word.value for word in node.keywords if word.arg == "path"] or node.args[:1]:
            if not isinstance(given, ast.Constant):
                yield node.lineno, False
            elif "/" in str(given.value):
                yield node.lineno, True


def _interactive(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """Calls that need a person, or a notebook."""
    for name, source in sources.items():
        for function, line, at_once in unbound_calls(source):
            place = where(name, source, line)
            if function == "input":
                message = f"{place}: input() has nobody to answer it in a batch job"
                fix = "take the value from args: or env:, with a default"
                yield _finding(subject, message, fix, at_once)
            elif not name.endswith(notebook.SUFFIX):
                message = f"{place}: {function}() is there in notebooks only"
                fix = f"take it out, or give the notebook itself: script: {Path(name).stem}.ipynb"
                yield _finding(subject, message, fix, at_once)


def _relative(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """Relative imports in the script itself, which is in no package when it is run."""
    name = Path(subject.job.script or "").name
    tree = parse_source(sources.get(name, ""))
    for node in tree.body if tree else ():
        if isinstance(node, ast.ImportFrom) and node.level:
            dots = "." * node.level
            cause = (
                f"{name}, line {node.lineno}: a script cannot import from {dots}{node.module or ''}"
            )
            fix = f"write {node.module or 'the module'} without the dots: what lies beside the script is found"
            yield _finding(subject, cause, fix)


def _function(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """The job's functions are in their modules, where those lie beside the job file."""
    takes = {"model.function": "input_shape, classes", "data.function": ""}
    for key, named in subject.job.functions.items():
        module, _, function = named.partition(":")
        source = sources.get(f"{module.replace('.', '/')}.py")
        if source is not None and function not in source:
            fix = f"define it there: def {function}({takes[key]})"
            yield Finding(f"{module}.py has no {function}", fix, "job", key)


def _finding(subject: Subject, cause: str, fix: str, blocks: bool = True) -> Finding:
    job = subject.job
    key = "script" if job.script else next(iter(job.functions), "files")
    return Finding(cause, fix, "job", key, blocks)
