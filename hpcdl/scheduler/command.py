"""Starts SLURM's commands, all but srun, and puts their failures into words."""

from __future__ import annotations

import os
import subprocess

from hpcdl.environment import submission_environment
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import clusters

NOT_REACHED = "(connect failure)"  # in SLURM's messages if nothing was sent


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
    """All that one of SLURM's commands prints, whatever its exit status.

    Args:
        argv: the command.
        env: its environment; by default what a job may inherit. SQUEUE_STATES, SCANCEL_STATE or
            SLURM_TIME_FORMAT of the user's shell would change what it does.
        timeout_s: how long it may take.
        stdin: its input.

    Raises:
        SchedulerError: it is not here, or did not answer in time.
    """
    if env is None:
        env = submission_environment(os.environ)
    try:
        return subprocess.run(
            clusters.with_cluster(argv),
            env=env,
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",  # a working directory need not be UTF-8
        )
    except FileNotFoundError as error:
        message = f"{argv[0]} is not on this machine: run hpcdl on a login node"
        raise SchedulerError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"{argv[0]} did not answer in {timeout_s} s; SLURM may be busy, try again"
        raise SchedulerError(message) from error
