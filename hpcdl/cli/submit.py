"""``hpcdl submit``: send a job; the run's path alone goes to stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from hpcdl.cli import completion, options
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.preflight import Check
    from hpcdl.run import Run
    from hpcdl.submission.prepare import Submission

_WAIT = "Show its progress until it has ended; exit 1 unless it is done."
_DRY_RUN = "Print exactly the text that would be sent, and send nothing."
_AFTER = (
    "Start it when this run is done, or this sweep has a best trial; RUN:any when it has ended in "
    "any way. May be repeated."
)
_NO_CHECK = "Send it without checking whether it can run."


@dataclass(frozen=True)
class Steps:
    """Which steps of a submission are wanted: --after, --wait, --dry-run, --no-check."""

    after: tuple[str, ...]
    wait: bool
    dry_run: bool
    no_check: bool


_steps = options.grouped(
    "steps",
    Steps,
    click.option(
        "--after",
        multiple=True,
        metavar="RUN|SWEEP[:any]",
        help=_AFTER,
        shell_complete=completion.runs,
    ),
    click.option("--wait", is_flag=True, help=_WAIT),
    click.option("--dry-run", is_flag=True, help=_DRY_RUN),
    click.option("--no-check", is_flag=True, help=_NO_CHECK),
)


@click.command(
    cls=options.JobCommand, short_help="Submit a job to SLURM, or run it on this machine."
)
@options.job_name
@options.job_settings
@options.backend
@options.runs_dir
@_steps
def command(
    job_name: str,
    settings: options.JobSettings,
    backend: str,
    runs_dir: str | None,
    steps: Steps,
) -> int:
    """Submit a job to SLURM, or run it on this machine.

    JOB is a job file, a script or notebook to run as it is, or the name of a
    shipped job (hpcdl jobs list). What follows -- are the script's arguments.
    A file with steps is a pipeline: all its jobs are checked, then sent, and a
    path is printed for each. With --backend local they run one after the other.

    A job that cannot run is refused before it is in the queue (hpcdl check). The
    run's folder is printed; status, wait, logs, result and cancel take it, from
    any shell. Ctrl-C during --wait leaves the run running.

    \b
    hpcdl submit digits_cnn --backend local --wait
    hpcdl submit MNIST.py --gpus 1 --time 00:30:00 -- --epochs 5
    hpcdl submit mnist_cnn.yaml --cluster mycluster.yaml --wait
    hpcdl submit train.yaml -c mycluster.yaml --after "$PACK" --after k3f9:any
    hpcdl submit pipeline.yaml -c mycluster.yaml
    hpcdl submit mnist_cnn.yaml -c mycluster.yaml -s train.epochs=20 -s resources.time=02:00:00
    """
    from hpcdl.job.pipeline import is_pipeline
    from hpcdl.submission.after import require_after
    from hpcdl.submission.prepare import prepare
    from hpcdl.submission.send import require_backend, submit

    if is_pipeline(job_name):
        from hpcdl.cli.submit_pipeline import Where, submit_pipeline

        return submit_pipeline(job_name, Where(settings, backend, runs_dir), steps)
    default = "local" if backend == "local" else None
    job, cluster = options.load(job_name, settings, default)
    submission = prepare(job, cluster, backend, runs_dir, steps.after)
    for note in submission.notes:
        options.say(note)
    require_after(submission.after, submission.plan, in_slurm=backend == "slurm")
    if steps.dry_run:
        print_script(submission)
        return 0
    require_backend(submission)
    notes: list[str] = []
    if not steps.no_check:
        check_notes = check_first(submission, cluster, is_local=backend == "local")
        if check_notes is None:
            return 2
        notes = check_notes
    run = submit(submission, sys.argv)
    say_sent(run, cluster.name, notes)
    for before in submission.after:
        options.say(f"after {before.run}{' (however it ends)' if before.any_end else ''}")
    click.echo(run.paths.root)
    if not steps.wait:
        options.say(f"follow it with: {hpcdl_command('wait', run.paths.root)}")
        return 0
    from hpcdl.cli.watching import follow

    return follow(run)


def print_script(submission: Submission) -> None:
    """Print the text that would be sent.

    Raises:
        UserError: on this machine none is.
    """
    from hpcdl.errors import UserError

    if submission.script is None:
        message = "the local backend sends no script; --dry-run goes with --backend slurm"
        raise UserError(message)
    click.echo(submission.script, nl=False)


def check_first(
    submission: Submission,
    cluster: Cluster,
    is_local: bool,
    more: Sequence[tuple[str, Check]] = (),
) -> list[str] | None:
    """Check a submission, and show what is wrong with it.

    Args:
        submission: what would be sent.
        cluster: the profile that it was made with.
        is_local: whether this machine runs it.
        more: checks, by name, that a sweep needs besides.

    Returns:
        notes on the checks, for the line that says that it was sent; None if it cannot run.
    """
    from hpcdl.cli.checking import check_submission, problem_lines, report_lines

    report, places = check_submission(submission, cluster, is_local, more)
    if report.blocks:
        lines = report_lines(f"{submission.job.name} on {cluster.name}", report, places)
    else:
        lines = problem_lines(report, places)
    for line in lines:
        options.say(line)
    if report.blocks:
        return None
    if is_local:
        return []
    return [f"checked in {report.seconds:.1f} s", *report.notes]


def say_sent(run: Run, cluster: str, notes: list[str]) -> None:
    """Say which jobs the run has.

    Args:
        run: the run.
        cluster: the profile's name.
        notes: on the checks; the first one, how long they took, comes before the job.
    """
    job_ids = run.job_ids()
    if len(job_ids) > 1:
        jobs = f"{len(job_ids)} jobs on {cluster}, {job_ids[0]} to {job_ids[-1]}"
        options.say(f"submitted as {jobs}, because {cluster} requeues none:")
        options.say(
            "each continues where the one before it stopped, and ends at once if nothing is left"
        )
        return
    sent = "started on this machine"
    if job_ids:
        sent = f"submitted as job {job_ids[0]} on {cluster}"
    options.say(" · ".join([*notes[:1], sent, *notes[1:]]))
