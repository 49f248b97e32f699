"""``hpcdl predict --here``: the table on stdout, unusable files and the verdicts on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.cli import options
from hpcdl.contract import prediction_table
from hpcdl.contract.file_names import shown
from hpcdl.errors import HpcdlError, UserError
from hpcdl.extras import PREDICT, pip_install
from hpcdl.formats import several

if TYPE_CHECKING:
    from hpcdl.predict.exported import Exported
    from hpcdl.predict.folder import Reservoir
    from hpcdl.report.drift import Drift
    from hpcdl.run import Run

_EVERY_S = 10.0  # a line about the progress
DRIFTED = 3  # the exit code of --fail-on-drift


def predict_here(runs: Sequence[Run], folder: str, fail_on_drift: bool) -> int:
    """Predict a folder on this machine.

    Args:
        runs: whose exported models are used; of several, the mean of the probabilities counts.
        folder: of the images.
        fail_on_drift: whether the exit code tells that the model is likely worse, or that nobody
            can tell.

    Returns:
        the exit code: 0, 1 if no image could be used, or `DRIFTED`.

    Raises:
        HpcdlError: the models or the folder cannot be used.
    """
    _require_packages()
    from hpcdl.predict.exported import exported_models
    from hpcdl.predict.folder import files_of

    models = exported_models(runs)
    files = files_of(folder)
    sample = _write_table(folder, files, models)
    if not sample.count:
        options.say(f"none of the {several(len(files), 'file')} in {shown(folder)} can be used")
        return 1
    verdict = _verdict(runs, models, sample)
    return exit_code(verdict, fail_on_drift)


def exit_code(verdict: Drift | None, fail_on_drift: bool) -> int:
    """The exit code of a prediction that is done, said with its reason.

    Raises:
        HpcdlError: ``--fail-on-drift`` was given, and there is nothing to compare with.
    """
    from hpcdl.report.drift import fails
    from hpcdl.report.verdicts import why_it_fails

    if not fail_on_drift:
        return 0
    if verdict is None:
        raise HpcdlError("--fail-on-drift: the images cannot be held against the run's test")
    if not fails(verdict):
        return 0
    options.say(f"--fail-on-drift: {why_it_fails(verdict)} (exit code {DRIFTED})")
    return DRIFTED


def _require_packages() -> None:
    """Raise a UserError with the command that installs LiteRT and Pillow if they are missing."""
    from importlib.util import find_spec

    if find_spec("ai_edge_litert") is None or find_spec("PIL") is None:
        raise UserError(
            f"--here needs {' and '.join(PREDICT)}, which are not installed:"
            f" {pip_install(*PREDICT)}"
        )


def _write_table(folder: str, files: Sequence[str], models: Sequence[Exported]) -> Reservoir:
    """Print a line for each image, and say which files are unusable.

    Returns:
        a sample of the answers.
    """
    from hpcdl.predict.folder import Reservoir, answers

    class_names = models[0].class_names
    sample = Reservoir(len(class_names))
    table = prediction_table.writer(sys.stdout)
    table.writerow(prediction_table.header(class_names))
    began = told = time.monotonic()
    for done, answer in enumerate(answers(folder, files, models), 1):
        sample.add(answer)
        if answer.probabilities is None:
            options.say(f"unusable: {shown(answer.file)}: {answer.why}")
        else:
            values = answer.probabilities.tolist()
            table.writerow(prediction_table.row(answer.file, values, class_names, answer.notes))
            sys.stdout.flush()
        now = time.monotonic()
        if now - told > _EVERY_S:
            told = now
            rate = done / (now - began)
            options.say(f"{done:,} of {len(files):,} files, {rate:,.0f} a second")
    unusable = len(files) - sample.count
    options.say(f"{several(sample.count, 'image')} predicted, {several(unusable, 'file')} unusable")
    return sample


def _verdict(runs: Sequence[Run], models: Sequence[Exported], sample: Reservoir) -> Drift | None:
    """Say whether the images have changed; None if there is nothing to compare with."""
    from hpcdl.report.drift import drift, read_sample
    from hpcdl.report.verdicts import sentence

    try:
        test = read_sample(_tests_of(runs))
        verdict = drift(test, sample.sample(), models[0].class_names)
    except HpcdlError as error:
        options.say(f"drift: not known: {error}")
        return None
    options.say(f"drift: {sentence(verdict)}")
    return verdict


def _tests_of(runs: Sequence[Run]) -> list[Path]:
    """The answers to the test images, of each model; a cross-validation has several models."""
    tests = []
    for run in runs:
        folds = [fold.predictions for fold in run.paths.folds() if fold.predictions.exists()]
        tests += folds or [run.paths.predictions]
    return tests
