"""``hpcdl render``: the batch script, on stdout, in a file, or with all it needs in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from hpcdl.cli import completion, options


@click.command(cls=options.JobCommand, short_help="Print the batch script of a job.")
@click.argument("job", metavar="JOB", shell_complete=completion.jobs)
@options.cluster
@options.sets
@options.size
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    help="Write there instead: a file, or a folder with all the job needs.",
)
def command(job: str, cluster: str | None, sets: tuple[str, ...], output: str | None) -> None:
    """Print the batch script of a job.

    JOB is a job file, a script or notebook (its arguments follow --), or the
    name of a shipped job (hpcdl jobs list). A script job's batch script is
    complete: send it with sbatch from the script's folder; hpcdl is not needed
    on the cluster. A model job needs hpcdl's trainer too: give -o DIR/, which
    makes a folder of all that the job needs. Copy it wherever you like. A workdir
    that is relative to the job file moves with it; any other stays where it is.

    \b
    hpcdl render mnist_script --cluster marenostrum5 --set cluster.account=nct00
    hpcdl render train.yaml -c mycluster.yaml -o train.slurm
    hpcdl render MNIST.py -c mycluster.yaml --gpus 1 --time 00:30:00
    hpcdl render mnist_cnn -c mycluster.yaml -o mnist_cnn/ && cd mnist_cnn && sbatch job.sbatch
    """
    from hpcdl.api import is_notebook, locate_to_render
    from hpcdl.errors import UserError
    from hpcdl.script import render

    loaded, site = options.load(job, cluster, sets)
    notebook = is_notebook(loaded)
    folder = output is not None and (output.endswith("/") or Path(output).is_dir())
    whole = folder or loaded.script is None or notebook
    located = locate_to_render(loaded, site, bundle=whole)
    for one in located.unseen:
        options.say(f"{one.cause}: {one.fix}")
    if output is None:
        if notebook:
            raise UserError("a notebook becomes a script when it is copied: give -o DIR")
        click.echo(render(located.plan), nl=False)
    elif whole:
        from hpcdl.submission.bundle import write_bundle

        write_bundle(Path(output), located)
        options.say(
            f"written: {Path(output, 'job.sbatch')}; submit it from there with: sbatch job.sbatch"
        )
    else:
        from hpcdl.files import write_text
        from hpcdl.oserrors import refusal

        try:
            write_text(Path(output), render(located.plan, Path(output).name))
        except OSError as error:
            raise refusal(f"cannot write {output}", error) from error
