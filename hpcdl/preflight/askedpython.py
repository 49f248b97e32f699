"""Asks a Python whether it can run hpcdl's worker. A yes is kept for as long as nothing that it rests on changes."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hpcdl
from hpcdl import cache, modules
from hpcdl.environment import submission_environment
from hpcdl.preflight.loaded_files import stamps
from hpcdl.submission.send import python_options

_CACHE = "host-python.json"
_FORM = 1  # of what is kept
_KEPT = 8  # answers that are kept
_KEPT_S = (
    24 * 3600
)  # the login files that define `module` are not among the files that are looked at
_TICK_NS = 100_000_000  # a file's times are of a clock that ticks: they may lie that far back
_PROGRAM = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]  # the worker starts in another folder than hpcdl
if sys.version_info < (3, 10):
    sys.exit("it is Python %d.%d; expected 3.10 or newer" % sys.version_info[:2])
import msgspec, submitit, hpcdl.launch.attempt, hpcdl.worker.__main__
import json
from hpcdl.preflight.loaded_files import loaded_files
print("hpcdl:" + json.dumps(loaded_files()))
"""
_ANSWER = "hpcdl:"


def why_not(python: str, lines: Sequence[str], code_sha: str) -> str:
    """Why a Python cannot run the worker after some module lines; empty if it can.

    Only a yes is kept: whoever mends what was wrong is not told of it again.

    Args:
        python: the Python.
        lines: of the batch script, which load modules.
        code_sha: of hpcdl's own code.

    Raises:
        ModuleError: a module is not to be loaded.
        PermissionError: it cannot be executed.
        HpcdlError: this machine has no module command, or the Python did not end in time.
    """
    key = _key(python, lines, code_sha)
    if _is_kept(key):
        return ""
    begun_ns = time.time_ns() - _TICK_NS
    with tempfile.TemporaryDirectory() as folder:  # hpcdl alone: not what is installed beside it
        Path(folder, "hpcdl").symlink_to(Path(hpcdl.__file__).parent)
        environment = {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = modules.run(lines, [python, *python_options(), "-c", _PROGRAM], environment)
    if done.returncode:
        return modules.last_line(done.stderr) or f"exit {done.returncode}"
    # What it starts may print words of its own before.
    answers = [line for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    if not answers:
        return "it ended without an answer; expected a Python"
    told: list[str] = json.loads(answers[-1].removeprefix(_ANSWER))
    files = [file for file in told if not Path(file).is_relative_to(folder)]
    _keep(key, [os.path.abspath(python), *_sourced(lines), *files], begun_ns)
    return ""


def _sourced(lines: Sequence[str]) -> list[str]:
    """The files that are read to have a module command: ``source FILE``."""
    return [shlex.split(line)[1] for line in lines if line.startswith("source ")]


def _key(python: str, lines: Sequence[str], code_sha: str) -> str:
    """What was asked: which Python, after what, in which environment, on which machine, to run which code."""
    asked: list[Any] = [_FORM, python, python_options(), list(lines), code_sha, os.uname().nodename]
    asked.append(sorted(submission_environment(os.environ).items()))
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _is_kept(key: str) -> bool:
    """Whether the Python said yes in the last hours, and all files are what they were."""
    answer = _answers().get(key)
    if answer is None or not 0 <= time.time() - answer["time"] < _KEPT_S:
        return False
    return bool(stamps(answer["stamps"]) == answer["stamps"])


def _keep(key: str, files: list[str], begun_ns: int) -> None:
    """Keep a yes, unless a file changed while it was given: nobody knows then which of the two was loaded."""
    now = stamps(files)
    if any(stamp is not None and max(stamp[1:]) >= begun_ns for stamp in now.values()):
        return
    answers = {**_answers(), key: {"time": time.time(), "stamps": now}}
    newest = sorted(answers, key=lambda each: -answers[each]["time"])[:_KEPT]
    cache.store(_CACHE, {each: answers[each] for each in newest})


def _answers() -> dict[str, Any]:
    """What is kept, without what another version wrote otherwise."""
    answers = {}
    for key, answer in cache.load(_CACHE).items():
        if not isinstance(answer, dict) or not isinstance(answer.get("time"), (int, float)):
            continue
        if isinstance(answer.get("stamps"), dict):
            answers[key] = answer
    return answers
