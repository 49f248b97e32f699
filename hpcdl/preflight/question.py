"""What to ask a Python about a job's programs: whether they compile, and has what they use."""

from __future__ import annotations

from pathlib import Path

from hpcdl.preflight import Subject
from hpcdl.preflight.api_names import names_used
from hpcdl.preflight.ask_image import Question
from hpcdl.preflight.exports import modules_of_exports
from hpcdl.preflight.imports import Import, imports_of
from hpcdl.preflight.sources import files_of, notebooks_of, sources_of
from hpcdl.trainer.support.showing import STAND_INS
from hpcdl.usercode import notebook
from hpcdl.usercode.source import why_undecodable
from hpcdl.usercode.user_files import user_files


def question_for(subject: Subject) -> Question:
    """The question about the job's programs, the modules they import, and the names they use."""
    sources = sources_of(subject)
    names: set[str] = set()
    for source in sources.values():
        names.update(names_used(source))
    modules = modules_of_exports(subject)
    for imported in imports_to_find(subject, sources):
        modules |= {imported.name, imported.top}
    return Question(_programs(subject, sources), sorted(modules), names)


def _programs(subject: Subject, sources: dict[str, str]) -> dict[str, str]:
    """The programs to compile. The cells of a notebook are compiled one by one."""
    programs = {}
    files = files_of(subject)
    for name, source in sources.items():
        if not name.endswith(notebook.SUFFIX) and not why_undecodable(files[name]):
            programs[name] = source
    for read in notebooks_of(subject):
        reported = set()  # cells with other problems
        for cell in read.cells:
            if cell.problems:
                reported.add(f"{read.path.name}, cell {cell.cell.number}")
        for name, source in read.programs.items():
            if name not in reported:
                programs[name] = source
    return programs


def imports_to_find(subject: Subject, sources: dict[str, str]) -> list[Import]:
    """The imports that the image must have.

    Modules that come with the job, or lie on its PYTHONPATH, are left out.
    """
    imports = imports_of(sources)
    for key, function in subject.job.functions.items():
        top = function.partition(":")[0].partition(".")[0]
        imports.append(Import(top, key, 0, True))
    elsewhere = _own_modules(subject) | _on_pythonpath(subject, {each.top for each in imports})
    runs_notebook = bool(notebooks_of(subject))
    to_find = []
    for imported in imports:
        has_stand_in = runs_notebook and imported.name.partition(":")[0] in STAND_INS
        if imported.top not in elsewhere and not has_stand_in:
            to_find.append(imported)
    return to_find


def _own_modules(subject: Subject) -> set[str]:
    """The modules that are copied into the run, or written by the job's notebooks."""
    modules = set()
    chosen = {Path(text) for text in subject.job.files}
    for path, name in user_files(subject.job).items():
        if name != ".":
            modules.add(Path(name).parts[0].partition(".")[0])
        if path not in chosen:
            modules.add(path.stem)  # also if it lies in a folder such as src/, on sys.path
    for read in notebooks_of(subject):
        modules.update(Path(name).stem for name in read.writes)
    return modules


def _on_pythonpath(subject: Subject, names: set[str]) -> set[str]:
    """Those of some modules that lie on the job's PYTHONPATH."""
    in_env = subject.job.env.get("PYTHONPATH", "").split(":")
    modules = set()
    for text in filter(None, [*in_env, *subject.job.pythonpath]):
        folder = Path(text)
        for name in names:
            if (folder / name).is_dir() or (folder / f"{name}.py").is_file():
                modules.add(name)
    return modules
