"""A sweep as a journal file of Optuna's, written by Optuna itself."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcdl.errors import UserError
from hpcdl.extras import BAYES, pip_install
from hpcdl.sweeps.bayes import OLDEST, load_optuna
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.objective import is_finite, metric_rows
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.space import Dimension, IntRange, Listed
from hpcdl.sweeps.state import TrialState


def write_journal(
    paths: SweepPaths, settings: SweepSettings, trials: Sequence[TrialState], target: Path
) -> None:
    """Write a study with these trials; its name is ``<job>/<sweep id>``.

    A trial keeps its number; one that is claimed but not begun waits. One that is done without a
    value has failed, for Optuna.

    Args:
        paths: the sweep's.
        settings: the sweep's.
        trials: of the sweep, in any order.
        target: the file; one that is there is replaced.

    Raises:
        UserError: Optuna is missing or too old.
        OSError: something cannot be read or written.
    """
    optuna = _optuna()
    verbosity = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # journals were called experimental once
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            lines = _Lines()
            study = optuna.create_study(
                storage=optuna.storages.JournalStorage(lines),
                study_name=f"{settings.name}/{paths.root.name}",
                direction=settings.direction,
            )
            study.set_user_attr("hpcdl_sweep", str(paths.root))
            study.set_metric_names([settings.metric])
            for trial in _without_gaps(trials):
                study.add_trial(_frozen(optuna, paths, settings, trial))
            _write(optuna, lines.all, target)
        finally:
            optuna.logging.set_verbosity(verbosity)


class _Lines:
    """A journal in memory: a file would be locked and synced for each line."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self.all[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.all += logs


def _optuna() -> Any:
    try:
        return load_optuna()
    except UserError as error:
        oldest = ".".join(map(str, OLDEST))
        install = pip_install(f"{BAYES[0]}>={oldest}")
        raise UserError(
            f"an Optuna journal is written with Optuna {oldest} or newer, and {sys.executable}"
            f" has none; install it with {install}, or write a table with --csv"
        ) from error


def _write(optuna: Any, lines: list[dict[str, Any]], target: Path) -> None:
    before_4 = getattr(optuna.storages, "JournalFileStorage", None)
    journals = getattr(optuna.storages, "journal", None)
    backend = getattr(journals, "JournalFileBackend", before_4)
    assert backend is not None  # noqa: S101 - every Optuna that load_optuna takes has one
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        aside = os.path.join(folder, "journal")
        backend(aside).append_logs(lines)
        os.replace(aside, target)


def _without_gaps(trials: Sequence[TrialState]) -> list[TrialState | None]:
    """The trials by number, with None for numbers of which nothing is known yet."""
    by_number = {trial.number: trial for trial in trials}
    numbers = range(max(by_number, default=-1) + 1)
    return [by_number.get(number) for number in numbers]


def _frozen(
    optuna: Any, paths: SweepPaths, settings: SweepSettings, trial: TrialState | None
) -> Any:
    """A trial as Optuna keeps one."""
    states = optuna.trial.TrialState
    if trial is None:
        return optuna.trial.create_trial(state=states.WAITING)
    kinds = {"done": states.COMPLETE, "pruned": states.PRUNED, "running": states.RUNNING}
    state = kinds.get(trial.state, states.FAIL)
    if trial.value is None and state == states.COMPLETE:
        state = states.FAIL
    params, distributions = {}, {}
    for key, dimension in settings.space.dimensions.items():
        distributions[key] = _distribution(optuna, dimension)
        params[key] = trial.params[key]
        if isinstance(dimension, Listed):
            params[key] = _choices(dimension)[dimension.index(trial.params[key]) or 0]
    frozen = optuna.trial.create_trial(
        state=state,
        params=params,
        distributions=distributions,
        value=None if state in (states.FAIL, states.RUNNING) else trial.value,
        user_attrs={"task": trial.task, "epochs": trial.epochs, "seconds": trial.seconds},
        intermediate_values=_curve(paths, settings, trial.number),
    )
    if trial.claimed_at is not None:
        frozen.datetime_start = datetime.fromtimestamp(trial.claimed_at)
    if trial.ended_at is not None:
        frozen.datetime_complete = datetime.fromtimestamp(trial.ended_at)
    return frozen


def _curve(paths: SweepPaths, settings: SweepSettings, number: int) -> dict[int, float]:
    """The metric by epoch, where it was a number."""
    curve = {}
    for row in metric_rows(paths.trial_run(number)):
        epoch, value = row.get("epoch"), row.get(settings.metric)
        if is_finite(epoch) and is_finite(value):
            curve[int(epoch)] = float(value)
    return curve


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Listed):
        return optuna.distributions.CategoricalDistribution(_choices(dimension))
    if isinstance(dimension, IntRange):
        kind = optuna.distributions.IntDistribution
    else:
        kind = optuna.distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _choices(dimension: Listed) -> list[Any]:
    """Listed values as Optuna takes them: it knows no lists, and holds 1 and true for equal."""
    values = list(dimension.values)
    are_plain = all(
        value is None or isinstance(value, bool | int | float | str) for value in values
    )
    if are_plain and len(set(values)) == len(values):
        return values
    return [json.dumps(value, sort_keys=True) for value in values]
