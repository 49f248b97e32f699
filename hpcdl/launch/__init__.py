"""On the compute node: runs one attempt of a run in its container and writes down how it ended.

submitit's worker calls `launch` with the run folder's path; that is all the
pickle holds, so it can be run again after a requeue. Budgets and the rule
against endless loops are decided here: it exits with 75, or it does not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpcdl.contract.spec import EXIT_STOPPED
from hpcdl.launch.retry import OutOfPatienceError, RunRemovedError, say
from hpcdl.run.paths import RunPaths

_BLIND_RESTARTS = (
    20  # how often a job that can write nothing down, not even its attempts, is requeued
)


def launch(run: str) -> None:
    """Run one attempt.

    Args:
        run: the run folder.

    Raises:
        SystemExit: 75 where the job is to be requeued, the program's status where it failed.
    """
    from hpcdl.launch.attempt import attempt  # here: to submit the call, only its name is needed

    try:
        status = attempt(RunPaths(Path(run)), os.environ.get("SLURM_JOB_ID"))
    except OutOfPatienceError as error:
        say(f"the run folder cannot be used: {error}; what was saved before is intact")
        blind = int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= _BLIND_RESTARTS
        status = 1 if blind else EXIT_STOPPED
    except RunRemovedError as error:
        status = _give_up(error)
    _end(status)


def launch_local(run: str) -> None:
    """Run attempts on this machine until one does not ask to be run again.

    Args:
        run: the run folder.

    Raises:
        SystemExit: as `launch`; 75 where the run folder cannot be written.
    """
    from hpcdl.launch.attempt import attempt

    paths = RunPaths(Path(run))
    try:
        while (status := attempt(paths, None)) == EXIT_STOPPED:
            paths.stop.unlink(missing_ok=True)
    except OutOfPatienceError as error:
        say(f"the run folder cannot be used: {error}; hpcdl resume goes on when it can")
        status = EXIT_STOPPED
    except RunRemovedError as error:
        status = _give_up(error)
    _end(status)


def _give_up(error: RunRemovedError) -> int:
    """The status of a run whose folder was removed: nothing is left that could go on."""
    say(f"{error}: this run ends here")
    return 1


def _end(status: int) -> None:
    """End with a status. Python would replace it by 120 where a full disk keeps it from writing its last words."""
    if not status:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(status)
    sys.exit(status)
