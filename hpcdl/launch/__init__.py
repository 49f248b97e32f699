"""On the compute node: runs one attempt of a run in its container and writes down how it ended.

submitit's worker calls `launch` with the run folder's path. The pickle holds no more, so it can
run again after a requeue. Budgets and the rule against endless loops are decided here: the exit
status is 75 if the run needs another attempt.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.errors import UserError
from hpcdl.launch.retry import OutOfPatienceError, RunRemovedError, say
from hpcdl.run.paths import RunPaths

_BLIND_RESTARTS = (
    20  # how often a job is requeued that cannot write anything, not even its attempts
)


def launch(run: str) -> None:
    """Run one attempt.

    Args:
        run: the run folder.

    Raises:
        SystemExit: 75 if the job is to be requeued, the program's status if it failed.
    """
    from hpcdl.launch.attempt import attempt  # here: to submit the call, only its name is needed

    try:
        status = attempt(RunPaths(Path(run)), os.environ.get("SLURM_JOB_ID"))
    except OutOfPatienceError as error:
        say(f"the run folder cannot be used: {error}; what was saved before is intact")
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        status = EXIT_STOPPED if restarts < _BLIND_RESTARTS else 1
    except (RunRemovedError, UserError) as error:
        status = _give_up(error)
    _end(status)


def launch_local(run: str) -> None:
    """Run attempts on this machine until one does not ask for another.

    Args:
        run: the run folder.

    Raises:
        SystemExit: as `launch`; 75 if the run folder cannot be written.
    """
    from hpcdl.launch.attempt import attempt

    paths = RunPaths(Path(run))
    try:
        while (status := attempt(paths, None)) == EXIT_STOPPED:
            paths.stop.unlink(missing_ok=True)
    except OutOfPatienceError as error:
        say(f"the run folder cannot be used: {error}; hpcdl resume goes on when it can")
        status = EXIT_STOPPED
    except (RunRemovedError, UserError) as error:
        status = _give_up(error)
    _end(status)


def _give_up(error: RunRemovedError | UserError) -> int:
    """The status of a run that cannot go on: its folder was removed, or its plan is damaged."""
    say(f"{error}: this run ends here")
    return 1


def _end(status: int) -> None:
    """End with a status. On a full disk Python cannot flush, and would end with 120 instead."""
    if not status:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(status)
    sys.exit(status)
