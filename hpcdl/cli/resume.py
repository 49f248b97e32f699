"""``hpcdl resume``: go on with a run that ended too early."""

from __future__ import annotations

import click

from hpcdl.cli import options


@click.command(short_help="Go on with a run that ended too early.")
@options.run_argument
@click.option(
    "--wait", is_flag=True, help="Show its progress until it has ended; exit 1 unless it is done."
)
def command(run: str, cluster: str | None, runs_dir: str | None, wait: bool) -> int:
    """Go on with a run that ended too early: failed, lost, or never sent.

    It is sent again as it was frozen, with the same script, and continues from
    its last checkpoint. What failed before gets a new budget of requeues.

    \b
    hpcdl resume k3f9 --wait
    """
    from hpcdl.submission.send import resume

    chosen = options.find(run, cluster, runs_dir)
    resume(chosen)
    options.say(f"resumed: {chosen.paths.root}")
    if not wait:
        return 0
    from hpcdl.cli.watching import follow

    return follow(chosen)
