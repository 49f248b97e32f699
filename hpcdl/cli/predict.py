"""``hpcdl predict``: what models say of the images in a folder."""

from __future__ import annotations

import click

from hpcdl.cli import options

_HERE = "Predict on this machine, with LiteRT and no container; the table goes to stdout."
_FAIL = "End with exit code 3 if the model is likely worse on these images than in its test."


@click.command(short_help="Predict a folder of images with the models of runs.")
@options.runs
@click.argument("folder", metavar="FOLDER")
@options.places
@click.option("--here", is_flag=True, help=_HERE)
@click.option("--fail-on-drift", is_flag=True, help=_FAIL)
def command(
    runs: tuple[str, ...],
    folder: str,
    places: options.Places,
    here: bool,
    fail_on_drift: bool,
) -> int:
    """Predict the images in FOLDER, also in folders below it, with a run's model.

    Of several runs the mean of their probabilities counts. Each image gets a
    line: file, answer, confidence, notes, and a column a class. Files that
    cannot be used are listed with the reason.

    The images are held against the run's own test. Whether they have changed
    and whether the model is likely worse on them are two verdicts.

    --here needs what `hpcdl export RUN --to tflite` makes. The table goes to
    stdout, everything else to stderr.

    Exit code 0: done. 1: no image could be used, or something failed. 2:
    something that you gave is wrong. 3: --fail-on-drift, and the model is likely
    worse.

    \b
    hpcdl predict k3f9 photos/ --here > predictions.csv
    hpcdl predict k3f9 p0aa photos/ --here > predictions.csv
    hpcdl predict k3f9 photos/ --here --fail-on-drift > predictions.csv
    """
    chosen = options.choose(runs, places)
    if here:
        from hpcdl.cli.predict_here import predict_here

        return predict_here(chosen, folder, fail_on_drift)
    raise click.UsageError("expected --here")
