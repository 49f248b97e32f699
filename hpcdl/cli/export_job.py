"""``hpcdl export RUN --to KIND --backend slurm``: the same export as a job on a node."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.errors import UserError
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.cli.export_choice import Choice

_TIME = "01:00:00"


def export_on_node(choice: Choice, kinds: Sequence[str], profile: str | None, wait: bool) -> int:
    """Send an export to SLURM, with the run's profile, and print the new run's folder.

    Args:
        choice: the models; the first run's folder, image and size count.
        kinds: what they are exported as.
        profile: the profile; None for the one that the run was sent with.
        wait: whether to wait until the job has ended.

    Returns:
        the exit code: 0; 2 if it cannot run; with `wait` 1 if it is not done.

    Raises:
        HpcdlError: it cannot be prepared or sent.
    """
    from hpcdl.cli.submit import check_first, say_sent
    from hpcdl.job import Job, Resources
    from hpcdl.launch.command import read_plan
    from hpcdl.run.paths import runs_root_of
    from hpcdl.submission.prepare import prepare
    from hpcdl.submission.profile import sent_with
    from hpcdl.submission.send import submit

    run = choice.home
    root = run.paths.root
    others = [str(other.paths.root) for other in choice.runs if other is not run]
    sent = sent_with(run.paths, profile)
    if sent.cluster is None:
        raise UserError(
            f"{root} was not sent with a profile that hpcdl can read; say --cluster FILE, or "
            f"--backend local to export here{f' ({sent.note})' if sent.note else ''}"
        )
    plan = read_plan(run.paths)
    words = ["export", str(root), *others]
    for kind in kinds:
        words += ["--to", kind]
    job = Job(
        name=f"{plan.name}-export",
        resources=Resources(gpus=0, time=_TIME, cpus=plan.size.cpus, memory_gb=plan.size.memory_gb),
        hpcdl=words,
        source="hpcdl export",
        folder=os.getcwd(),
    )
    prepared = prepare(job, sent.cluster, "slurm", str(runs_root_of(run.paths)))
    for note in prepared.notes:
        options.say(note)
    notes = check_first(prepared, sent.cluster, is_local=False)
    if notes is None:
        return 2
    new_run = submit(prepared, sys.argv)
    say_sent(new_run, sent.cluster.name, notes)
    if not wait:
        click.echo(new_run.paths.root)
        options.say(f"follow it with: {hpcdl_command('wait', new_run.paths.root)}")
        return 0
    options.say(str(new_run.paths.root))
    from hpcdl.cli.watching import follow

    return follow(new_run)
