"""Runs and sweeps with their statuses, as ``status`` and ``wait`` show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import HpcdlError
from hpcdl.oserrors import sentence
from hpcdl.run import states

if TYPE_CHECKING:
    from hpcdl.run.listing import ListedRun, RunStatus
    from hpcdl.sweeps.overview import SweepOverview


@dataclass(frozen=True)
class SweepEntry:
    """A sweep's name, place and overview.

    Args:
        name: ``<name>/<sweep_id>``.
        folder: its folder.
        overview: how far it is; None if its files cannot be used.
        error: why they cannot; else empty.
    """

    name: str
    folder: str
    overview: SweepOverview | None
    error: str = ""

    @property
    def state(self) -> str:
        """One of the words of `states`."""
        return states.UNKNOWN if self.overview is None else self.overview.state

    @property
    def final(self) -> bool:
        """Whether it has ended for good."""
        return self.overview is not None and self.overview.final

    @property
    def root(self) -> Path:
        """Its folder."""
        return Path(self.folder)

    def trials(self, numbers: Sequence[int]) -> list[ListedRun]:
        """Some of its trials, as runs."""
        from hpcdl.run.listing import ListedRun
        from hpcdl.sweeps.folder import SweepPaths

        paths = SweepPaths(self.root)
        return [ListedRun(str(paths.trial(number)), 0.0) for number in numbers]

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        if self.overview is None:
            return {"run": self.folder, "kind": "sweep", "state": self.state, "note": self.error}
        return {"run": self.folder, **self.overview.as_dict()}


@dataclass(frozen=True)
class RunEntry:
    """A run's name, place and status.

    Args:
        run: all of that.
    """

    run: RunStatus

    @property
    def name(self) -> str:
        """``<name>/<run_id>``."""
        return self.run.name

    @property
    def folder(self) -> str:
        """Its folder."""
        return self.run.folder

    @property
    def state(self) -> str:
        """One of the words of `states`."""
        return self.run.status.state

    @property
    def final(self) -> bool:
        """Whether it has ended for good."""
        return self.run.status.final

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"run": self.folder, **vars(self.run.status)}


Entry = RunEntry | SweepEntry


def entries_of(listed_runs: Sequence[ListedRun]) -> list[Entry]:
    """The runs and sweeps with their statuses; those that were removed meanwhile are left out."""
    from hpcdl.run.listing import statuses

    runs = [listed_run for listed_run in listed_runs if not listed_run.is_sweep]
    by_folder: dict[str, Entry] = {}
    for run in statuses(runs):
        by_folder[run.folder] = RunEntry(run)
    for listed_run in listed_runs:
        if listed_run.is_sweep and listed_run.root.exists():
            by_folder[listed_run.folder] = sweep_entry(listed_run.name, listed_run.root)
    return [by_folder[run.folder] for run in listed_runs if run.folder in by_folder]


def sweep_entry(name: str, folder: Path) -> SweepEntry:
    """A sweep with its overview.

    Args:
        name: ``<name>/<sweep_id>``.
        folder: its folder.
    """
    from hpcdl.sweeps.folder import SweepPaths
    from hpcdl.sweeps.overview import overview

    try:
        return SweepEntry(name, str(folder), overview(SweepPaths(folder)))
    except HpcdlError as error:
        return SweepEntry(name, str(folder), None, str(error))
    except OSError as error:
        return SweepEntry(name, str(folder), None, sentence(error))
