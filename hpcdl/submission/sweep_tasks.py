"""Sends a sweep's tasks, which claim its trials one by one, and says which of them live."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import RunError, SchedulerError
from hpcdl.run import records
from hpcdl.run.process_start import process_start
from hpcdl.run.records import Manifest
from hpcdl.scheduler.arrays import Piece, split
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.living_tasks import workers_here
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted

_started: list[subprocess.Popen[bytes]] = []  # held: Python complains of handles that it drops


def send_tasks(
    paths: SweepPaths,
    tasks: int,
    at_once: int,
    options: Sequence[str] = (),
    cluster: Cluster | None = None,
    after: Sequence[SentArray] = (),
) -> list[SentArray]:
    """Send tasks of a sweep that is on disk; each array is noted as soon as SLURM has it.

    If SLURM or the site allows fewer tasks, fewer are sent: they run all trials, and need longer.

    Args:
        paths: the sweep's.
        tasks: how many.
        at_once: how many of them may run at the same time.
        options: sbatch's, which override those of the script.
        cluster: the profile, for the site's own limits; None to go by SLURM's limits alone.
        after: they begin when the tasks of these arrays have ended.

    Raises:
        SchedulerError: SLURM refused them, or allows none now.
    """
    paths.notified.unlink(missing_ok=True)  # there will be another end
    if not paths.run.script.exists():
        return [_start_here(paths) for _ in range(min(tasks, at_once))]
    from hpcdl.scheduler.clusters import cluster_of, on_cluster
    from hpcdl.scheduler.limits import array_limits

    plan = records.plan(paths.run)
    limits = array_limits(plan.get("directives", ()), cluster or Cluster(name=""))
    sent = []
    with on_cluster(cluster_of(plan)):
        for piece in split(tasks, at_once, limits).pieces:
            sent.append(_send_piece(paths, piece, options, after))
    if not sent:
        raise SchedulerError(f"no task can be submitted now: {limits.submit_rule}; try again later")
    return sent


def send_reserves(
    paths: SweepPaths, sent: Sequence[SentArray], at_once: int, cluster: Cluster | None = None
) -> None:
    """Send tasks that go on with the trials which the last tasks of an array leave unfinished.

    Only where SLURM requeues none. Each array waits for the end of the one before, and a task that
    finds nothing to do ends at once. If SLURM takes no more of them, `hpcdl retry` sends others.

    Args:
        paths: the sweep's.
        sent: the tasks that may be cut.
        at_once: how many tasks may run at the same time.
        cluster: the profile, for the site's own limits.
    """
    if is_requeued(paths):
        return
    options = sent[-1].options
    with suppress(SchedulerError):
        for _ in range(records.plan(paths.run).get("max_requeues", 0)):
            sent = send_tasks(paths, at_once, at_once, options, cluster, sent)


def is_requeued(paths: SweepPaths) -> bool:
    """Whether a task goes on after its time limit; a worker on this machine has none."""
    return not paths.run.script.exists() or bool(records.plan(paths.run).get("requeue", True))


def living_tasks(paths: SweepPaths) -> int:
    """How many of a sweep's tasks wait or run; as far as is known, 0 if nobody can tell.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    submitted = SweepSubmitted.read(paths)
    if submitted is None:
        return 0
    if submitted.backend == "local":
        return len(workers_here(submitted))
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import cluster_of, on_cluster

    with on_cluster(cluster_of(records.plan(paths.run))):
        return slurm.count_tasks(submitted.job_ids)


def _send_piece(
    paths: SweepPaths, piece: Piece, options: Sequence[str], after: Sequence[SentArray]
) -> SentArray:
    from hpcdl.scheduler import slurm

    submitted = SweepSubmitted.read(paths)
    known = [] if submitted is None else submitted.job_ids
    array_options = [f"--array={piece.expression}", *options]
    if after:
        array_options.append(f"--dependency=afterany:{':'.join(str(a.job_id) for a in after)}")
    job_id = slurm.sbatch(paths.run.script, array_options, known)
    array = SentArray(
        job_id=job_id,
        tasks=piece.tasks,
        at_once=piece.at_once,
        sent=time.time(),
        options=list(options),
    )
    note_sent(paths, array)
    return array


def _start_here(paths: SweepPaths) -> SentArray:
    """Start a worker on this machine, in its own session: Ctrl-C does not reach it."""
    code = Manifest.read(paths.run).code_folder
    if code is None:
        message = f"{paths.run.manifest} does not say where hpcdl's code is"
        raise RunError(f"{message}; start the sweep again")
    submitted = SweepSubmitted.read(paths)
    number = 0 if submitted is None else len(submitted.arrays)
    argv = [sys.executable, "-u", "-m", "hpcdl.launch.sweep_worker", str(paths.root)]
    env = dict(os.environ, PYTHONPATH=code, PYTHONUTF8="1")
    log_path = paths.run.logs / f"local_{number}.out"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [*argv, f"local_{number}"],
            cwd=paths.root,  # `-m` imports from there first: never from the user's folder
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started.append(process)
    array = SentArray(
        job_id=None,
        tasks=1,
        at_once=1,
        sent=time.time(),
        pid=process.pid,
        pid_start=process_start(process.pid),
        host=socket.gethostname(),
    )
    note_sent(paths, array)
    return array


def note_sent(paths: SweepPaths, array: SentArray) -> None:
    """Add an entry to what was sent of a sweep.

    Raises:
        OSError: it cannot be written.
    """
    submitted = SweepSubmitted.read(paths)
    if submitted is None:
        backend = "slurm" if paths.run.script.exists() else "local"
        cluster = str(records.plan(paths.run).get("cluster", ""))
        submitted = SweepSubmitted(backend=backend, cluster=cluster, time=time.time())
    submitted.with_array(array).write(paths)
