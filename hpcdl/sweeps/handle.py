"""One sweep, by its folder: how far it is, its trials, its best one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import RunError
from hpcdl.run import Run
from hpcdl.sweeps.best import counts_text
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.keeping import best_numbers
from hpcdl.sweeps.missing import whole_state
from hpcdl.sweeps.overview import SweepOverview, overview
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import SweepState, TrialState

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hpcdl.job import Job

_LOOK_S = 2.0  # how often wait looks at the files
_SHOWN = 20  # trials in a notebook's table
_COLUMNS = ("number", "state", "value", "epoch", "epochs", "seconds")


class Sweep:
    """Many trials of one job. It holds its folder alone: it can be opened again anywhere.

    Args:
        folder: the sweep's, as `hpcdl.sweep` or ``hpcdl sweep`` gave it.

    Raises:
        RunError: the folder is not a sweep's.

    Examples:
        >>> sweep = hpcdl.Sweep("runs/mnist-cnn/20261128-1722-kd7b")  # doctest: +SKIP
        >>> sweep.best.value  # doctest: +SKIP
        0.9871
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.paths = SweepPaths(Path(folder).absolute())
        if not self.paths.sweep.exists():
            raise RunError(f"{folder} is not a sweep's folder (it has no sweep.json)")

    def __repr__(self) -> str:
        return f"Sweep({str(self.paths.root)!r})"

    def __fspath__(self) -> str:
        return str(self.paths.root)

    @property
    def name(self) -> str:
        """``<name>/<sweep_id>``."""
        return "/".join(self.paths.root.parts[-2:])

    @property
    def settings(self) -> SweepSettings:
        """What is searched, and how."""
        return SweepSettings.read(self.paths)

    def state(self) -> SweepState:
        """All trials, by the tasks' logs and the trials' own files."""
        return whole_state(self.paths)

    def status(self) -> SweepOverview:
        """How far it is. SLURM is asked only if its files cannot say, and not too often."""
        return overview(self.paths)

    def wait(self, timeout_s: float | None = None) -> SweepOverview:
        """Wait until it has ended: all its trials have, or its tasks, or it was cancelled.

        Args:
            timeout_s: how long at most; None for no limit.

        Raises:
            TimeoutError: it did not end in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            status = self.status()
            if status.final:
                return status
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} has not ended after {timeout_s} s")
            time.sleep(_LOOK_S)

    @property
    def trials(self) -> Trials:
        """Its trials by number."""
        return Trials(self)

    @property
    def best(self) -> Trial:
        """The best trial that is done.

        Raises:
            RunError: no trial is done with a value of the metric yet.
        """
        settings, state = self.settings, self.state()
        numbers = best_numbers(state, settings, 1)
        if not numbers:
            raise RunError(f"{self.name}: no trial is done with a value of {settings.metric} yet")
        return Trial(self, state.trials[numbers[0]])

    def table(self) -> dict[str, npt.NDArray[Any]]:
        """All trials as columns: numpy arrays of shape (trials,), in the order of their numbers.

        The columns are number, state, value, epoch, epochs, seconds, and one for each key that is
        searched. ``pandas.DataFrame(sweep.table())`` makes a data frame of them.
        """
        import numpy as np

        state = self.state()
        trials = [state.trials[number] for number in sorted(state.trials)]
        columns = {}
        for name in _COLUMNS:
            values = [getattr(trial, name) for trial in trials]
            columns[name] = _array(values, np.float64 if name in ("value", "epoch") else None)
        for name in self.settings.space.names:
            columns[name] = _array([trial.params.get(name) for trial in trials])
        return columns

    def _repr_html_(self) -> str:
        """A table of the best trials, for a notebook."""
        settings, state = self.settings, self.state()
        counts = counts_text(state)
        names = settings.space.names
        head = "".join(f"<th>{escape(name)}</th>" for name in ("trial", settings.metric, *names))
        rows = []
        for trial in _ranked(state, settings)[:_SHOWN]:
            cells = [str(trial.number), f"{trial.value:.6g}" if trial.value is not None else ""]
            cells += [str(trial.params.get(name, "")) for name in names]
            rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        title = f"{escape(self.name)}: {escape(counts)}"
        return f"<table><caption>{title}</caption><tr>{head}</tr>{body}</table>"


class Trial:
    """One trial of a sweep.

    Args:
        sweep: the sweep.
        state: what is known of the trial.
    """

    def __init__(self, sweep: Sweep, state: TrialState) -> None:
        self.sweep = sweep
        self.number = state.number
        self.state = state.state
        self.params: dict[str, Any] = state.params
        self.value = state.value
        self.epoch = state.epoch

    def __repr__(self) -> str:
        return f"Trial({self.number}, {self.state}, value={self.value}, params={self.params})"

    @property
    def run(self) -> Run:
        """The trial as a run: its status, result, logs.

        Raises:
            RunError: its task has not made its folder yet.
        """
        return Run(self.sweep.paths.trial(self.number))

    def metrics(self) -> dict[str, npt.NDArray[np.float64]]:
        """Its metrics by name: arrays of shape (epochs,); NaN where an epoch has no value."""
        return self.run.metrics()

    @property
    def job(self) -> Job:
        """The sweep's job with this trial's values.

        Raises:
            JobError: a file that the job names is no longer there.
        """
        from hpcdl.job import load_job
        from hpcdl.sweeps.trial_job import TrialJobs

        return TrialJobs(load_job(self.sweep.paths.run.job)).job_of(self.params)


class Trials(Mapping[int, Trial]):
    """A sweep's trials by number, as they are when this was made."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._trials = sweep.state().trials

    def __getitem__(self, number: int) -> Trial:
        return Trial(self._sweep, self._trials[number])

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._trials))

    def __len__(self) -> int:
        return len(self._trials)


def _ranked(state: SweepState, settings: SweepSettings) -> list[TrialState]:
    """The trials that have a value, the best first."""
    with_score = []
    for trial in state.trials.values():
        score = settings.score(trial.value)
        if score is not None and trial.state != "failed":
            with_score.append((-score, trial.number))
    return [state.trials[number] for _, number in sorted(with_score)]


def _array(values: list[Any], kind: Any = None) -> npt.NDArray[Any]:
    """A column: numbers as numbers, None as NaN, lists and mixed values as objects."""
    import numpy as np

    if kind is not None:
        return np.array([np.nan if value is None else value for value in values], kind)
    kinds = {type(value) for value in values}
    if kinds <= {int} or kinds <= {float} or kinds <= {bool} or kinds <= {str}:
        return np.array(values)
    column = np.empty(len(values), object)
    column[:] = values
    return column
