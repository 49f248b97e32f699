"""Who runs which trial: a symbolic link is the claim, made by one system call, for one process.

Its target is the key of the task that has the trial. There is no lock that a dead task could
leave behind, and everything after the link can be done again: a task that comes back finds its
trial by its claim. A trial that `offer` puts into ``open/`` is taken by a rename, which one task
alone can do.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hpcdl.errors import RunError
from hpcdl.files import write_json
from hpcdl.sweeps.events import Claimed, Ended, Rung, append_event, finite_or_none
from hpcdl.sweeps.folder import SweepPaths, check_key
from hpcdl.sweeps.missing import TrialFile, read_end, read_trial
from hpcdl.sweeps.state import SweepState


@dataclass(frozen=True)
class Proposal:
    """The parameters of a new trial.

    Args:
        params: by the job's keys.
        knew: as in `TrialFile`.
        sampler: as in `TrialFile`.
    """

    params: dict[str, Any]
    knew: dict[str, str] = field(default_factory=dict)
    sampler: str = ""


class Claims:
    """One task's hold on the trials of a sweep, one trial at a time.

    Args:
        paths: the sweep's; its folders are there.
        key: the task's.
        budget: only trials below this number are claimed; it may be changed between two claims.
        propose: the parameters of a trial by its number and what is known.

    Raises:
        ValueError: the key cannot be a file's name.
    """

    def __init__(
        self,
        paths: SweepPaths,
        key: str,
        budget: int,
        propose: Callable[[int, SweepState], Proposal],
    ) -> None:
        self.state = SweepState()
        self._paths = paths
        self._key = check_key(key)
        self._log = paths.task_log(key)
        self.budget = budget
        self._propose = propose
        self._knows_own = False  # a task may come back: its earlier claims are looked for
        self._own: list[int] = []
        self._lowest_free = 0  # all numbers below are claimed

    def claim(self) -> TrialFile | None:
        """The trial to go on with, or to begin; None if nothing is left for this task.

        Raises:
            OSError: something cannot be read or written; the next call goes on from there.
        """
        if self._paths.cancelled.exists():
            return None
        self.state.refresh(self._paths)
        try:
            return self._next()
        except OSError:
            self._knows_own = False  # whether the link was made is not known
            raise

    def trials_in_hand(self) -> list[int]:
        """The trials that this task has claimed or taken, and whose end is not noted.

        Raises:
            OSError: the folder cannot be read.
        """
        self.state.refresh(self._paths)
        numbers = self._find_own()
        for number, key in self._paths.taken_offers():
            if key == self._key:
                numbers.append(number)
        return numbers

    def note_rung(self, number: int, epoch: int, value: float) -> None:
        """Note a trial's value at a rung, once.

        Raises:
            OSError: it cannot be written.
        """
        self.state.refresh(self._paths)
        if number not in self.state.rungs.get(epoch, {}):
            append_event(self._log, Rung(number, epoch, finite_or_none(value), time.time()))

    def finish(self, trial: TrialFile) -> Ended:
        """Note the end that a trial's result.json tells of, once.

        Raises:
            RunError: the result is missing.
            OSError: it cannot be written; a later claim notes it.
        """
        claimed = self._claimed(trial)
        ended = read_end(self._paths, claimed)
        if ended is None:
            raise RunError(
                f"{self._paths.result(trial.number)}: missing or without the end of the trial;"
                " expected a state of done, pruned or failed; run the trial again"
            )
        self.state.refresh(self._paths)
        noted = self.state.trials.get(trial.number)
        if noted is None or noted.turn < trial.turn or noted.state == "running":
            append_event(self._log, ended)
            self.state.add(ended)
        if trial.number in self._own:
            self._own.remove(trial.number)
        return ended

    def _next(self) -> TrialFile | None:
        if not self._knows_own:
            self._settle_taken_offers()
            self._own = self._find_own()
            self._knows_own = True
        while self._own:
            number = self._own[0]
            if self._paths.owner(number) != self._key:
                self._own.remove(number)  # it was offered again, and another task has it
                continue
            trial = self._begin(number)
            if read_end(self._paths, self._claimed(trial)) is None:
                return trial
            self.finish(trial)  # it died between the result and the log's line
        if self._paths.stop.exists():
            return None
        new_number = self._take_offer()
        if new_number is None:
            new_number = self._claim_new()
        if new_number is None:
            return None
        self._own.append(new_number)
        return self._begin(new_number)

    def _find_own(self) -> list[int]:
        """The trials that this task has claimed and not ended."""
        offered_again = set(self._paths.offered_numbers())
        for number, _ in self._paths.taken_offers():
            offered_again.add(number)  # another task is about to have it
        own = []
        for number in self._paths.claimed_numbers():
            if self.state.has_ended(number) or number in offered_again:
                continue
            if self._paths.owner(number) == self._key:
                own.append(number)
        return own

    def _take_offer(self) -> int | None:
        """Take a trial that is offered again; None if none is left."""
        for number in self._paths.offered_numbers():
            taken = self._paths.taken_offer(number, self._key)
            try:
                os.rename(self._paths.offer(number), taken)
            except FileNotFoundError:
                if not os.path.lexists(taken):  # else a file server was asked twice
                    continue  # another task was faster
            self._settle(number)
            return number
        return None

    def _settle_taken_offers(self) -> None:
        """Go on where this task died after it had taken an offer."""
        for number, key in self._paths.taken_offers():
            if key == self._key:
                self._settle(number)

    def _settle(self, number: int) -> None:
        """Make a taken trial this task's own; all of it can be done twice."""
        new_claim = self._paths.new_claim(number, self._key)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new_claim)
        os.symlink(self._key, new_claim)
        os.replace(new_claim, self._paths.claim(number))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._paths.result(number))  # of the turn before
        before = read_trial(self._paths, number)
        self._begin(number, turn=self._last_turn(number, before) + 1)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._paths.taken_offer(number, self._key))

    def _claim_new(self) -> int | None:
        """Claim the lowest number that nobody has; None if the budget is used up."""
        claimed = set()
        if self._lowest_free == 0:
            claimed = set(self._paths.claimed_numbers())
        for number in range(self._lowest_free, self.budget):
            if number in claimed:
                continue
            if self._link(number):
                self._lowest_free = number + 1
                return number
        self._lowest_free = max(self._lowest_free, self.budget)
        return None

    def _link(self, number: int) -> bool:
        """Whether a trial is now this task's."""
        try:
            os.symlink(self._key, self._paths.claim(number))
        except FileExistsError:
            if self._paths.owner(number) != self._key:
                return False
            return not self.state.has_ended(number)  # a file server may be asked twice
        return True

    def _begin(self, number: int, turn: int | None = None) -> TrialFile:
        """Make a trial's files, unless they are there; all of it can be done twice.

        Args:
            number: the trial's.
            turn: a new one, if the trial was offered again.
        """
        before = read_trial(self._paths, number)
        trial = before or self._new_trial(number)
        if before is None or turn is not None:
            last_turn = self._last_turn(number, before)
            trial = msgspec.structs.replace(trial, task=self._key, turn=turn or max(1, last_turn))
            os.makedirs(self._paths.trial(number), exist_ok=True)
            write_json(self._paths.trial_file(number), msgspec.to_builtins(trial))
        noted = self.state.trials.get(number)
        if noted is None or noted.turn < trial.turn:
            claimed = self._claimed(trial)
            append_event(self._log, claimed)
            self.state.add(claimed)
        return trial

    def _new_trial(self, number: int) -> TrialFile:
        """The parameters of a trial without trial.json: those of the log, or new ones."""
        noted = self.state.trials.get(number)
        if noted is not None:
            return TrialFile(number, noted.params, self._key, noted.turn)
        proposal = self._propose(number, self.state)
        return TrialFile(number, proposal.params, self._key, 1, proposal.knew, proposal.sampler)

    def _last_turn(self, number: int, on_disk: TrialFile | None) -> int:
        noted = self.state.trials.get(number)
        turns = [0]
        if noted is not None:
            turns.append(noted.turn)
        if on_disk is not None:
            turns.append(on_disk.turn)
        return max(turns)

    def _claimed(self, trial: TrialFile) -> Claimed:
        return Claimed(trial.number, trial.params, self._key, trial.turn, time.time())


def offer(paths: SweepPaths, number: int) -> None:
    """Offer a trial again. Only for one whose task has ended for good, or that has failed.

    Raises:
        OSError: it cannot be written.
    """
    for taken_number, key in paths.taken_offers():
        if taken_number == number:
            os.unlink(paths.taken_offer(number, key))  # its task died, too
    os.close(os.open(paths.offer(number), os.O_WRONLY | os.O_CREAT, 0o644))
