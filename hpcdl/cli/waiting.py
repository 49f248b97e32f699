"""Waits for several runs and sweeps: a line for each change, and live ones on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcdl.cli import options
from hpcdl.cli.entries import Entry, RunEntry, SweepEntry, entries_of
from hpcdl.cli.sweep_table import sweep_note
from hpcdl.cli.talk import Talk
from hpcdl.cli.watching import state_line
from hpcdl.formats import cut
from hpcdl.run import states

if TYPE_CHECKING:
    from hpcdl.run.listing import ListedRun

_LOOK_S = 1.0  # how often runs are looked at; many runs less often
_RUNS_A_SECOND = 50  # that are read: a shared file system serves others, too
_LIVE_LINES = 10  # more runs have one summary line
_LONGEST_NOTE = 70  # characters


def follow_several(listed_runs: Sequence[ListedRun]) -> int:
    """Follow runs and sweeps until all have ended.

    Returns:
        the exit code: 0 if all are done, 130 if the user left by Ctrl-C, else 1.
    """
    last: dict[str, Entry] = {}
    left = list(listed_runs)
    show = _Live(len(left)) if sys.stderr.isatty() else _Lines()
    try:
        with show:
            while True:
                entries = entries_of(left)
                _say_removed(show, left, entries)
                for entry in entries:
                    last[entry.folder] = entry
                show.update(entries, list(last.values()))
                going_on = {entry.folder for entry in entries if not entry.final}
                left = [run for run in left if run.folder in going_on]
                if not left:
                    break
                time.sleep(max(_LOOK_S, len(left) / _RUNS_A_SECOND))
    except KeyboardInterrupt:
        options.say("\nthe runs continue without you; look again with: hpcdl status")
        return 130
    options.say(f"ended: {_summary(list(last.values()))}")
    done = [entry for entry in last.values() if entry.state == states.DONE]
    return 0 if len(done) == len(listed_runs) else 1


def _say_removed(show: Talk, left: Sequence[ListedRun], entries: Sequence[Entry]) -> None:
    there = {entry.folder for entry in entries}
    for run in left:
        if run.folder not in there:
            show.say(f"{run.name}: removed; what still runs of it ends by itself")


def _summary(entries: Sequence[Entry]) -> str:
    """The runs by state: 3 done, 1 failed."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.state] = counts.get(entry.state, 0) + 1
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "none"


def _line(entry: Entry) -> str:
    """Where a run or a sweep is, in one line."""
    if isinstance(entry, SweepEntry):
        note = entry.error if entry.overview is None else sweep_note(entry.overview)
        return f"{entry.name}: {entry.state}; {note}"
    return f"{entry.name}: {_run_words(entry)}"


def _run_words(entry: RunEntry) -> str:
    status = entry.run.status
    if not status.final:
        words = state_line(status)
        if status.state == states.RUNNING and status.epoch and status.epochs:
            words += f", epoch {status.epoch}/{status.epochs}"
        return words
    reasons = [status.state]
    if status.cause and status.cause != status.state:
        reasons.append(status.cause.replace("_", " "))
    if entry.run.score:
        reasons.append(entry.run.score)
    if status.note:
        reasons.append(cut(status.note.partition("\n")[0], _LONGEST_NOTE))
    return ", ".join(reasons)


class _Lines(Talk):
    """A line for each change of a run's state, and for its end."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def update(self, entries: Sequence[Entry], all_entries: Sequence[Entry]) -> None:
        """Say what is new.

        Args:
            entries: the runs that had not ended at the last look.
            all_entries: all runs.
        """
        for entry in entries:
            if self._states.get(entry.folder) != entry.state:
                self._states[entry.folder] = entry.state
                self.say(_line(entry))


class _Live(_Lines):
    """Ends as lines and, below them, where each of a few runs is, or how many are in each state."""

    def __init__(self, count: int) -> None:
        super().__init__()
        from rich.progress import TextColumn

        self.bars(TextColumn("{task.description}", markup=False), transient=True)
        self._is_long = count > _LIVE_LINES
        self._tasks: dict[str, int] = {}

    def update(self, entries: Sequence[Entry], all_entries: Sequence[Entry]) -> None:
        """Say which runs have ended, and redraw the lines below."""
        super().update([entry for entry in entries if entry.final], all_entries)
        if self._is_long:
            self._redraw("", _summary(all_entries), visible=True)
            return
        for entry in entries:
            self._redraw(entry.folder, _line(entry), visible=not entry.final)

    def _redraw(self, key: str, text: str, visible: bool) -> None:
        if key not in self._tasks:
            self._tasks[key] = self.progress.add_task("", total=None)
        self.progress.update(self._tasks[key], description=text, visible=visible)
