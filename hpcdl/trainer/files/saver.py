"""When a run's state is saved: it is copied at once, and a thread writes the copy."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Dict, Iterator, NamedTuple, Optional

from hpcdl.contract.spec import SavingSpec
from hpcdl.trainer.files.checkpoint import Checkpoints
from hpcdl.trainer.files.checkpoint_file import Snapshot
from hpcdl.trainer.files.retry import keep_trying

_NEW_STATE: Dict[str, Any] = {
    "step": 0,
    "epoch_s": 0.0,
    "train_s": 0.0,
    "saves": 0,
    "save_blocked_s": 0.0,
    "best": None,
    "waited": 0,
    "stopped_early": False,
    "plateau": None,
}


class _Copy(NamedTuple):
    """A copy of the state, and the seconds that copying took."""

    snapshot: Snapshot
    seconds: float


class Saver:
    """Saves the state of one attempt: during the training, and at its end.

    A state is a dict of JSON with at least ``step``. Its ``saves`` counts the saves, its
    ``save_blocked_s`` the seconds for which training stood still.

    Args:
        checkpoints: the run's.
        saving: how often they are written.
    """

    def __init__(self, checkpoints: Checkpoints, saving: SavingSpec) -> None:
        self._checkpoints = checkpoints
        self._saving = saving
        # Of the last copy; the thread may still be writing it
        self._step, self._at = 0, time.monotonic()
        self._saved_step: Optional[int] = None
        self._slowest_s: Optional[float] = None
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[BaseException] = None

    def restore(self) -> Dict[str, Any]:
        """Set all variables from the last checkpoint; returns its state, or that of a new run."""
        state = self._checkpoints.restore() or {}
        self._step, self._at = state.get("step", 0), time.monotonic()
        self._saved_step = state.get("step")
        return {key: state.get(key, value) for key, value in _NEW_STATE.items()}

    def steps_left(self, step: int, most: int) -> int:
        """`most` steps from `step` on, or only those up to the next checkpoint by steps."""
        every = self._saving.every_steps
        if every is None:
            return most
        return max(1, min(most, self._step + every - step))

    def due(self, step: int) -> bool:
        """Whether enough steps or seconds have passed since the last checkpoint."""
        every = self._saving.every_steps
        if every is not None and step - self._step >= every:
            return True
        seconds = time.monotonic() - self._at
        return step > self._step and seconds >= self._saving.every_s

    def news(self) -> Dict[str, Any]:
        """For the heartbeat: the newest checkpoint on disk, and this attempt's slowest save.

        Raises:
            Unsaved: the thread could not write its checkpoint.
        """
        self._raise_error()
        news = {"saved_step": self._saved_step, "slowest_save_s": self._slowest_s}
        return {key: value for key, value in news.items() if value is not None}

    def save(self, state: Dict[str, Any]) -> None:
        """Copy the state, and let a thread write it. If the last write goes on, wait for it first.

        Raises:
            Unsaved: the last one could not be written.
        """
        with self._blocking(state):
            self._join()
            self._raise_error()
            copy = self._copy(state)
            self._thread = threading.Thread(
                target=self._write_in_thread, args=(copy,), name="checkpoint", daemon=True
            )
            self._thread.start()

    def finish(self, state: Dict[str, Any]) -> None:
        """Return when the state is on disk.

        Raises:
            Unsaved: it could not be written.
        """
        with self._blocking(state):
            self._join()
            self._raise_error()
            if state["step"] != self._step:
                self._write(self._copy(state))

    def keep_best(self, state: Dict[str, Any]) -> None:
        """Copy the model as the best one: it is written with the next checkpoint that is due."""
        with self._blocking(state):
            self._checkpoints.keep_best()

    def close(self) -> None:
        """Let the thread end its work, whatever happened: its state is good."""
        self._join()

    @contextlib.contextmanager
    def _blocking(self, state: Dict[str, Any]) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            state["save_blocked_s"] += time.perf_counter() - started

    def _copy(self, state: Dict[str, Any]) -> _Copy:
        state["saves"] += 1
        started = time.perf_counter()
        snapshot = self._checkpoints.copy(state["step"], state)
        self._step, self._at = state["step"], time.monotonic()
        return _Copy(snapshot, time.perf_counter() - started)

    def _write(self, copy: _Copy) -> None:
        def write_once() -> float:
            started = time.perf_counter()
            self._checkpoints.write(copy.snapshot)
            return time.perf_counter() - started

        step = copy.snapshot.step
        seconds = copy.seconds + keep_trying("the checkpoint of step {:,}".format(step), write_once)
        self._saved_step = step
        self._slowest_s = max(seconds, self._slowest_s or 0.0)

    def _write_in_thread(self, copy: _Copy) -> None:
        try:
            self._write(copy)
        except BaseException as error:  # raised in the training thread: see _raise_error
            self._error = error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
