"""The Python files and notebooks of a job, and their text."""

from __future__ import annotations

import os
from pathlib import Path

from hpcdl.preflight import Subject
from hpcdl.usercode import notebook
from hpcdl.usercode.folders import python_files
from hpcdl.usercode.freeze import user_files
from hpcdl.usercode.search_path import added_folders
from hpcdl.usercode.source import read_source


def sources_of(subject: Subject) -> dict[str, str]:
    """The job's Python files as they will be frozen, by their names there; none of hpcdl's own."""
    found: dict[str, str] = {}
    for name, file in files_of(subject).items():
        found[name] = (
            notebook.script_of(file) if file.suffix == notebook.SUFFIX else read_source(file)
        )
    return found


def files_of(subject: Subject) -> dict[str, Path]:
    """The job's Python files and notebooks, by their names when they are frozen."""
    job = subject.job
    found: dict[str, Path] = {}
    run_by_it = {read.path for read in notebooks_of(subject)}
    for path, name in user_files(job).items():
        if Path(name).parts[:1] == ("hpcdl",):
            continue
        for file in python_files(path) if path.is_dir() else [path]:
            shown = str(Path(name, file.relative_to(path))) if path.is_dir() else name
            runs = file.suffix == notebook.SUFFIX and (str(file) == job.script or file in run_by_it)
            if runs or file.suffix == ".py":
                found[shown] = file
    return found


def left_behind(subject: Subject, module: str) -> str | None:
    """What to do about a module that lies near the script, and stays behind.

    It may be the package that the script is in, or in a folder that a program puts on
    ``sys.path``: those below the script's own folder come along, others do not.
    """
    job = subject.job
    start = Path(job.script).parent if job.script else Path(job.folder)
    beside = start / f"{module}.py"
    if beside.is_symlink() and not beside.exists():
        return f"{beside} is a link to {os.readlink(beside)}, which is not there: correct the link"
    for package in (start, start.parent) if job.script else ():
        if package.name == module:
            inner = Path(str(job.script)).relative_to(package).with_suffix("")
            dotted = ".".join([module, *inner.parts])
            starter = f"a line such as: from {dotted} import main; main()"
            return f"the script is in that package: name a program beside the folder {module} as script, with {starter}"
    for source in sources_of(subject).values():
        for text in added_folders(source):
            place = Path(os.path.normpath(start / text))
            if (place / f"{module}.py").is_file() or (place / module).is_dir():
                shown = os.path.relpath(place, job.folder)
                return f"it lies in {place}, which does not come along: pythonpath: [{shown}] in the job file"
    return None


def notebooks_of(subject: Subject) -> list[notebook.Notebook]:
    """The job's notebook, if its script is one, and those that it runs.

    Raises:
        UserError: one is not a notebook with Python code.
    """
    script = subject.job.script
    if script is None or not script.endswith(notebook.SUFFIX):
        return []
    return notebook.with_those_it_runs(Path(script))
