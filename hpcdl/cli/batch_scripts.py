"""Which arguments are batch scripts, and how a command reads them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.batchscript.model import BatchScript

_OF_JOBS = (".yaml", ".yml", ".py", ".ipynb")
_HEAD_BYTES = 1_000_000


def is_batch_script(name: str) -> bool:
    """Whether an argument JOB names a batch script."""
    from hpcdl.errors import UserError
    from hpcdl.job.notjobs import is_shell_script

    path = Path(os.path.expanduser(name))
    if path.is_fifo() and not os.path.abspath(path).startswith(("/dev/", "/proc/")):
        raise UserError(f"{name} is a pipe, which nobody may write to; expected a file")
    if path.suffix in _OF_JOBS or not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return False  # whoever reads it says why
    text = head.decode("utf-8", errors="replace")
    if is_shell_script(path.name, text):
        return True
    from hpcdl.batchscript.foreign import other_system

    return text.startswith("#!") and bool(other_system(text, name))


def read(name: str) -> BatchScript:
    """The batch script of an argument.

    Raises:
        UserError: it is none, or cannot be read.
    """
    from hpcdl.batchscript.read import read_script
    from hpcdl.errors import UserError
    from hpcdl.job import find_job
    from hpcdl.text import did_you_mean, hpcdl_command

    if re.fullmatch(r"[^-./~ ][^./]*", name) and not os.path.lexists(name):
        close = did_you_mean(name, sorted(os.listdir()), also="; expected a batch script")
        raise UserError(f"there is no file {name!r}{close}")
    path = find_job(name).path
    if path.suffix in _OF_JOBS:
        check = hpcdl_command("check", name)
        raise UserError(f"{name} is a job already, and no batch script: {check}")
    return read_script(path, name)
