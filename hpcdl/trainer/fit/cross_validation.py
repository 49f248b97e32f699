"""Cross-validation: the training rows in k parts, and a model for each part that is left out."""

from __future__ import annotations

import math
import os
import statistics
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import numpy as np

from hpcdl.contract import run_files
from hpcdl.contract.errors import DataError, Stopped
from hpcdl.contract.fold_table import PARTS, table
from hpcdl.contract.model_facts import describe_use
from hpcdl.contract.spec import EarlyStoppingSpec, RunSpec
from hpcdl.contract.tables import aligned
from hpcdl.trainer import compat
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Rows, Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STREAM = 0xF01D5  # keeps these random numbers apart from those of the epochs
_MEDIANS = ("per_epoch_s", "images_per_s", "input_images_per_s", "all_reduce_s")
_VALIDATION = "val_"  # the prefix of a metric of the validation rows
_FEW = 5  # classes that an error names
_OF_ONE_MODEL = ("explain", "attack")  # parts of a test that are no metrics


class FoldDir(RunDir):
    """The folder of one fold, with the same files as a run's. Its heartbeats are the run's.

    Args:
        home: the run's folder.
        number: of the fold, from 1.
        folds: how many there are.
    """

    def __init__(self, home: RunDir, number: int, folds: int) -> None:
        run_json = home.shared(run_files.FOLDS, str(number), run_files.SPEC)
        super().__init__(run_json, home.attempt, home.stop_file, home.rank)
        self._home, self._number, self._folds = home, number, folds

    @property
    def home(self) -> RunDir:
        """The run's folder."""
        return self._home

    @property
    def tensorboard(self) -> str:
        """The folder of TensorBoard's logs: one of the run's."""
        return self._home.path(run_files.TENSORBOARD, "fold-{}".format(self._number))

    def heartbeat(self, **news: Any) -> None:
        """Say that the run is alive, and in which fold."""
        self._home.heartbeat(fold=self._number, folds=self._folds, **news)

    def prepare(self) -> None:
        """Make the folder, or tidy what an earlier attempt left there."""
        os.makedirs(self.folder, exist_ok=True)
        self.tidy()


def split_folds(labels: NDArray[Any], folds: int, seed: int) -> List[NDArray[Any]]:
    """Cut rows into parts of nearly equal size, each with its share of every class.

    The choice depends on the seed alone.

    Args:
        labels: class numbers, int32 (rows,).
        folds: the number of parts.
        seed: the run's.

    Returns:
        the row numbers of each part, int32, in ascending order.

    Raises:
        DataError: a class has too few rows to be in every part.
    """
    random = np.random.default_rng([seed, _STREAM])
    classes, counts = np.unique(labels, return_counts=True)
    too_small = []
    for label, count in zip(classes, counts):
        if count < folds:
            too_small.append("class {}: {}".format(label, count))
    if too_small:
        if len(too_small) > _FEW:
            too_small[_FEW:] = ["..."]
        message = (
            "train.cross_validation {} needs at least that many training rows of each class; "
            "the data set has only\n  {}"
        )
        raise DataError(message.format(folds, "\n  ".join(too_small)))
    # Dealt out like cards, class after class: no part gets two rows more than another, of a class
    # or of all
    dealt = np.concatenate(
        [random.permutation(np.flatnonzero(labels == label)) for label in classes]
    )
    return [np.sort(dealt[part::folds]).astype(np.int32) for part in range(folds)]


def cross_validate(
    session: Session,
    test_rows: NDArray[Any],
    train_fold: Callable[[Session, Rows], Dict[str, Any]],
) -> Dict[str, Any]:
    """Train one fold after the other; the results of those that are finished are read.

    Args:
        session: the run's.
        test_rows: the row numbers of the test part, on which each fold's model is tested.
        train_fold: trains on some rows in a fold's session, and gives the content of result.json.

    Returns:
        the content of the run's result.json; on workers other than the first, nothing.

    Raises:
        Stopped: the stop file appeared; the next attempt goes on in this fold.
    """
    run = session.run
    folds = run.train.cross_validation or 0
    parts = split_folds(session.dataset.train.labels, folds, run.train.seed)
    results = []
    for number, validation in enumerate(parts, start=1):
        fold_dir = FoldDir(session.run_dir, number, folds)
        if session.together.first_says([fold_dir.finished()])[0]:
            say("fold {} of {} is done".format(number, folds))
        else:
            _stop_if_asked(session, number, folds)
            training = np.sort(np.concatenate([part for part in parts if part is not validation]))
            say(
                "fold {} of {}: {:,} rows train, {:,} validate".format(
                    number, folds, len(training), len(validation)
                )
            )
            fold_dir.heartbeat(phase="compiling", epoch=None, step=None, loss=None)
            keep_trying("the fold's folder", fold_dir.prepare)
            compat.forget_models()
            rows = Rows(training, validation, test_rows)
            result = train_fold(session.in_folder(fold_dir), rows)
            if session.together.first:
                fold_dir.write_result(result)
        if session.together.first:
            results.append(fold_dir.read_result())
    if not session.together.first:
        return {}
    scores = summary(results)
    whole = whole_result(run, results, scores, session.timing)
    say(describe_use(whole["model"], whole["data"]["classes"]))
    for line in aligned(table(scores)):
        say(line)
    return whole


def _stop_if_asked(session: Session, number: int, folds: int) -> None:
    """Raise `Stopped` before a fold, if the stop file is there."""
    run_dir = session.run_dir
    if session.together.first_says([run_dir.stop_requested()])[0]:
        run_dir.heartbeat(phase="stopped")
        raise Stopped(
            "stopped on request before fold {} of {}; run me again to go on".format(number, folds)
        )


def summary(results: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The metrics of each fold, their mean and their sample standard deviation (n - 1).

    A metric that was not a number in some fold has neither.
    """
    folds = []
    for number, result in enumerate(results, start=1):
        fold = {
            "fold": number,
            "epochs_run": result["epochs_run"],
            "stopped_early": result["stopped_early"],
            "best": result["best"],
        }
        for part in PARTS:
            fold[part] = result[part]
        folds.append(fold)
    mean: Dict[str, Any] = {}
    deviation: Dict[str, Any] = {}
    for part in PARTS:
        mean[part], deviation[part] = {}, {}
        for metric in results[0][part]:
            if metric in ("rows", "epoch", *_OF_ONE_MODEL):
                continue
            values = [result[part][metric] for result in results]
            mean[part][metric] = _of_all(statistics.mean, values)
            deviation[part][metric] = _of_all(statistics.stdev, values)
    return {"folds": folds, "mean": mean, "deviation": deviation}


def _of_all(
    statistic: Callable[[List[float]], float], values: List[Optional[float]]
) -> Optional[float]:
    """A statistic of values; None if one of them is missing."""
    numbers = [value for value in values if value is not None]
    return statistic(numbers) if len(numbers) == len(values) else None


def best_fold(run: RunSpec, results: List[Dict[str, Any]]) -> int:
    """The index of the fold whose model is best in validation.

    Early stopping's metric decides, or without one the loss.
    """
    watched = run.train.early_stopping
    if watched is None or not watched.monitor.startswith(_VALIDATION):
        watched = EarlyStoppingSpec("val_loss")
    sign = 1.0 if watched.larger_is_better() else -1.0
    metric = watched.monitor[len(_VALIDATION) :]
    ranks = []
    for result in results:
        value = result["validation"].get(metric)
        ranks.append(-math.inf if value is None else sign * value)
    return int(np.argmax(ranks))


def whole_result(
    run: RunSpec, results: List[Dict[str, Any]], scores: Dict[str, Any], timing: Dict[str, float]
) -> Dict[str, Any]:
    """The content of result.json: that of the best fold, whose model becomes the run's.

    The metrics of ``test`` and ``validation`` (means), ``steps`` and ``timing`` (sums) are of all
    folds.

    Args:
        results: the content of each fold's result.json.
        scores: their `summary`.
        timing: seconds that the run itself spent, by name.
    """
    place = best_fold(run, results)
    best = results[place]
    model_file = os.path.join(run_files.FOLDS, str(place + 1), best["model"]["file"])
    validation_rows = sum(result["validation"]["rows"] for result in results)
    return dict(
        best,
        model=dict(best["model"], file=model_file, fold=place + 1),
        test=dict(scores["mean"]["test"], rows=best["test"]["rows"], **_of_one_model(best)),
        validation=dict(scores["mean"]["validation"], rows=validation_rows),
        steps=sum(result["steps"] for result in results),
        timing=dict(timing, **_timing([result["timing"] for result in results])),
        cross_validation=scores,
    )


def _of_one_model(result: Dict[str, Any]) -> Dict[str, Any]:
    """What the test says of one fold's model, and of which there is no mean."""
    return {name: result["test"][name] for name in _OF_ONE_MODEL if name in result["test"]}


def _timing(timings: List[Dict[str, float]]) -> Dict[str, float]:
    """The sums of the folds' times, but of epochs the medians, and the first epoch of fold 1."""
    whole: Dict[str, float] = {}
    for name in timings[0]:
        whole[name] = sum(timing.get(name, 0.0) for timing in timings)
    for name in _MEDIANS:
        if name not in timings[0]:
            continue
        whole[name] = statistics.median(timing[name] for timing in timings)
    whole["first_epoch_s"] = timings[0]["first_epoch_s"]
    return whole
