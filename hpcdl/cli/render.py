"""``hpcdl render``: the batch script, on stdout, in a file, or with all it needs in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from hpcdl.cli import options

_OUTPUT = "Write there instead: a file, or a folder with all the job needs."


@click.command(cls=options.JobCommand, short_help="Print the batch script of a job.")
@options.job_name
@options.job_settings
@click.option("-o", "--output", metavar="FILE|DIR", help=_OUTPUT)
def command(job_name: str, settings: options.JobSettings, output: str | None) -> None:
    """Print the batch script of a job.

    JOB is a job file, a script or notebook (its arguments follow --), or the
    name of a shipped job (hpcdl jobs list).

    A script job's batch script is complete: send it with sbatch from the
    script's folder; the cluster does not need hpcdl. A model job needs hpcdl's
    trainer, too: give -o DIR/, which makes a folder with all that the job needs.
    Copy it wherever you like. A workdir that is relative to the job file moves
    with it; any other stays where it is.

    \b
    hpcdl render mnist_script --cluster marenostrum5 --set cluster.account=nct00
    hpcdl render train.yaml -c mycluster.yaml -o train.slurm
    hpcdl render MNIST.py -c mycluster.yaml --gpus 1 --time 00:30:00
    hpcdl render mnist_cnn -c mycluster.yaml -o mnist_cnn/ && cd mnist_cnn && sbatch job.sbatch
    """
    from hpcdl.api import is_notebook, locate_to_render
    from hpcdl.errors import UserError
    from hpcdl.job.sweep_section import NOT_A_SWEEP
    from hpcdl.script import render

    job, cluster = options.load(job_name, settings)
    if job.sweep is not None:
        options.say(NOT_A_SWEEP)
    notebook = is_notebook(job)
    to_folder = output is not None and (output.endswith("/") or Path(output).is_dir())
    whole = to_folder or job.script is None or notebook
    located = locate_to_render(job, cluster, bundle=whole)
    for finding in located.unseen:
        options.say(f"{finding.cause}: {finding.fix}")
    if job.after:
        options.say(
            f"after: is for hpcdl submit; give sbatch --dependency ({', '.join(job.after)})"
        )
    if output is None:
        if notebook:
            raise UserError("a notebook becomes a script when it is copied: give -o DIR")
        click.echo(render(located.plan), nl=False)
    elif whole:
        from hpcdl.submission.bundle import write_bundle

        write_bundle(Path(output), located)
        script = Path(output, "job.sbatch")
        options.say(f"written: {script}; submit it from there with: sbatch job.sbatch")
    else:
        _write(Path(output), render(located.plan, Path(output).name))


def _write(path: Path, script: str) -> None:
    from hpcdl.files import write_text
    from hpcdl.oserrors import refusal

    try:
        write_text(path, script)
    except OSError as error:
        raise refusal(f"cannot write {path}", error) from error
