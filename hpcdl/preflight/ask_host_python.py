"""Asks a Python whether it can run hpcdl's worker. A yes is kept until a file it needs changes."""

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

from hpcdl import cache, modules
from hpcdl.environment import submission_environment
from hpcdl.image import read_answer
from hpcdl.preflight import run_worker
from hpcdl.preflight.loaded_files import stamps
from hpcdl.worker.command import python_options

_CACHE = "host-python.json"
_CACHE_VERSION = 1
_MAX_ANSWERS = 8  # in the cache
# The login files that define `module` are not among the files of an answer, so it ends with time.
_VALID_S = 24 * 3600
_TICK_NS = (
    100_000_000  # the clock of a file system ticks: a file's times may be this much too early
)
_PROGRAM = Path(run_worker.__file__).read_text(encoding="utf-8")


def why_not(python: str, module_lines: Sequence[str], code_sha: str) -> str:
    """Why a Python cannot run the worker after some module lines; "" if it can.

    Only a yes is kept, so that a fault that was corrected is not reported again.

    Args:
        python: the Python.
        module_lines: the batch script's lines that load modules.
        code_sha: of hpcdl's own code.

    Raises:
        ModuleError: a module cannot be loaded.
        PermissionError: the Python cannot be executed.
        HpcdlError: this machine has no module command, or the Python did not end in time.
    """
    key = _key(python, module_lines, code_sha)
    if _is_cached(key):
        return ""
    begun_ns = time.time_ns() - _TICK_NS
    # A folder with hpcdl alone: not with the packages that are installed next to it
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "hpcdl").symlink_to(Path(__file__).resolve().parents[1])
        environment = {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [python, *python_options(), "-c", _PROGRAM]
        done = modules.run(module_lines, argv, environment)
    if done.returncode:
        return modules.last_line(done.stderr) or f"exit {done.returncode}"
    answer = None
    for line in done.stdout.splitlines():
        answer = read_answer(line) or answer
    if answer is None:
        return "it ended without an answer; expected a Python"
    files = [file for file in answer["files"] if not Path(file).is_relative_to(folder)]
    _store(key, [os.path.abspath(python), *_sourced(module_lines), *files], begun_ns)
    return ""


def _sourced(module_lines: Sequence[str]) -> list[str]:
    """The files that define the module command: ``source FILE``."""
    return [shlex.split(line)[1] for line in module_lines if line.startswith("source ")]


def _key(python: str, module_lines: Sequence[str], code_sha: str) -> str:
    """The question: which Python, after which lines, in which environment, on which machine."""
    question: list[Any] = [_CACHE_VERSION, python, python_options(), list(module_lines)]
    question += [code_sha, os.uname().nodename]
    question.append(sorted(submission_environment(os.environ).items()))
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()


def _is_cached(key: str) -> bool:
    """Whether the Python said yes in the last hours, and no file has changed since."""
    answer = _cached_answers().get(key)
    if answer is None or not 0 <= time.time() - answer["time"] < _VALID_S:
        return False
    return bool(stamps(answer["stamps"]) == answer["stamps"])


def _store(key: str, files: list[str], begun_ns: int) -> None:
    """Keep a yes, unless a file changed meanwhile: nobody knows which content was loaded."""
    now = stamps(files)
    if any(stamp is not None and max(stamp[1:]) >= begun_ns for stamp in now.values()):
        return
    answers = {**_cached_answers(), key: {"time": time.time(), "stamps": now}}
    newest_keys = sorted(answers, key=lambda each: -answers[each]["time"])[:_MAX_ANSWERS]
    cache.store(_CACHE, {each: answers[each] for each in newest_keys})


def _cached_answers() -> dict[str, Any]:
    """The answers in the cache, without those that another version wrote."""
    answers = {}
    for key, answer in cache.load(_CACHE).items():
        if not isinstance(answer, dict) or not isinstance(answer.get("time"), (int, float)):
            continue
        if isinstance(answer.get("stamps"), dict):
            answers[key] = answer
    return answers
