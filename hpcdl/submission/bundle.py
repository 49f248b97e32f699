"""``render -o DIR``: a folder with a batch script and all it needs, to be copied anywhere."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.files import write_text
from hpcdl.job import Job
from hpcdl.oserrors import failed_path, refusal
from hpcdl.planning import Plan, Script
from hpcdl.script import render
from hpcdl.submission.locate import Located
from hpcdl.usercode.freeze import copy_code, freeze_support, freeze_user_files

SCRIPT = "job.sbatch"


def write_bundle(folder: Path, located: Located) -> None:
    """Write ``job.sbatch`` and what it needs.

    For a training these are ``run.json`` and ``code/``, for a command ``code/``, else the script
    and its files.

    Raises:
        UserError: the folder is not empty, or cannot be written.
        HpcdlError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and not empty; choose another folder")
    job, plan, spec = located.job, located.plan, located.spec
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}."))
        try:
            if plan.program.on_host:
                copy_code(aside / "code" / "hpcdl")
                note = f"works in {plan.program.workdir}, wherever this folder is copied to"
                plan = replace(plan, notes=[*plan.notes, note])
            elif spec is None:
                plan = _moved(plan, job)
                freeze_user_files(job, aside)
                freeze_support(aside)
                if plan.program.workdir:
                    (aside / plan.program.workdir).mkdir(parents=True, exist_ok=True)
            else:
                write_text(aside / "run.json", spec.to_json())
                copy_code(aside / "code" / "hpcdl")
                freeze_user_files(job, aside / "code")
            write_text(aside / SCRIPT, render(plan, SCRIPT, bundle=True))
            aside.chmod(0o755)
            aside.replace(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise refusal(f"cannot write {failed_path(error) or folder}", error) from error


def _moved(plan: Plan, job: Job) -> Plan:
    """The plan of a folder that may be copied anywhere.

    A workdir that is relative to the job file, and in its folder, is a folder of the bundle's; any
    other stays where it is, and the script's header says so.
    """
    if not isinstance(plan.program, Script):
        return plan
    program = replace(plan.program, script=Path(plan.program.script).name)
    plan = replace(plan, program=program)
    if job.workdir is None:
        return plan
    relative = os.path.relpath(job.workdir, job.folder)
    if os.path.isabs(os.path.expanduser(job.workdir_text)) or relative.split("/")[0] == "..":
        note = f"works in {job.workdir}, wherever this folder is copied to"
        return replace(plan, notes=[*plan.notes, note])
    workdir = None if relative == "." else relative
    return replace(plan, program=replace(program, workdir=workdir))
