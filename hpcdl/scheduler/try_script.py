"""Lets SLURM say whether it would take a batch script (sbatch --test-only)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from hpcdl.environment import submission_environment
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import command

TRY_S = 60


class RefusedError(SchedulerError):
    """SLURM would not take a job."""


def try_script(script: str, options: Sequence[str] = ()) -> str:
    """What ``sbatch --test-only`` says of a batch script: when and where it would start.

    Args:
        script: its text.
        options: options in addition to those in the script; they override these.

    Raises:
        RefusedError: SLURM would not take it; its own words.
        SchedulerError: SLURM did not answer.
    """
    environment = submission_environment(os.environ)
    done = command.answer(["sbatch", "--test-only", *options], environment, TRY_S, script)
    lines = [re.sub(r"^sbatch: (error: )?", "", line) for line in done.stderr.splitlines()]
    message = " ".join(lines).strip()
    if done.returncode == 0:
        return message
    if any(sign in message for sign in (command.NOT_REACHED, "Unable to contact", "timed out")):
        raise SchedulerError(f"sbatch --test-only got no answer: {message}")
    raise RefusedError(message.removeprefix("allocation failure: "))
