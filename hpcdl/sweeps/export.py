"""A sweep's trials for other programs: a CSV table, or a journal file of Optuna's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hpcdl.files import write_text
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.missing import whole_state
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.state import TrialState

COLUMNS = ("trial", "state", "value", "epoch", "epochs", "seconds", "started", "ended", "task")


def table(paths: SweepPaths) -> tuple[list[str], list[list[Any]]]:
    """The trials of a sweep by number, one a row, with a column for each key that is searched.

    Returns:
        the names of the columns, and the rows; None where there is nothing.

    Raises:
        RunError: the folder is damaged.
        OSError: it cannot be read.
    """
    settings = SweepSettings.read(paths)
    keys = settings.space.names
    rows = []
    for _, trial in sorted(whole_state(paths).trials.items()):
        row: list[Any] = [trial.number, trial.state, trial.value, trial.epoch, trial.epochs]
        row += [trial.seconds, _time(trial.claimed_at), _time(trial.ended_at), trial.task]
        row += [trial.params.get(key) for key in keys]
        rows.append(row)
    return [*COLUMNS, *keys], rows


def write_csv(paths: SweepPaths, target: Path) -> int:
    """Write the table as CSV. Lists are written as JSON, times as ISO 8601 in UTC.

    Returns:
        how many trials it has.

    Raises:
        RunError: the folder is damaged.
        OSError: something cannot be read or written.
    """
    columns, rows = table(paths)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_cells(row))
    write_text(target, stream.getvalue())
    return len(rows)


def write_optuna(paths: SweepPaths, target: Path) -> int:
    """Write a journal file that Optuna and optuna-dashboard open.

    Returns:
        how many trials it has.

    Raises:
        UserError: Optuna is missing or too old.
        RunError: the folder is damaged.
        OSError: something cannot be read or written.
    """
    from hpcdl.sweeps.optuna_journal import write_journal

    settings = SweepSettings.read(paths)
    trials: Sequence[TrialState] = list(whole_state(paths).trials.values())
    write_journal(paths, settings, trials, target)
    return len(trials)


def _cells(row: Sequence[Any]) -> list[Any]:
    cells = []
    for value in row:
        is_plain = value is None or isinstance(value, str | float)
        cells.append(value if is_plain else json.dumps(value))
    return cells


def _time(unix_time: float | None) -> str | None:
    if unix_time is None:
        return None
    return datetime.fromtimestamp(unix_time, timezone.utc).isoformat(timespec="seconds")
