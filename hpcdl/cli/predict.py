"""``hpcdl predict``: what models say of the images in a folder."""

from __future__ import annotations

from collections.abc import Sequence

import click

from hpcdl.cli import completion, options
from hpcdl.cli.predict_run import Steps

_HERE = "Predict on this machine, with LiteRT and no container; the table goes to stdout."
_BACKEND = "Where it runs. Default: where the first RUN ran."
_SET = "How big the job is: resources.KEY=VALUE. Default: no GPU, one hour. May be repeated."
_WAIT = "Show its progress until it has ended; exit 1 unless it is done."
_FAIL = "End with exit code 3 if the model is likely worse on these images, or nobody can tell."


_steps = options.grouped(
    "steps",
    Steps,
    click.option("--backend", type=click.Choice(["slurm", "local"]), help=_BACKEND),
    click.option("--set", "-s", "sets", multiple=True, metavar="KEY.PATH=VALUE", help=_SET),
    click.option("--wait", is_flag=True, help=_WAIT),
)


@click.command(short_help="Predict a folder of images with the models of runs.")
@click.argument("runs", metavar="RUN...", nargs=-1, shell_complete=completion.runs)
@click.argument("folder", metavar="FOLDER", required=False, default="")
@options.places
@click.option("--here", is_flag=True, help=_HERE)
@click.option("--fail-on-drift", is_flag=True, help=_FAIL)
@_steps
def command(
    runs: tuple[str, ...],
    folder: str,
    places: options.Places,
    here: bool,
    fail_on_drift: bool,
    steps: Steps,
) -> int:
    """Predict the images in FOLDER, also in folders below it, with a run's model.

    Of several runs the mean of their probabilities counts. Each image gets a
    line: file, answer, confidence, notes, and a column a class. Files that
    cannot be used are listed with the reason.

    The images are held against the run's own test. Whether they have changed
    and whether the model is likely worse on them are two verdicts.

    It is a run like any other, in the image and on the account of the first RUN,
    without a GPU unless --set resources.gpus=1: its path is printed, and status,
    wait, logs, result, report, resume and cancel take it. predictions.csv,
    unusable.csv and predictions.npz are in its folder.

    --here needs what `hpcdl export RUN --to tflite` makes. The table goes to
    stdout, everything else to stderr.

    Exit code 0: done. 1: no image could be used, or something failed. 2:
    something that you gave is wrong. 3: --fail-on-drift, and the model is likely
    worse, or many images are unlike any in the test, so that nobody can tell.

    \b
    hpcdl predict k3f9 photos/ --wait
    hpcdl predict k3f9 p0aa photos/ --set resources.time=04:00:00 --set resources.gpus=1
    hpcdl predict k3f9 /data/new --wait --fail-on-drift || mail -s "look at /data/new" me
    hpcdl predict k3f9 photos/ --here > predictions.csv
    hpcdl predict k3f9 p0aa photos/ --here > predictions.csv
    """
    _require_words(runs, folder)
    chosen = options.choose(runs, places)
    if not here:
        from hpcdl.cli.predict_run import predict_as_run

        return predict_as_run(chosen, folder, steps, fail_on_drift)
    if steps != Steps():
        raise click.UsageError("--here predicts at once: without --backend, --set and --wait")
    from hpcdl.cli.predict_here import predict_here

    return predict_here(chosen, folder, fail_on_drift)


def _require_words(runs: Sequence[str], folder: str) -> None:
    """Raise a `click.UsageError` unless there are a RUN and a FOLDER, in this order."""
    if not runs and not folder:
        raise click.UsageError("expected RUN and FOLDER: whose model, and which images")
    if not runs:
        raise click.UsageError(
            f"got {folder!r} alone; expected RUN and FOLDER: whose model, and which images"
        )
    if not folder:
        raise click.UsageError("FOLDER is empty (is a shell variable not set?)")
