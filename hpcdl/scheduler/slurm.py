"""The only file that calls SLURM's commands and reads what they print."""

from __future__ import annotations

import fcntl
import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl.errors import SchedulerError
from hpcdl.files import cache_folder, read_json, write_json

# What a job may inherit from the shell that submits it. Everything else is left behind: variables of
# an enclosing job, a notebook or a container change what sbatch asks for or what the job does.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "SLURM_CONF", "MODULEPATH", "MODULESHOME")
_KEPT_PREFIXES = (
    "BASH_FUNC_module",
    "BASH_FUNC_ml",
    "BASH_FUNC__module",
    "BASH_FUNC__moduleraw",
    "LC_",
    "LMOD_",
    "MODULES_",
)


@dataclass(frozen=True)
class JobInfo:
    """What SLURM said of a job at one time: its state in its own word, why it waits, where it is, when it may start."""

    state: str
    asked: float = 0.0
    reason: str = ""
    node: str = ""
    start: str = ""


def submission_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment to start sbatch with, which becomes the job's."""
    return {k: v for k, v in environ.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}


def available() -> bool:
    """Whether this machine can submit to SLURM."""
    return shutil.which("sbatch") is not None


def sbatch(script: Path) -> str:
    """Submit a batch script.

    Returns:
        The job's id.

    Raises:
        SchedulerError: SLURM refused it, with its own words.
    """
    answer = _call(["sbatch", "--parsable", str(script)], env=submission_environment(os.environ))
    job_id = answer.strip().splitlines()[-1].partition(";")[0] if answer.strip() else ""
    if not job_id.isdigit():
        raise SchedulerError(f"sbatch took the job but its answer is unreadable: {answer!r}; see squeue --me")
    return job_id


def scancel(job_id: str) -> None:
    """Cancel a job; one that has ended already is no error.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    _call(["scancel", "--quiet", job_id])


def end_time(job_id: str) -> float | None:
    """When a running job reaches its time limit (unix time), or None where SLURM does not say.

    SLURM_JOB_END_TIME is not set everywhere (not on 22.05), so squeue is asked, once an attempt.
    """
    try:
        text = _call(["squeue", "--noheader", "--format=%e", f"--jobs={job_id}"]).strip()
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (SchedulerError, ValueError):
        return None


def jobs(job_ids: Iterable[str], min_poll_s: int, since: float = 0.0) -> dict[str, JobInfo]:
    """What SLURM knows of these jobs, from squeue and, for those it has forgotten, sacct.

    SLURM is asked at most once in min_poll_s seconds by all of a user's hpcdl
    commands together; between, they share the last answer. A job that the last
    answer cannot know of yet is not in the result.

    Args:
        job_ids: the jobs.
        min_poll_s: seconds between two questions.
        since: when the youngest of these jobs was submitted (unix time).

    Raises:
        SchedulerError: SLURM did not answer.
    """
    wanted = set(job_ids)
    store = cache_folder() / "slurm-jobs.json"
    with (cache_folder() / "slurm-jobs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read_json(store) or {"time": 0.0, "jobs": {}}
        if time.time() - known["time"] >= min_poll_s:
            now = time.time()
            finished = {i: row for i, row in known["jobs"].items() if _settled(row, now)}
            answer = _ask(wanted - set(finished))
            known = {"time": now, "jobs": {**finished, **{i: vars(info) for i, info in answer.items()}}}
            write_json(store, known)
    if known["time"] < since:
        return {}
    return {i: JobInfo(**row) for i, row in known["jobs"].items() if i in wanted}


_REMEMBERED_S = 3600.0
FINISHED = frozenset(
    ["BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"]
)


def _settled(row: dict[str, Any], now: float) -> bool:
    """Whether a remembered answer will not change any more, and is not too old to be asked for again."""
    return row["state"] in FINISHED and now - row["asked"] < _REMEMBERED_S


def _ask(job_ids: set[str]) -> dict[str, JobInfo]:
    """One call of squeue for all of the user's jobs, then at most one of sacct."""
    found = {}
    now = time.time()
    text = _call(["squeue", "--noheader", f"--user={getpass.getuser()}", "--states=all", "--format=%i|%T|%r|%N|%S"])
    for line in text.splitlines():
        job_id, state, reason, node, start = line.split("|")
        found[job_id] = JobInfo(state, now, _none(reason), _none(node), _none(start))
    forgotten = sorted(job_ids - set(found))
    if forgotten and shutil.which("sacct"):
        with suppress(SchedulerError):  # accounting may be down while the scheduler is not: they stay unknown
            found.update(_account(forgotten))
    return found


def _account(job_ids: Sequence[str]) -> dict[str, JobInfo]:
    fields = "--format=JobIDRaw,State,NodeList"
    text = _call(["sacct", "--noheader", "--parsable2", "--allocations", fields, f"--jobs={','.join(job_ids)}"])
    now = time.time()
    rows = (line.split("|") for line in text.splitlines())
    return {job_id: JobInfo(state.split()[0], now, "", _none(node)) for job_id, state, node in rows}


def _none(text: str) -> str:
    return "" if text in ("None", "N/A", "(null)", "None assigned") else text


def _call(argv: list[str], env: dict[str, str] | None = None, timeout_s: int = 60) -> str:
    try:
        answer = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise SchedulerError(
            f"{argv[0]} is not on this machine: run hpcdl on a login node, or use --backend local"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(f"{argv[0]} did not answer in {timeout_s} s; SLURM may be busy, try again") from error
    if answer.returncode:
        words = (answer.stderr or answer.stdout).strip()
        raise SchedulerError(f"{argv[0]} failed (exit {answer.returncode}): {words}")
    return answer.stdout
