"""``hpcdl resume``: continue a run that ended too early."""

from __future__ import annotations

import click

from hpcdl.cli import options

_WAIT = "Show its progress until it has ended; exit 1 unless it is done."


@click.command(short_help="Continue a run that ended too early.")
@options.run_name
@click.option("--wait", is_flag=True, help=_WAIT)
def command(run_name: str, places: options.Places, wait: bool) -> int:
    """Continue a run that ended too early: failed, lost, or never sent.

    The same files and the same script are sent again, and the run continues from
    its last checkpoint. It may be requeued as often as a new run.

    \b
    hpcdl resume k3f9 --wait
    """
    from hpcdl.cli.run_lines import follower_lines
    from hpcdl.submission.again import resume

    run = options.find(run_name, places)
    moved = resume(run)
    options.say(f"resumed: {run.paths.root}")
    for line in follower_lines(moved):
        options.say(line)
    if not wait:
        return 0
    from hpcdl.cli.watching import follow

    return follow(run)
