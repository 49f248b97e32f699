"""``hpcdl wait``: follow runs and sweeps to their ends."""

from __future__ import annotations

import click

from hpcdl.cli import options


@click.command(short_help="Wait until runs have ended, showing their progress.")
@options.runs
@options.places
def command(runs: tuple[str, ...], places: options.Places) -> int:
    """Wait until runs and sweeps have ended, showing their progress.

    RUN is a run folder, a run id, or enough of one; a sweep, or SWEEP/17, its
    trial 17; a pattern as 'mnist*' stands for all that fit. Exit code 0 if all are
    done, 1 if one failed, was cancelled or is lost. A sweep is done if its budget
    is used, and one of its trials is done. Ctrl-C leaves them running.

    \b
    hpcdl wait runs/mnist-cnn/20261121-1402-k3f9
    hpcdl wait k3f9
    hpcdl wait k3f9 p2xx 'mnist*'
    """
    from hpcdl.cli.choice import Chosen
    from hpcdl.errors import NoRunError

    chosen = Chosen(runs, places).runs
    if not chosen:
        raise NoRunError(f"no run fits {' '.join(runs)}; hpcdl status --all shows all")
    if len(chosen) > 1:
        from hpcdl.cli.waiting import follow_several

        return follow_several(chosen)
    (run,) = chosen
    if run.is_sweep:
        from hpcdl.cli.sweep_watching import follow_sweep
        from hpcdl.sweeps.folder import SweepPaths

        return follow_sweep(SweepPaths(run.root))
    from hpcdl.cli.watching import follow
    from hpcdl.run import Run

    return follow(Run(run.folder))
