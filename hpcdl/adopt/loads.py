"""Whether a job file that was adopted loads again, and gives back the same texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from hpcdl.adopt.model import Adopted
from hpcdl.contract.settings import join
from hpcdl.errors import Problem
from hpcdl.job.build import build
from hpcdl.yamlfile.reader import Located, read_yaml

# What may be there when the job is sent, and need not be now
_NOT_YET = re.compile("there is no |is not set")

_BYTES = re.compile("[\ud800-\udfff]")  # of another encoding, as Python reads them


def problems_of(adopted: Adopted, text: str, folder: Path) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the job file: what keeps it from loading, and what is not there yet.

    Args:
        adopted: the batch script.
        text: the job file.
        folder: the folder where it will lie.
    """
    shown = adopted.script.shown
    faults = list(_not_utf8(adopted.document, shown))
    if faults:
        return faults, []
    read_again = read_yaml(text, "the job file", faults)
    if not faults and (read_again is None or read_again.plain() != adopted.document.plain()):
        message = "a value of this script does not pass through a job file: tell hpcdl's authors"
        faults.append(Problem(shown, "", message))
    found: list[Problem] = []
    build(adopted.document, folder, shown, found)
    later: list[Problem] = []
    for problem in found:
        is_later = _NOT_YET.search(problem.message) is not None
        (later if is_later else faults).append(problem)
    return faults, later


def _not_utf8(item: Located, shown: str, key: str = "") -> Iterator[Problem]:
    """The texts that a job file, which is UTF-8, cannot hold."""
    if isinstance(item.value, dict):
        for name, inner in item.value.items():
            yield from _not_utf8(inner, shown, join(key, name))
    elif isinstance(item.value, list):
        for inner in item.value:
            yield from _not_utf8(inner, shown, key)
    elif isinstance(item.value, str) and _BYTES.search(item.value):
        convert = f"iconv -f ISO-8859-1 -t UTF-8 {quote(shown)} > new.slurm"
        yield Problem(item.where, key, f"is not UTF-8 text, as a job file is; {convert}")
