"""``hpcdl wait``: follow a run to its end."""

from __future__ import annotations

import click

from hpcdl.cli import options


@click.command(short_help="Wait until a run has ended, showing its progress.")
@options.run_name
def command(run_name: str, places: options.Places) -> int:
    """Wait until a run has ended, showing its progress.

    RUN is a run folder, a run id, or enough of one. Exit code 0 if the run is
    done, 1 if it failed, was cancelled or is lost. Ctrl-C leaves it running.

    \b
    hpcdl wait runs/mnist-cnn/20261121-1402-k3f9
    hpcdl wait k3f9
    """
    from hpcdl.cli.watching import follow

    return follow(options.find(run_name, places))
