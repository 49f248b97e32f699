"""``hpcdl predict`` as a run: checked, sent to SLURM or started here, and perhaps waited for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.run import Run

_DEFAULTS = ("resources.gpus=0",)


@dataclass(frozen=True)
class Steps:
    """How a prediction is sent: --backend, --set, --wait."""

    backend: str | None = None
    sets: tuple[str, ...] = ()
    wait: bool = False


def predict_as_run(
    runs: Sequence[Run], folder: str, steps: Steps, fail_on_drift: bool = False
) -> int:
    """Send a prediction; its folder alone goes to stdout.

    Args:
        runs: whose models are used.
        folder: of the images.
        steps: how it is sent.
        fail_on_drift: whether the exit code tells that the model is likely worse, or that nobody
            can tell.

    Returns:
        the exit code: 0; 2 if it cannot run; with ``--wait`` 1 if it is not done, and that of
        ``--fail-on-drift``.

    Raises:
        HpcdlError: it cannot be prepared or sent.
    """
    from hpcdl.cli.submit import check_first, say_sent
    from hpcdl.errors import UserError
    from hpcdl.job.sizes import resources_of
    from hpcdl.submission.predict import Wanted, prepare_prediction
    from hpcdl.submission.send import require_backend, submit
    from hpcdl.text import hpcdl_command

    if fail_on_drift and not steps.wait:
        raise UserError("--fail-on-drift looks at what came out: it goes with --wait")
    resources = resources_of(steps.sets, "hpcdl predict", _DEFAULTS)
    prepared = prepare_prediction(Wanted(runs, folder, resources, steps.backend))
    for note in prepared.notes:
        options.say(note)
    require_backend(prepared)
    if prepared.cluster is None:
        raise AssertionError("prepare_prediction names a profile")
    is_local = prepared.backend == "local"
    notes = check_first(prepared, prepared.cluster, is_local=is_local)
    if notes is None:
        return 2
    run = submit(prepared, sys.argv)
    say_sent(run, prepared.plan.cluster, notes)
    click.echo(run.paths.root)
    if not steps.wait:
        options.say(f"follow it with: {hpcdl_command('wait', run.paths.root)}")
        return 0
    from hpcdl.cli.watching import follow

    status = follow(run)
    if status == 0:
        return _verdict(run, fail_on_drift)
    return status


def _verdict(run: Run, fail_on_drift: bool) -> int:
    """Say the two verdicts; the exit code.

    Raises:
        HpcdlError: ``--fail-on-drift`` was given, and there is nothing to compare with.
    """
    from hpcdl.cli.predict_here import exit_code
    from hpcdl.report.predicted import drift_of, verdict_lines

    result = run.result() or {}
    for name, text in verdict_lines(result):
        options.say(f"{name}: {text}")
    return exit_code(drift_of(result), fail_on_drift)
