"""A job's own Python files: they compile, their imports are to be had, and they call nothing that is known to fail."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.attributes import history, names_used
from hpcdl.preflight.inside import ask
from hpcdl.preflight.packages import is_missing
from hpcdl.run.freeze import user_files
from hpcdl.run.notebook import script_of

_KERAS_FILES = ("mnist", "boston_housing", "california_housing", "imdb", "reuters")  # their load_data takes a path
_OF_THE_IMAGE = ("tensorflow", "keras", "numpy")


def script(subject: Subject) -> Iterator[Finding]:
    """The script, or the model's function, and what it imports from beside it."""
    sources = sources_of(subject)
    facts = ask(subject.submission.plan, subject.module_lines, *question(subject))
    for name, why in facts["broken"].items():
        wrong = f"{name} does not compile under the image's Python {facts['python']}: {why}"
        yield _finding(subject, wrong, "correct it; python -m py_compile shows the line")
    needed, optional = needed_and_optional(subject, sources)
    for name in [] if is_missing(subject.submission.plan) else facts["missing"]:
        if name in needed or name in optional:
            fix = "name it in a requirements file (packages:), use an image that has it, or put it beside the script"
            importer = _importer(name, sources, subject.submission.job.functions)
            yield _finding(subject, f"{importer} imports {name}, which the image has not", fix, name in needed)
    yield from _shadowing(subject)
    yield from _lacking(subject, sources, facts)
    if (facts["keras"] or [""])[0].startswith("3"):
        for name, source in sources.items():
            for line, certain in _loads_by_path(source):
                wrong = (
                    f"{name}:{line}: load_data is given a path, and Keras {facts['keras'][0]} refuses one with folders"
                )
                yield _finding(subject, wrong, "read the file with numpy.load(path), as jobs/MNIST.py does", certain)
    yield from _function(subject, sources)


def question(subject: Subject) -> tuple[dict[str, str], list[str], set[str]]:
    """What to ask the image: programs to compile, modules to look for that do not lie beside them, and names."""
    sources = sources_of(subject)
    needed, optional = needed_and_optional(subject, sources)
    beside = {Path(name).parts[0].removesuffix(".py") for name in user_files(subject.submission.job).values()}
    given = subject.submission.job.env.get("PYTHONPATH", "").split(":")
    roots = [Path(root) for root in [*given, *subject.submission.job.pythonpath] if root]
    for name in needed | optional:
        if any((root / name).is_dir() or (root / f"{name}.py").is_file() for root in roots):
            beside.add(name)
    names = {name for source in sources.values() for name in names_used(source)}
    return sources, sorted((needed | optional) - beside), names


def sources_of(subject: Subject) -> dict[str, str]:
    """The job's Python files as they will be frozen, by their names there; none of hpcdl's own."""
    job = subject.submission.job
    found: dict[str, str] = {}
    for path, name in user_files(job).items():
        if Path(name).parts[0] == "hpcdl":
            continue
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            shown = str(Path(name, file.relative_to(path))) if path.is_dir() else name
            if file.suffix == ".ipynb" and str(file) == job.script:
                found[shown] = script_of(file)
            elif file.suffix == ".py":
                found[shown] = file.read_text(encoding="utf-8", errors="replace")
    return found


def needed_and_optional(subject: Subject, sources: dict[str, str]) -> tuple[set[str], set[str]]:
    """What the job imports, its own functions included: at once, and later or perhaps."""
    needed, optional = _imports(sources)
    needed |= {function.partition(":")[0].partition(".")[0] for function in subject.submission.job.functions.values()}
    return needed, optional - needed


def _imports(sources: dict[str, str]) -> tuple[set[str], set[str]]:
    """The modules that a program cannot begin without, and those that it may import later."""
    needed: set[str] = set()
    optional: set[str] = set()
    for source in sources.values():
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        changes_path = "sys.path" in source
        at_once = {id(node) for node in tree.body}
        guarded = {
            id(node) for block in ast.walk(tree) if isinstance(block, ast.Try | ast.If) for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            names = _names(node)
            if id(node) in guarded:
                continue
            (needed if id(node) in at_once and not changes_path else optional).update(names)
    return needed - {"hpcdl"}, optional - needed - {"hpcdl"}


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {node.module.partition(".")[0]}
    return set()


def _importer(name: str, sources: dict[str, str], functions: dict[str, str]) -> str:
    """The first file that imports a module, or else the key of the function that does."""
    for file, source in sources.items():
        needed, optional = _imports({file: source})
        if name in needed | optional:
            return file
    return next((key for key, function in functions.items() if re.match(rf"{name}\b", function)), "model.function")


def _shadowing(subject: Subject) -> Iterator[Finding]:
    """Files that Python would import instead of the modules that they are named like."""
    for path, name in user_files(subject.submission.job).items():
        module = Path(name).parts[0].removesuffix(".py")
        if "/" in name or module not in {*_OF_THE_IMAGE, *sys.stdlib_module_names}:
            continue
        wrong = f"{path} is named like the module {module}, and would be imported in its place"
        yield _finding(subject, wrong, "rename it", module in _OF_THE_IMAGE)


def _lacking(subject: Subject, sources: dict[str, str], facts: Any) -> Iterator[Finding]:
    """Names that the image's version of a package does not have, each once."""
    told: set[str] = set()
    for file, source in sources.items():
        for name, (line, needed) in names_used(source).items():
            lacking = facts["names"].get(name)
            root = name.partition(".")[0]
            if not lacking or lacking in told or not (facts[root] or [""])[0]:
                continue
            told.add(lacking)
            when = history(name)
            wrong = f"{file}:{line}: {root} {facts[root][0]} has no {lacking}" + (f": {when}" if when else "")
            yield _finding(subject, wrong, "use an image whose version has it, or what that version has for it", needed)


def _loads_by_path(source: str) -> Iterator[tuple[int, bool]]:
    """The lines with a Keras ``load_data`` that is given a path, and whether that has folders for certain."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load_data"):
            continue
        owner = node.func.value
        if (owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")) not in _KERAS_FILES:
            continue
        for given in [word.value for word in node.keywords if word.arg == "path"] or node.args[:1]:
            if not isinstance(given, ast.Constant):
                yield node.lineno, False
            elif "/" in str(given.value):
                yield node.lineno, True


def _function(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """The job's functions are in their modules, where those lie beside the job file."""
    takes = {"model.function": "input_shape, classes", "data.function": ""}
    for key, named in subject.submission.job.functions.items():
        module, _, function = named.partition(":")
        source = sources.get(f"{module.replace('.', '/')}.py")
        if source is not None and function not in source:
            fix = f"define it there: def {function}({takes[key]})"
            yield Finding(f"{module}.py has no {function}", fix, "job", key)


def _finding(subject: Subject, cause: str, fix: str, blocks: bool = True) -> Finding:
    job = subject.submission.job
    key = "script" if job.script else next(iter(job.functions), "files")
    return Finding(cause, fix, "job", key, blocks)
