"""One run from a checked spec and data set to result.json, in the order in which it happens."""

from __future__ import annotations

import time
from typing import Any, Dict

import numpy as np

from hpcdl.contract.errors import DataError
from hpcdl.contract.spec import RunSpec
from hpcdl.trainer.dataset.load import Dataset, split_rows
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.fit.cross_validation import cross_validate
from hpcdl.trainer.model.feature_files import remove_features
from hpcdl.trainer.runtime.devices import Devices
from hpcdl.trainer.session import ImageSources, Rows, Session
from hpcdl.trainer.stages.building import build_and_compile
from hpcdl.trainer.stages.fitting import fit
from hpcdl.trainer.stages.inputs import prepare_inputs
from hpcdl.trainer.stages.saving import save
from hpcdl.trainer.stages.testing import evaluate


def train_and_evaluate(
    run: RunSpec, run_dir: RunDir, dataset: Dataset, devices: Devices, timing: Dict[str, float]
) -> None:
    """Train a run's model, score it on the test rows, save it, and write result.json.

    With train.cross_validation it does that for each fold. All files go below the run folder. The
    images of `dataset` are released on the way.

    Args:
        devices: as `take_devices` gives them.
        timing: seconds spent so far, by name; added to and written to the result.

    Raises:
        DeviceError, DataError, UserCodeError, Stopped: see `hpcdl.contract.errors`.
    """
    run_dir.heartbeat(phase="compiling", epochs=run.train.epochs)
    session = Session(run, dataset, devices, run_dir, timing)
    # Without folds, nobody but train_rows holds the sources: a training on features frees the
    # images. All folds train on the same ones.
    images = ImageSources(session, keep=bool(run.train.cross_validation))
    train = _train_folds if run.train.cross_validation else _train_once
    result = train(session, images)
    if devices.together.first:
        if run.export:
            _export(session, images, result)
        run_dir.write_result(result)
        remove_features(run_dir)
    devices.together.wait_for_all()  # who ends earlier would end worker 0 as it writes
    run_dir.heartbeat(phase="done")


def _train_once(session: Session, images: ImageSources) -> Dict[str, Any]:
    """Train on the train part without the validation rows; returns the content of result.json."""
    run, dataset = session.run, session.dataset
    training, validation = split_rows(
        dataset.train.labels, run.data.validation_split, run.train.seed
    )
    rows = Rows(training, validation, _test_rows(dataset))
    return train_rows(session, images, rows)


def _train_folds(session: Session, images: ImageSources) -> Dict[str, Any]:
    """Train one model for each fold; returns the content of result.json."""

    def train_fold(fold: Session, rows: Rows) -> Dict[str, Any]:
        return train_rows(fold, images, rows)

    return cross_validate(session, _test_rows(session.dataset), train_fold)


def _test_rows(dataset: Dataset) -> Any:
    return np.arange(dataset.test.rows, dtype=np.int32)


def train_rows(session: Session, images: ImageSources, rows: Rows) -> Dict[str, Any]:
    """Train a model on some rows of the data set, score it on others, and save it.

    Args:
        session: the training; its run folder takes the files.
        images: opens the sources of the two parts.
        rows: the rows to train, to validate and to test on.

    Returns:
        the content of result.json.
    """
    _check_rows(session, rows)
    inputs = prepare_inputs(session, images, rows)
    model = build_and_compile(session, inputs)
    fitted = fit(session, model, inputs)
    tested = evaluate(session, model, inputs, fitted)
    return save(session, model, inputs, fitted, tested)


def _check_rows(session: Session, rows: Rows) -> None:
    """Raise a `DataError` unless each replica has a row of each part."""
    replicas = session.devices.replicas
    for part, indices in rows._asdict().items():
        may_be_empty = part == "validation" and session.run.validation_share == 0
        if len(indices) < replicas and not may_be_empty:
            raise DataError(
                "{} has {} rows; expected at least one for each of the {} replicas".format(
                    part, len(indices), replicas
                )
            )


def _export(session: Session, images: ImageSources, result: Dict[str, Any]) -> None:
    """Export the model, of a cross-validation the mean of the folds' models.

    Adds ``export`` to the result: the rows of export.json.
    """
    from hpcdl.trainer.export import runs  # most runs export nothing

    started = time.perf_counter()

    def between(kind: str) -> None:
        runs.stop_if_asked(session.run_dir, kind)

    result["export"] = runs.export_run(
        session.run, session.run_dir, images.for_export(), result, between
    )
    result["timing"]["export_s"] = time.perf_counter() - started
