"""The Python files and notebooks of a job, and their text."""

from __future__ import annotations

import os
from pathlib import Path

from hpcdl.preflight import Finding, Subject
from hpcdl.usercode import notebook
from hpcdl.usercode.folders import python_files
from hpcdl.usercode.search_path import added_folders
from hpcdl.usercode.source import read_source
from hpcdl.usercode.user_files import user_files


def sources_of(subject: Subject) -> dict[str, str]:
    """The text of the job's Python files, by the names that they have in the run.

    hpcdl's own files are left out. A notebook is given as the script that stands for it.
    """
    sources: dict[str, str] = {}
    for name, file in files_of(subject).items():
        if file.suffix == notebook.SUFFIX:
            sources[name] = notebook.script_of(file)
        else:
            sources[name] = read_source(file)
    return sources


def files_of(subject: Subject) -> dict[str, Path]:
    """The job's Python files and notebooks, by the names that they have in the run."""
    job = subject.job
    files: dict[str, Path] = {}
    notebooks = {read.path for read in notebooks_of(subject)}
    for path, name in user_files(job).items():
        if Path(name).parts[:1] == ("hpcdl",):
            continue
        for file in python_files(path) if path.is_dir() else [path]:
            is_run = str(file) == job.script or file in notebooks
            if file.suffix == ".py" or (file.suffix == notebook.SUFFIX and is_run):
                name_in_run = name if file == path else str(Path(name, file.relative_to(path)))
                files[name_in_run] = file
    return files


def left_behind(subject: Subject, module: str) -> str | None:
    """What to do about a module that lies near the script but is not copied into the run.

    It may be the package that the script is in. It may also lie in a folder that a program adds to
    ``sys.path``: such a folder is only copied if it lies below the script's own folder.
    """
    job = subject.job
    start = Path(job.script).parent if job.script else Path(job.folder)
    neighbour = start / f"{module}.py"
    if neighbour.is_symlink() and not neighbour.exists():
        target = os.readlink(neighbour)
        return f"{neighbour} is a link to {target}, which does not exist: correct the link"
    if job.script and module in (start.name, start.parent.name):
        package = start if start.name == module else start.parent
        return _outside_package(Path(job.script), package)
    for source in sources_of(subject).values():
        for text in added_folders(source):
            folder = Path(os.path.normpath(start / text))
            if (folder / f"{module}.py").is_file() or (folder / module).is_dir():
                entry = os.path.relpath(folder, job.folder)
                remedy = f"pythonpath: [{entry}] in the job file"
                return f"it lies in {folder}, which is not copied into the run: {remedy}"
    return None


def _outside_package(script: Path, package: Path) -> str:
    """What to do about a script that lies in a package and imports from it."""
    inner = script.relative_to(package).with_suffix("")
    dotted = ".".join([package.name, *inner.parts])
    starter = f"from {dotted} import main; main()"
    return (
        f"the script lies in that package: write a program next to the folder {package.name}, "
        f"with a line such as {starter}, and name that one as script"
    )


def notebooks_of(subject: Subject) -> list[notebook.Notebook]:
    """The job's notebook, if its script is one, and those that it runs.

    Raises:
        UserError: one is not a notebook with Python code.
    """
    script = subject.job.script
    if script is None or not script.endswith(notebook.SUFFIX):
        return []
    return notebook.with_those_it_runs(Path(script))


def program_finding(subject: Subject, cause: str, fix: str, blocks: bool = True) -> Finding:
    """A finding about the job's script, its function or its other files."""
    job = subject.job
    key = "script" if job.script else next(iter(job.functions), "files")
    return Finding(cause, fix, "job", key, blocks)
