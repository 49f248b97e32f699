"""``hpcdl submit``: send a job; the run's path alone goes to stdout."""

from __future__ import annotations

import sys

import click

from hpcdl.cli import completion, options


@click.command(
    cls=options.JobCommand, short_help="Submit a job to SLURM, or run it on this machine."
)
@click.argument("job", metavar="JOB", shell_complete=completion.jobs)
@options.backend
@options.cluster
@options.sets
@options.size
@options.runs_dir
@click.option(
    "--wait", is_flag=True, help="Show its progress until it has ended; exit 1 unless it is done."
)
@click.option(
    "--dry-run", is_flag=True, help="Print exactly the text that would be sent, and send nothing."
)
@click.option("--no-check", is_flag=True, help="Send it without looking whether it can run.")
def command(
    job: str,
    backend: str,
    cluster: str | None,
    sets: tuple[str, ...],
    runs_dir: str | None,
    wait: bool,
    dry_run: bool,
    no_check: bool,
) -> int:
    """Submit a job to SLURM, or run it on this machine.

    JOB is a job file, a script or notebook to run as it is, or the name of a
    shipped job (hpcdl jobs list). What follows -- are the script's arguments.
    What cannot run is refused before it is in the queue (hpcdl check). The run's
    folder is printed; status, wait, logs, result and cancel take it, from any
    shell. Ctrl-C during --wait leaves the run running.

    \b
    hpcdl submit digits_cnn --backend local --wait
    hpcdl submit MNIST.py --gpus 1 --time 00:30:00 -- --epochs 5
    hpcdl submit mnist_cnn.yaml --cluster mycluster.yaml --wait
    hpcdl submit mnist_cnn.yaml -c mycluster.yaml --set train.epochs=20 --set resources.time=02:00:00
    """
    from hpcdl.errors import UserError
    from hpcdl.submission.send import prepare, require_backend, submit

    loaded, site = options.load(
        job, cluster, sets, default_cluster="local" if backend == "local" else None
    )
    submission = prepare(loaded, site, backend, runs_dir)
    for note in submission.notes:
        options.say(note)
    if dry_run:
        if submission.script is None:
            raise UserError(
                "the local backend sends no script; --dry-run goes with --backend slurm"
            )
        click.echo(submission.script, nl=False)
        return 0
    require_backend(submission)
    said: list[str] = []
    if not no_check:
        from hpcdl.cli.checking import checked, rows, table

        report, places = checked(submission, site, python_only=backend == "local")
        title = f"{loaded.name} on {site.name}"
        for line in table(title, report, places) if report.blocks else rows(report, places):
            options.say(line)
        if report.blocks:
            return 2
        if backend == "slurm":
            said = [f"checked in {report.seconds:.1f} s", *report.notes]
    run = submit(submission, sys.argv)
    job_ids = run.job_ids()
    if len(job_ids) > 1:
        options.say(
            f"submitted as {len(job_ids)} jobs on {site.name}, {job_ids[0]} to {job_ids[-1]}: it requeues none,"
        )
        options.say(
            "so each of them goes on where the one before stopped, and leaves at once if nothing is left to do"
        )
    else:
        sent = (
            f"submitted as job {job_ids[0]} on {site.name}"
            if job_ids
            else "started on this machine"
        )
        options.say(" · ".join([*said[:1], sent, *said[1:]]))
    click.echo(run.paths.root)
    if not wait:
        options.say(f"follow it with: hpcdl wait {run.paths.root}")
        return 0
    from hpcdl.cli.watching import follow

    return follow(run)
