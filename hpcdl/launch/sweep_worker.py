"""What a task of a sweep's array runs: claim a trial, run it, note its end, take the next.

``python -m hpcdl.launch.sweep_worker FOLDER``. With ``trials_per_gpu`` a task has a process for
each of its slots, and each does the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hpcdl.contract.exit_status import EXIT_STOPPED
from hpcdl.errors import HpcdlError
from hpcdl.launch.retry import OutOfPatienceError, RunRemovedError, keep_trying, say
from hpcdl.sweeps.folder import SweepPaths

_BLIND_RESTARTS = 20  # how often a task is requeued that cannot use the sweep's folder


def main(argv: Sequence[str]) -> int:
    """Run the trials of one task.

    Args:
        argv: the sweep's folder; of a worker on this machine its key, too; of a slot ``--slot`` and
            its number.

    Returns:
        the exit status: 75 if the task is to be requeued.
    """
    folder, *rest = argv
    slot = int(rest[rest.index("--slot") + 1]) if "--slot" in rest else None
    local_key = rest[0] if rest and rest[0] != "--slot" else None
    paths = SweepPaths(Path(folder))
    try:
        return _run(paths, task_key(local_key), slot, argv)
    except (OutOfPatienceError, OSError) as error:
        say(f"the sweep's folder cannot be used: {error}; what was saved before is intact")
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        return EXIT_STOPPED if restarts < _BLIND_RESTARTS else 1
    except (RunRemovedError, HpcdlError) as error:
        say(f"{error}: this task ends here")
        return 1


def task_key(local_key: str | None) -> str:
    """This task's key: SLURM's id of it, such as ``123_4``; on this machine what was given."""
    job_id = os.environ.get("SLURM_ARRAY_JOB_ID")
    if local_key is None and job_id:
        return f"{job_id}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return local_key or "local_0"


def _run(paths: SweepPaths, key: str, slot: int | None, argv: Sequence[str]) -> int:
    from hpcdl.launch.trials import Worker
    from hpcdl.sweeps.settings import SweepSettings

    if paths.run.is_removed():
        raise RunRemovedError(f"{paths.root} was removed")
    # A file that cannot be read now is not a damaged one
    keep_trying("sweep.json", paths.sweep.read_bytes, paths.run)
    settings = SweepSettings.read(paths)
    if slot is None and settings.trials_per_gpu > 1:
        return _run_slots(settings.trials_per_gpu, argv)
    full_key = key if slot is None else f"{key}.{slot}"
    return Worker(paths, settings, key, full_key).run()


def _run_slots(slots: int, argv: Sequence[str]) -> int:
    """Run a process for each slot, and hand SIGTERM on to them; the task's exit status."""
    processes = []
    for slot in range(slots):
        command = [sys.executable, *_own_options(), "-m", __spec__.name, *argv, "--slot", str(slot)]
        processes.append(subprocess.Popen(command))

    def hand_on(number: int, frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    statuses = [process.wait() for process in processes]
    if EXIT_STOPPED in statuses or -signal.SIGKILL in statuses:
        return EXIT_STOPPED
    return max(statuses, key=abs)


def _own_options() -> list[str]:
    options = ["-u"]
    if sys.flags.no_user_site:
        options.append("-s")
    return options


if __name__ == "__main__":
    if sys.flags.no_user_site:
        # The Pythons that it starts must not look into ~/.local either
        os.environ["PYTHONNOUSERSITE"] = "1"
    started = time.time()
    status = main(sys.argv[1:])
    say(f"this task ends with status {status} after {time.time() - started:.0f} s")
    os._exit(status) if status < 0 else sys.exit(status)
