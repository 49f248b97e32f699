"""What a job's programs say by themselves, whichever Python runs them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.api_names import ROOTS, unbound_calls
from hpcdl.preflight.sources import files_of, notebooks_of, program_finding
from hpcdl.usercode import notebook
from hpcdl.usercode.notebook import where
from hpcdl.usercode.source import parse_source, why_undecodable
from hpcdl.usercode.user_files import user_files

_PARAMETERS = {"model.function": "input_shape, classes", "data.function": ""}


def unreadable(subject: Subject) -> Finding | None:
    """The finding that the script has a notebook's name but is not a notebook, if so."""
    try:
        notebooks_of(subject)
    except UserError as error:
        return _remark(subject, str(error))
    return None


def as_it_stands(subject: Subject, sources: dict[str, str]) -> Iterator[Finding | Note]:
    """Everything in the text of the programs that would fail.

    Args:
        subject: what is checked.
        sources: the programs, from `sources_of`.
    """
    yield from _notebooks(subject)
    yield from _undecodable(subject)
    yield from _shadowing(subject)
    yield from _interactive(subject, sources)
    yield from _relative_imports(subject, sources)
    yield from _functions(subject, sources)


def _notebooks(subject: Subject) -> Iterator[Finding | Note]:
    """What the cells of notebooks have that a batch job cannot do."""
    for read in notebooks_of(subject):
        for problem in read.problems:
            yield _remark(subject, problem)
        for doubt in read.doubts:
            yield _remark(subject, doubt, blocks=False)
        for text in read.left_out:
            yield Note(text)


def _remark(subject: Subject, remark: str, blocks: bool = True) -> Finding:
    """A remark on a notebook: a cause, and after its last semicolon the remedy."""
    cause, semicolon, fix = remark.rpartition("; ")
    if not semicolon:
        cause, fix = remark, "correct that line of the notebook"
    return program_finding(subject, cause, fix, blocks)


def _undecodable(subject: Subject) -> Iterator[Finding]:
    """Python files that are not in the encoding that they declare, or in UTF-8."""
    for name, path in files_of(subject).items():
        if path.suffix != ".py":
            continue
        reason = why_undecodable(path)
        if reason:
            declaration = "# -*- coding: latin-1 -*-"
            fix = f"save it as UTF-8, or name its encoding in its first line: {declaration}"
            yield program_finding(subject, f"{name} cannot be decoded by Python: {reason}", fix)


def _shadowing(subject: Subject) -> Iterator[Finding]:
    """Files that Python would import instead of the modules with the same name."""
    for path, name in user_files(subject.job).items():
        module = name.removesuffix(".py")
        if "/" in name or module not in {*ROOTS, *sys.stdlib_module_names}:
            continue
        cause = f"{path} has the name of the module {module}, and would be imported in its place"
        yield program_finding(subject, cause, "rename it", module in ROOTS)


def _interactive(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """Calls that need a person, or a notebook."""
    for name, source in sources.items():
        for function, line, at_once in unbound_calls(source):
            place = where(name, source, line)
            if function == "input":
                cause = f"{place}: input() has nobody to answer it in a batch job"
                fix = "take the value from args: or env:, with a default"
            elif name.endswith(notebook.SUFFIX):
                continue
            else:
                cause = f"{place}: {function}() exists only in notebooks"
                fix = f"take it out, or give the notebook itself: script: {Path(name).stem}.ipynb"
            yield program_finding(subject, cause, fix, at_once)


def _relative_imports(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """Relative imports in the script itself, which is not in a package when it runs."""
    name = Path(subject.job.script or "").name
    tree = parse_source(sources.get(name, ""))
    for node in tree.body if tree else ():
        if isinstance(node, ast.ImportFrom) and node.level:
            package = "." * node.level + (node.module or "")
            cause = f"{name}, line {node.lineno}: a script cannot import from {package}"
            module = node.module or "the module"
            fix = f"write {module} without the dots: Python finds what lies next to the script"
            yield program_finding(subject, cause, fix)


def _functions(subject: Subject, sources: dict[str, str]) -> Iterator[Finding]:
    """The job's functions are in their modules, if those lie next to the job file."""
    for key, reference in subject.job.functions.items():
        module, _, function = reference.partition(":")
        source = sources.get(f"{module.replace('.', '/')}.py")
        if source is not None and function not in source:
            fix = f"define it there: def {function}({_PARAMETERS[key]})"
            yield Finding(f"{module}.py has no {function}", fix, "job", key)
