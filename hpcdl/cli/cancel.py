"""``hpcdl cancel``: end a run for good."""

from __future__ import annotations

import click

from hpcdl.cli import options


@click.command(short_help="Cancel a run for good.")
@options.run_argument
def command(run: str, cluster: str | None, runs_dir: str | None) -> None:
    """Cancel a run for good: it is ended, and never requeued. Its folder stays.

    \b
    hpcdl cancel k3f9
    """
    found = options.find(run, cluster, runs_dir)
    if found.cancel():
        options.say(f"cancelled: {found.paths.root}")
    else:
        options.say(f"nothing to cancel: it is {found.status(ask=False).state}")
