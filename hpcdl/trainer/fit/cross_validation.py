"""Cross-validation: the training rows in k parts, one model for each that is left out, and what they say together."""

from __future__ import annotations

import functools
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

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STREAM = 0xF01D5  # keeps these random numbers apart from those of the epochs
_MEDIANS = ("per_epoch_s", "images_per_s")


class FoldDir(RunDir):
    """The folder of one fold, which holds what a run's own does. Its heartbeats are the run's.

    Args:
        home: the run's folder.
        number: of the fold, from 1.
        folds: how many there are.
    """

    def __init__(self, home: RunDir, number: int, folds: int) -> None:
        super().__init__(
            home.path(run_files.FOLDS, str(number), run_files.SPEC), home.attempt, home.stop_file
        )
        self._home, self._number, self._folds = home, number, folds

    @property
    def home(self) -> RunDir:
        """The run's folder."""
        return self._home

    @property
    def tensorboard(self) -> str:
        """All folds' logs are the run's."""
        return self._home.path(run_files.TENSORBOARD, "fold-{}".format(self._number))

    def heartbeat(self, **news: Any) -> None:
        """Say that the run is alive, and in which fold."""
        self._home.heartbeat(fold=self._number, folds=self._folds, **news)


def split_folds(labels: NDArray[Any], folds: int, seed: int) -> List[NDArray[Any]]:
    """Cut rows into parts of nearly equal size, each with its share of every class, chosen by the seed alone.

    Args:
        labels: class numbers, int32 (rows,).

    Returns:
        the row numbers of each part, int32, in ascending order.

    Raises:
        DataError: a class has too few rows to be in every part.
    """
    random = np.random.default_rng([seed, _STREAM])
    classes, counts = np.unique(labels, return_counts=True)
    few = [
        "class {}: {}".format(label, count)
        for label, count in zip(classes, counts)
        if count < folds
    ]
    if few:
        raise DataError(
            "train.cross_validation {} needs at least as many training rows of each class; there are of\n  {}{}".format(
                folds, "\n  ".join(few[:5]), "\n  ..." if len(few) > 5 else ""
            )
        )
    # Dealt out like cards, class after class: no part gets two rows more than another, of a class or of all
    dealt = np.concatenate(
        [random.permutation(np.flatnonzero(labels == label)) for label in classes]
    )
    return [np.sort(dealt[part::folds]).astype(np.int32) for part in range(folds)]


def cross_validate(
    run: RunSpec,
    run_dir: RunDir,
    labels: NDArray[Any],
    test_rows: NDArray[Any],
    timing: Dict[str, float],
    train: Callable[[RunDir, Dict[str, Any], Dict[str, float]], Dict[str, Any]],
) -> Dict[str, Any]:
    """Train one fold after the other; those that an earlier attempt has finished are read.

    Args:
        labels: of all training rows, int32 (rows,).
        test_rows: the row numbers of the test part, on which each fold's model is tested.
        timing: seconds spent so far, by name.
        train: trains on the rows of ``train``, in a folder, and gives the content of result.json.

    Returns:
        the content of the run's result.json.

    Raises:
        Stopped: the stop file appeared; the next attempt goes on in this fold.
    """
    count = run.train.cross_validation or 0
    parts = split_folds(labels, count, run.train.seed)
    results = []
    for number, validation in enumerate(parts, start=1):
        fold_dir = FoldDir(run_dir, number, count)
        if fold_dir.finished():
            say("fold {} of {} is done".format(number, count))
        else:
            if run_dir.stop_requested():
                run_dir.heartbeat(phase="stopped")
                raise Stopped(
                    "stopped on request before fold {} of {}; run me again to go on".format(
                        number, count
                    )
                )
            training = np.sort(np.concatenate([part for part in parts if part is not validation]))
            rows = {"train": training, "validation": validation, "test": test_rows}
            say(
                "fold {} of {}: {:,} rows train, {:,} validate".format(
                    number, count, len(training), len(validation)
                )
            )
            fold_dir.heartbeat(phase="compiling", epoch=None, step=None, loss=None)
            keep_trying("the fold's folder", functools.partial(_prepare, fold_dir))
            compat.forget_models()
            fold_dir.write_result(train(fold_dir, rows, {}))
        results.append(fold_dir.read_result())
    found = summary(results)
    whole = whole_result(run, results, found, timing)
    say(describe_use(whole["model"], whole["data"]["classes"]))
    for line in aligned(table(found)):
        say(line)
    return whole


def _prepare(fold_dir: FoldDir) -> None:
    os.makedirs(fold_dir.folder, exist_ok=True)
    fold_dir.tidy()


def summary(results: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What the folds' results say: the metrics of each, their mean and sample standard deviation (n - 1).

    A metric that was not a number in some fold has neither.
    """
    folds = [
        {
            "fold": number,
            "epochs_run": one["epochs_run"],
            "stopped_early": one["stopped_early"],
            "best": one["best"],
            **{part: one[part] for part in PARTS},
        }
        for number, one in enumerate(results, start=1)
    ]
    found: Dict[str, Any] = {"folds": folds, "mean": {}, "deviation": {}}
    for part in PARTS:
        names = [name for name in results[0][part] if name not in ("rows", "epoch")]
        for name, of in (("mean", statistics.mean), ("deviation", statistics.stdev)):
            found[name][part] = {
                metric: _of_all(of, [one[part][metric] for one in results]) for metric in names
            }
    return found


def _of_all(of: Callable[[List[float]], float], values: List[Optional[float]]) -> Optional[float]:
    numbers = [value for value in values if value is not None]
    return of(numbers) if len(numbers) == len(values) else None


def best_fold(run: RunSpec, results: List[Dict[str, Any]]) -> int:
    """The place of the fold whose model is best in validation, by early stopping's metric or else by the loss."""
    watched = run.train.early_stopping
    if watched is None or not watched.monitor.startswith("val_"):
        watched = EarlyStoppingSpec("val_loss")
    sign = 1.0 if watched.larger_is_better() else -1.0
    values = [one["validation"].get(watched.monitor[4:]) for one in results]
    return int(np.argmax([-math.inf if value is None else sign * value for value in values]))


def whole_result(
    run: RunSpec, results: List[Dict[str, Any]], found: Dict[str, Any], timing: Dict[str, float]
) -> Dict[str, Any]:
    """The content of result.json: that of the best fold, whose model is the run's, but for what is of all of them.

    Of all of them are ``test`` and ``validation`` (the means), ``steps`` and ``timing``.
    """
    place = best_fold(run, results)
    best = results[place]
    model_file = os.path.join(run_files.FOLDS, str(place + 1), best["model"]["file"])
    return dict(
        best,
        model=dict(best["model"], file=model_file, fold=place + 1),
        test=dict(found["mean"]["test"], rows=best["test"]["rows"]),
        validation=dict(
            found["mean"]["validation"], rows=sum(one["validation"]["rows"] for one in results)
        ),
        steps=sum(one["steps"] for one in results),
        timing=dict(timing, **_timing([one["timing"] for one in results])),
        cross_validation=found,
    )


def _timing(timings: List[Dict[str, float]]) -> Dict[str, float]:
    """Of epochs the median of the folds' medians, of the first epoch that of the first fold; all else in sum."""
    found = {name: sum(one.get(name, 0.0) for one in timings) for name in timings[0]}
    found.update({name: statistics.median(one[name] for one in timings) for name in _MEDIANS})
    return dict(found, first_epoch_s=timings[0]["first_epoch_s"])
