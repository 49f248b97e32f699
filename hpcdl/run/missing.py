"""What to try when a program could not open a file that exists on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

# What Python, pandas, h5py, Keras and TensorFlow say; the name is the group
_SAYS = (
    re.compile(r"No such file or directory: b?['\"](?P<name>[^'\"]+)['\"]"),
    re.compile(r"FileNotFoundError: (?P<name>\S+) not found"),
    re.compile(r"unable to open file: name = '(?P<name>[^']+)'.*No such file"),
    re.compile(r"File not found: filepath=(?P<name>\S+?)\.? "),
    re.compile(r"NotFoundError:.*?(?P<name>[\w./~+-]+); No such file or directory"),
)

_READ_ONLY = re.compile(r"Read-only file system: ['\"](?P<name>[^'\"]+)['\"]")


def missing_file_hint(lines: Sequence[str], folder: str, run: str) -> str | None:
    """A hint for a run whose program could not open a file that lies on this machine.

    Args:
        lines: what the program printed last.
        folder: the folder of the script, or of the job file.
        run: the run folder.

    Returns:
        What to change in the job or the profile; None if no such file exists here.
    """
    for line in reversed(lines):
        locked = _READ_ONLY.search(line)
        if locked and os.path.isabs(locked["name"]) and not locked["name"].startswith(run):
            parent = os.path.dirname(locked["name"])
            return f"{parent} is bound read-only; to write there, add to binds: [{parent}]"
        name = _name_in(line)
        if name is None:
            continue
        for frozen in (f"{run}/work/", f"{run}/user/"):
            name = name.removeprefix(frozen)
        name = os.path.normpath(name)
        if os.path.isabs(name):
            if not os.path.exists(name) or name.startswith(run):
                return None
            parent = name if os.path.isdir(name) else os.path.dirname(name)
            return f"{name} exists, but the container does not see it: add to binds: [{parent}]"
        if not folder or not os.path.exists(os.path.join(folder, name)):
            return None
        return f"{name} lies next to the script: say files: [{name}] in the job file, or workdir: ."
    return None


def _name_in(line: str) -> str | None:
    for pattern in _SAYS:
        match = pattern.search(line)
        if match:
            return match["name"]
    return None
