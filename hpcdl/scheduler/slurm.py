"""The only file that calls SLURM's commands and reads what they print."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl import cache
from hpcdl.environment import submission_environment
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import clusters

_SBATCH_S = (
    180  # a busy SLURM takes jobs slowly, and one that sbatch gave up may be taken all the same
)
NOT_REACHED = "(connect failure)"  # what SLURM's commands say where nothing was sent
_LOCK = "slurm-jobs.lock"
_REMEMBERED_S = 3600.0
_MISSING_S = 600.0  # accounting may lag that far behind the queue
FINISHED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "TIMEOUT",
    ]
)
UNKNOWN = "UNKNOWN"  # not one of SLURM's states: SLURM was asked, and does not know the job
ENDED = FINISHED | {UNKNOWN}


@dataclass(frozen=True)
class JobInfo:
    """What SLURM said of a job at one time: its state in its own word, why it waits, where it is, when it may start."""

    state: str
    asked: float = 0.0
    reason: str = ""
    node: str = ""
    start: str = ""


def user() -> str:
    """Who asks: the user's name, or the number where the machine knows no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def available() -> bool:
    """Whether this machine can submit to SLURM."""
    return shutil.which("sbatch") is not None


def sbatch(script: Path, options: Sequence[str] = (), known: Collection[str] = ()) -> str:
    """Submit a batch script, which lies in its job's working directory.

    Where sbatch gives no id, SLURM may have taken the job all the same: then the queue is looked at.

    Args:
        script: the script.
        options: options beside those in the script, which they override.
        known: the other jobs in this directory.

    Returns:
        The job's id.

    Raises:
        SchedulerError: SLURM refused it, with its own words, or did not answer.
    """
    argv = ["sbatch", "--parsable", *options, str(script)]
    try:
        said = call(argv, env=submission_environment(os.environ), timeout_s=_SBATCH_S)
        job_id = said.strip().splitlines()[-1].partition(";")[0] if said.strip() else ""
        if job_id.isdigit():
            return job_id
        raise SchedulerError(
            f"sbatch took the job but its answer is unreadable: {said!r}; see squeue --me"
        )
    except SchedulerError as error:
        taken = None
        if NOT_REACHED not in str(error):
            with suppress(SchedulerError):
                taken = job_in(script.parent, known)
        if taken is None:
            raise
        return taken


def job_in(folder: Path, known: Collection[str] = ()) -> str | None:
    """The job that waits or runs with this working directory, beside those known; None where there is none.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    for job_id in jobs_in(folder):
        if job_id not in known:
            return job_id
    return None


def jobs_in(folder: Path) -> list[str]:
    """The jobs that wait or run with this working directory.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    return [job_id for job_id, place in working_directories() if place == str(folder)]


def working_directories() -> list[tuple[str, str]]:
    """The id and the working directory of each of the user's jobs that waits or runs.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    text = call(["squeue", "--noheader", f"--user={user()}", "--format=%i|%Z"])
    jobs_and_places = []
    for line in text.splitlines():
        job_id, _, place = line.partition("|")
        jobs_and_places.append((job_id, place))
    return jobs_and_places


def scancel(*job_ids: str, pending: bool = False) -> None:
    """Cancel jobs; those that have ended already are no error.

    Args:
        job_ids: the jobs.
        pending: only those that have not started.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    call(["scancel", "--quiet", *(["--state=PENDING"] if pending else []), *job_ids])


def release(job_id: str) -> None:
    """Let a job start that was submitted with ``--hold``.

    Raises:
        SchedulerError: SLURM did not take it.
    """
    call(["scontrol", "release", job_id])


def exclude(job_id: str, nodes: str) -> None:
    """Keep a job that has not started away from some nodes, and no others: ``n1,n[3-4]``.

    Raises:
        SchedulerError: SLURM did not take it.
    """
    call(["scontrol", "update", f"JobId={job_id}", f"ExcNodeList={nodes}"])


def with_own_excluded(plan: Mapping[str, Any], nodes: Sequence[str]) -> str:
    """The nodes to keep away from, with those of the user's own ``slurm: {exclude: ...}``.

    An option of sbatch's command line takes the place of the script's, so both go into one.

    Args:
        plan: plan.json.
        nodes: names of nodes.

    Raises:
        SchedulerError: the user's own list is a file that cannot be read.
    """
    own = dict(plan.get("directives", ())).get("exclude", "")
    if "/" in own:  # sbatch takes a file of names, too
        try:
            own = ",".join(Path(own).read_text(encoding="utf-8").replace(",", " ").split())
        except (OSError, UnicodeDecodeError) as error:
            message = f"slurm.exclude names the file {own}, which cannot be read: {error}"
            raise SchedulerError(message) from error
    return ",".join(dict.fromkeys([*filter(None, [own]), *nodes]))


def past_states(job_id: str) -> list[str]:
    """How each attempt of a job ended that was requeued, in SLURM's words, oldest first.

    Raises:
        SchedulerError: there is no sacct here, or it did not answer.
    """
    fields = "--format=State"
    text = call(
        [
            "sacct",
            "--duplicates",
            "--allocations",
            "--noheader",
            "--parsable2",
            fields,
            f"--jobs={job_id}",
        ]
    )
    states = [line.split()[0] for line in text.splitlines() if line.strip()]
    return [state for state in states if state in FINISHED or state == "REQUEUED"]


def end_time(job_id: str) -> float | None:
    """When a running job reaches its time limit (unix time), or None where SLURM does not say.

    SLURM_JOB_END_TIME is not set everywhere (not on 22.05), so squeue is asked, once an attempt. Of a
    job that is being cancelled it gives the time of that, which is no limit: only a running job's counts.
    """
    try:
        text = call(["squeue", "--noheader", "--format=%T %e", f"--jobs={job_id}"])
        state, _, end = text.strip().partition(" ")
        return time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S")) if state == "RUNNING" else None
    except (SchedulerError, ValueError):
        return None


def jobs(job_ids: Iterable[str], min_poll_s: int, since: float = 0.0) -> dict[str, JobInfo]:
    """What SLURM knows of these jobs, from squeue and, for those it has forgotten, sacct.

    SLURM is asked at most once in min_poll_s seconds by all of a user's hpcdl
    commands together, whether it answers or not; between, they share the last
    answer. Where the user's cache cannot be written, each command asks for itself.
    A job that no answer tells of yet is not in the result.

    Args:
        job_ids: the jobs.
        min_poll_s: seconds between two questions.
        since: when the youngest of these jobs was submitted (unix time).

    Raises:
        SchedulerError: SLURM did not answer, and has not told of these jobs before.
    """
    wanted = set(job_ids)
    known = _latest(wanted, min_poll_s)
    found = {
        i: JobInfo(**row)
        for i, row in known["jobs"].items()
        if i in wanted and row["asked"] >= since
    }
    if known["error"] and not found:
        raise SchedulerError(known["error"])
    return found


def _latest(wanted: set[str], min_poll_s: int) -> dict[str, Any]:
    """The last answer, or a new one where that is old enough; all of the user's commands share it."""
    with cache.locked(_LOCK):
        old = _remembered()
        known = dict(old)
        if not 0 <= time.time() - known["time"] < min_poll_s:
            cache.store(
                _cache_name(), {**known, "time": time.time()}
            )  # if this command is killed while it asks
            known = _ask(known, wanted)
        known["wanted"] = sorted(wanted | set(known["wanted"]))
        if known != old:
            cache.store(_cache_name(), known)
    return known


def _cache_name() -> str:
    """Where answers are kept: apart for each cluster, as two may have the same job number."""
    return f"slurm-jobs-{clusters.asked()}".rstrip("-") + ".json"


def _remembered() -> dict[str, Any]:
    """The last answer; nothing if the cache has none, or one of another form."""
    import msgspec

    answer = _nothing_known() | cache.load(_cache_name())
    try:
        jobs = msgspec.convert(answer["jobs"], dict[str, JobInfo])
        msgspec.convert([answer["time"], *answer["missing"].values()], list[float])
        msgspec.convert([answer["error"], *answer["wanted"]], list[str])
    except (msgspec.ValidationError, AttributeError, TypeError):
        return _nothing_known()
    return {**answer, "jobs": {job_id: vars(info) for job_id, info in jobs.items()}}


def _nothing_known() -> dict[str, Any]:
    """What is kept before SLURM was ever asked.

    ``time`` and ``error`` are of the last question, ``jobs`` have a row each, ``missing`` are those that neither
    squeue nor sacct knew, and since when, ``wanted`` are asked for next time.
    """
    return {"time": 0.0, "error": "", "jobs": {}, "missing": {}, "wanted": []}


def _ask(known: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    """One call of squeue for all of the user's jobs, then at most one of sacct: what is known after it."""
    now = time.time()
    settled = {i: row for i, row in known["jobs"].items() if _settled(row, now)}
    asked = (wanted | set(known["wanted"])) - set(settled)
    try:
        found = _queue(now)
    except SchedulerError as error:
        return {**known, "time": now, "error": str(error)}
    forgotten, answered = sorted(asked - set(found)), True
    if forgotten and shutil.which("sacct"):
        try:
            found.update(_account(forgotten))
        except SchedulerError:
            answered = (
                False  # accounting may be down while the scheduler is not: they stay what they were
            )
    missing = (
        {i: known["missing"].get(i, now) for i in forgotten if i not in found}
        if answered
        else known["missing"]
    )
    found.update(
        {i: JobInfo(UNKNOWN, now) for i, first in missing.items() if now - first >= _MISSING_S}
    )
    rows = {**settled, **{i: vars(info) for i, info in found.items()}}
    return {**_nothing_known(), "time": now, "jobs": rows, "missing": missing}


def _settled(row: dict[str, Any], now: float) -> bool:
    """Whether a remembered answer will not change any more, and is not too old to be asked for again."""
    return row["state"] in FINISHED and now - row["asked"] < _REMEMBERED_S


def _queue(now: float) -> dict[str, JobInfo]:
    found = {}
    text = call(
        ["squeue", "--noheader", f"--user={user()}", "--states=all", "--format=%i|%T|%r|%N|%S"]
    )
    for line in text.splitlines():
        job_id, state, reason, node, start = line.split("|")
        found[job_id] = JobInfo(state, now, _none(reason), _none(node), _none(start))
    return found


def _account(job_ids: Sequence[str]) -> dict[str, JobInfo]:
    fields = "--format=JobIDRaw,State,NodeList"
    text = call(
        [
            "sacct",
            "--noheader",
            "--parsable2",
            "--allocations",
            fields,
            f"--jobs={','.join(job_ids)}",
        ]
    )
    now = time.time()
    rows = (line.split("|") for line in text.splitlines())
    return {job_id: JobInfo(state.split()[0], now, "", _none(node)) for job_id, state, node in rows}


def _none(text: str) -> str:
    return "" if text in ("None", "N/A", "(null)", "None assigned") else text


def call(argv: list[str], env: dict[str, str] | None = None, timeout_s: int = 60) -> str:
    """What one of SLURM's commands prints.

    Raises:
        SchedulerError: it is not here, did not answer in time, or failed, with its own words.
    """
    done = answer(argv, env, timeout_s)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise SchedulerError(f"{argv[0]} failed (exit {done.returncode}): {words}")
    return clusters.without_headings(done.stdout)


def answer(
    argv: list[str], env: dict[str, str] | None = None, timeout_s: int = 60, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """All that one of SLURM's commands says, whatever its exit status.

    Without an ``env`` it gets what a job may inherit: SQUEUE_STATES, SCANCEL_STATE or SLURM_TIME_FORMAT of
    the user's shell would change what it does.

    Raises:
        SchedulerError: it is not here, or did not answer in time.
    """
    env = submission_environment(os.environ) if env is None else env
    try:
        return subprocess.run(
            clusters.with_cluster(argv), env=env, input=stdin, capture_output=True, timeout=timeout_s, check=False,
            encoding="utf-8", errors="surrogateescape",  # a working directory need not be UTF-8
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SchedulerError(
            f"{argv[0]} is not on this machine: run hpcdl on a login node, or use --backend local"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(
            f"{argv[0]} did not answer in {timeout_s} s; SLURM may be busy, try again"
        ) from error
