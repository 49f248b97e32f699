"""Executors of submitit: it pickles the call and runs it on the node; the script is hpcdl's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from submitit.local.local import LocalExecutor, LocalJob
from submitit.slurm.slurm import SlurmExecutor, SlurmJob

from hpcdl.errors import SchedulerError
from hpcdl.run import records, states
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Submitted
from hpcdl.scheduler import slurm
from hpcdl.scheduler.excluded_nodes import with_own_excluded

# submitit knows a job of this machine by its process, which it is told in a variable. A run of
# hpcdl 0.1 goes on with its own code, which has no worker.
_WORKER = """
import os, sys
from importlib.util import find_spec
os.environ["SUBMITIT_LOCAL_JOB_ID"] = str(os.getpid())
if find_spec("hpcdl.worker"):
    from hpcdl.worker.__main__ import main
else:
    from submitit.core.submission import process_job as main
main(sys.argv[1])
"""


class SlurmScriptExecutor(SlurmExecutor):
    """Submits one call with a batch script that is already on disk.

    submitit's own script cannot bring a signal to a program in a container: its srun step kills
    the image's file system. So only its pickle and its worker are used.

    Args:
        folder: for submitit's pickles.
        script: the batch script, which runs `worker_command`.
        after: the id of a job that must have ended first, however it ended.
        exclude: nodes that the job must not run on, besides those of its ``slurm: {exclude: ...}``.
        moved: whether it replaces a job that has started; ``slurm: {hold, begin}`` were for that
            one.
        options: further options of sbatch's, which come before those of the script; None for
            those that the run was sent with last.

    Raises:
        SchedulerError: the job's own list is a file that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        script: Path,
        after: str | None = None,
        exclude: Sequence[str] = (),
        moved: bool = False,
        options: Sequence[str] | None = None,
    ) -> None:
        super().__init__(folder)
        self.script = script
        self.first = after is None
        paths = RunPaths(script.parent)
        plan = records.plan(paths)
        directives = dict(plan.get("directives", ()))
        if options is None:
            options = (Submitted.read(paths) or Submitted()).options or ()
        self.options = list(options)
        if after:
            self.options.append(f"--dependency=afterany:{after}")
        if exclude:
            self.options.append(f"--exclude={with_own_excluded(plan, exclude)}")
        if moved and "begin" in directives:
            self.options.append("--begin=now")
        # Who released a run's first job meant the whole run: its other jobs are not held.
        self.releases = "hold" in directives and (moved or after is not None)

    @classmethod
    def affinity(cls) -> int:
        """Say that jobs can be sent. submitit looks for srun, which hpcdl does not use."""
        return 2

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return self.script.read_text(encoding="utf-8")

    def _submit_command(self, command: str) -> SlurmJob[Any]:
        _close_pickles(Path(self.folder))
        return SlurmJob(folder=self.folder, job_id=self._send(), tasks=[0])

    def _send(self) -> str:
        """Send the script, unless SLURM has taken it before without an answer."""
        paths = RunPaths(self.script.parent)
        submitted = Submitted.read(paths) or Submitted()
        events = records.read_attempts(paths)
        job_id = None
        if self.first and events and events[-1].event == states.RESUMED:
            job_id = slurm.job_in(paths.root, submitted.job_ids)
        if job_id is None:
            job_id = slurm.sbatch(self.script, self.options, submitted.job_ids)
        if self.releases:
            with suppress(SchedulerError):  # else it stays held, as `hpcdl status` shows
                slurm.release(job_id)
        return job_id


def _close_pickles(folder: Path) -> None:
    """Make the pickles this user's alone: the umask may let a group write into them.

    `hpcdl.worker.__main__` would not load them then.
    """
    for pickle in folder.glob("*.pkl"):
        pickle.chmod(0o600)


class SessionExecutor(LocalExecutor):
    """Starts one call here, in its own session: Ctrl-C in the terminal does not reach it.

    Only submitit's pickle is used, and not its controller: one process less, and one log.

    Args:
        folder: for submitit's pickles.
        code: the frozen hpcdl package, first on the worker's path.
        log: where the worker itself writes.
    """

    def __init__(self, folder: Path, code: Path, log: Path) -> None:
        super().__init__(folder)
        self.code = code
        self.log = log

    def _submit_command(self, command: str) -> LocalJob[Any]:
        _close_pickles(Path(self.folder))
        env = dict(
            os.environ,
            SUBMITIT_EXECUTOR="local",
            SUBMITIT_LOCAL_NTASKS="1",
            SUBMITIT_LOCAL_JOB_NUM_NODES="1",
            SUBMITIT_LOCAL_NODEID="0",
            SUBMITIT_LOCAL_LOCALID="0",
            SUBMITIT_LOCAL_GLOBALID="0",
            PYTHONPATH=str(self.code),
            PYTHONUTF8="1",  # file names are UTF-8 here as in hpcdl itself, whatever the locale
        )
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", "-c", _WORKER, str(self.folder)],
                cwd=self.folder,  # `-c` imports from there first: never from the user's folder
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return LocalJob(folder=self.folder, job_id=str(process.pid), tasks=[0], process=process)
