"""When a run's state is saved, and how training goes on meanwhile: copied at once, written by a thread."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from typing import Any, Dict, Iterator, Optional

from hpcdl.contract.spec import SavingSpec
from hpcdl.trainer.files.checkpoint import Checkpoints, Snapshot
from hpcdl.trainer.files.retry import keep_trying


class Saver:
    """Saves the state of one attempt: now and then beside the training, and at its end.

    A state is a dict of JSON with at least ``step``. Saving counts itself in its ``saves``, and in its
    ``save_blocked_s`` the seconds for which training stood still.
    """

    def __init__(self, checkpoints: Checkpoints, saving: SavingSpec) -> None:
        self._checkpoints = checkpoints
        self._saving = saving
        self._step, self._at = 0, time.monotonic()  # of the last checkpoint begun
        self._saved_step: Optional[int] = None
        self._slowest_s: Optional[float] = None
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[BaseException] = None

    def restore(self) -> Dict[str, Any]:
        """Set all variables from the last checkpoint; returns its state, or that of a new run."""
        state = self._checkpoints.restore() or {}
        self._step, self._at = state.get("step", 0), time.monotonic()
        self._saved_step = state.get("step")
        start: Dict[str, Any] = {
            "step": 0,
            "epoch_s": 0.0,
            "train_s": 0.0,
            "saves": 0,
            "save_blocked_s": 0.0,
        }
        start.update({"best": None, "waited": 0, "stopped_early": False, "plateau": None})
        return {key: state.get(key, value) for key, value in start.items()}

    def steps_left(self, step: int, wanted: int) -> int:
        """`wanted` steps from `step` on, or only those up to the next checkpoint that is due by steps."""
        every = self._saving.every_steps
        return wanted if every is None else max(1, min(wanted, self._step + every - step))

    def due(self, step: int) -> bool:
        """Whether enough steps or seconds have passed since the last checkpoint."""
        every = self._saving.every_steps
        by_steps = every is not None and step - self._step >= every
        return by_steps or (
            step > self._step and time.monotonic() - self._at >= self._saving.every_s
        )

    def news(self) -> Dict[str, Any]:
        """What the heartbeat says of saving: the newest checkpoint on disk, and this attempt's slowest save.

        Raises:
            Unsaved: the thread could not write its checkpoint.
        """
        self._raise_error()
        news = {"saved_step": self._saved_step, "slowest_save_s": self._slowest_s}
        return {key: value for key, value in news.items() if value is not None}

    def save(self, state: Dict[str, Any]) -> None:
        """Copy the state; a thread writes it. Where that still writes the one before, wait for it first.

        Raises:
            Unsaved: the one before could not be written.
        """
        with self._blocking(state):
            self._join()
            self._raise_error()
            write = self._copy(state)
            self._thread = threading.Thread(
                target=self._in_thread, args=(write,), name="checkpoint", daemon=True
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
                self._copy(state)()

    def keep_best(self, state: Dict[str, Any]) -> None:
        """Copy the model as the best one: it is written with the next checkpoint that is due."""
        with self._blocking(state):
            self._checkpoints.keep_best()

    def close(self) -> None:
        """Let the thread end its work, whatever happened: the state that it has is a good one."""
        self._join()

    @contextlib.contextmanager
    def _blocking(self, state: Dict[str, Any]) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            state["save_blocked_s"] += time.perf_counter() - started

    def _copy(self, state: Dict[str, Any]) -> Any:
        """Copy the state, and return the function that writes the copy."""
        state["saves"] += 1
        started = time.perf_counter()
        snapshot = self._checkpoints.copy(state["step"], state)
        self._step, self._at = state["step"], time.monotonic()
        return functools.partial(self._write, snapshot, time.perf_counter() - started)

    def _write(self, snapshot: Snapshot, copy_s: float) -> None:
        def write_once() -> float:
            started = time.perf_counter()
            self._checkpoints.write(snapshot)
            return time.perf_counter() - started

        seconds = copy_s + keep_trying(
            "the checkpoint of step {:,}".format(snapshot.step), write_once
        )
        self._saved_step = snapshot.step
        self._slowest_s = max(seconds, self._slowest_s or 0.0)

    def _in_thread(self, write: Any) -> None:
        try:
            write()
        except BaseException as error:  # raised where the training thread next looks
            self._error = error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
