"""The files of one run folder: their names, and writing them so that no reader sees half of one."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import time
from typing import Any, Callable, Dict, List, Optional

from hpcdl.contract import run_files as names
from hpcdl.contract.atomic import replace
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.runtime.log import say

HEARTBEAT_S = 1.0  # at most one heartbeat in this time, new phases aside
ASIDE = (  # the trainer's half-written files; the host has its own in the same folder
    *(name + ".*.tmp" for name in (names.HEARTBEAT, names.METRICS, names.RESULT, names.FAILURE)),
    names.PREDICTIONS + ".*.tmp",
    names.FEATURES + ".*.tmp",
    names.TEACHER + ".*.tmp",
    names.CHECKPOINTS + "/*.tmp",
    names.MODEL + "/aside-*",
)


def write_json(path: str, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity become null: JSON lacks them."""
    text = json.dumps(_finite(value), indent=2, allow_nan=False) + "\n"
    replace(path, text.encode("utf-8"))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


class RunDir:
    """The folder of run.json and what one attempt reads and writes there.

    Args:
        run_json: path of run.json; its folder is the run folder.
        attempt: number of this attempt, from 1.
        stop_file: the file that asks the run to stop; None for ``stop`` in the run folder.
        rank: the number of this worker, from 0. The run folder is worker 0's. Another one writes
            the same files, which nobody else reads, into a folder of its own.

    Attributes:
        run_folder: the run folder.
        folder: where this worker writes.

    ``on_epoch`` is called with each line that was added to metrics.jsonl.
    """

    def __init__(
        self, run_json: str, attempt: int = 1, stop_file: Optional[str] = None, rank: int = 0
    ) -> None:
        self.run_json = os.path.abspath(run_json)
        self.run_folder = self.folder = os.path.dirname(self.run_json)
        self.rank = rank
        if rank:
            self.folder = os.path.join(self.run_folder, names.WORKERS, str(rank))
        self.attempt = attempt
        self.stop_file = stop_file or self.shared(names.STOP)
        self.on_epoch: Optional[Callable[[Dict[str, Any]], None]] = None
        self._beat: Dict[str, Any] = {"phase": "starting", "attempt": attempt}
        self._beat_at = 0.0
        self._beat_lost = False

    def path(self, *parts: str) -> str:
        """A path in the folder that this worker writes to; an absolute part stays as it is."""
        return os.path.join(self.folder, *parts)

    def shared(self, *parts: str) -> str:
        """A path in the run folder, which all workers read; an absolute part stays as it is."""
        return os.path.join(self.run_folder, *parts)

    @property
    def home(self) -> RunDir:
        """The run's own folder, also for the folder of one of its folds."""
        return self

    @property
    def tensorboard(self) -> str:
        """The folder of TensorBoard's logs."""
        return self.path(names.TENSORBOARD)

    @property
    def checkpoints(self) -> str:
        """The folder of the checkpoints, which worker 0 alone writes."""
        return self.shared(names.CHECKPOINTS)

    @property
    def noise_log(self) -> str:
        """The file for TensorFlow's own messages of this attempt."""
        return self.path(names.LOGS, names.noise_log(self.attempt))

    def stop_requested(self) -> bool:
        """Whether somebody asks this run to save its state and end."""
        return os.path.exists(self.stop_file)

    def finished(self) -> bool:
        """Whether result.json says that nothing is left to do."""
        return bool(self.read_result().get("state") == "done")

    def read_result(self) -> Dict[str, Any]:
        """The content of result.json; empty if it is missing or cannot be read."""
        try:
            with open(self.shared(names.RESULT), encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def heartbeat(self, **news: Any) -> None:
        """Say that the run is alive; the news are merged into the last heartbeat.

        A new ``phase`` or ``kind`` (of an export) is written at once, anything else at most once in
        `HEARTBEAT_S` seconds. If it cannot be written, the log says so once, and the run goes on.
        """
        new_phase = not self._beat_at
        for key in ("phase", "kind"):
            if key in news and news[key] != self._beat.get(key):
                new_phase = True
        self._beat.update(news)
        now = time.time()
        if new_phase or now - self._beat_at >= HEARTBEAT_S:
            self._beat_at = now
            try:
                write_json(self.path(names.HEARTBEAT), dict(self._beat, time=now))
            except OSError as error:
                if not self._beat_lost:
                    say(
                        "heartbeat.json cannot be written: {}; the run goes on without".format(
                            error
                        )
                    )
                self._beat_lost = True

    def append_metrics(self, line: Dict[str, Any]) -> None:
        """Add one finished epoch to metrics.jsonl and wait until it is on disk.

        Raises:
            Unsaved: it could not be written, although it was tried for minutes.
        """
        path = self.path(names.METRICS)
        text = (json.dumps(_finite(line), allow_nan=False) + "\n").encode("utf-8")
        size = os.path.getsize(path) if os.path.exists(path) else 0

        def append() -> None:
            with open(path, "ab", buffering=0) as file:
                file.truncate(size)  # an earlier try's part of the line, should it have stayed
                try:
                    written = file.write(text)
                    os.fsync(file.fileno())
                    if written < len(text):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    file.truncate(size)
                    raise

        keep_trying(names.METRICS, append)
        if self.on_epoch is not None:
            self.on_epoch(line)

    def read_metrics(self) -> List[Dict[str, Any]]:
        """The epochs in metrics.jsonl, oldest first; a line cut short by a crash is left out."""
        epochs = []
        try:
            with open(self.path(names.METRICS), encoding="utf-8", errors="replace") as file:
                for text in file:
                    try:
                        epochs.append(json.loads(text))
                    except ValueError:
                        continue
        except FileNotFoundError:
            pass
        return epochs

    def keep_metrics(self, epochs: int) -> None:
        """Drop the lines after the first `epochs` epochs: those will be trained again."""
        lines = []
        for line in self.read_metrics():
            if line["epoch"] <= epochs:
                lines.append(json.dumps(line) + "\n")
        content = "".join(lines).encode("utf-8")
        keep_trying(names.METRICS, lambda: replace(self.path(names.METRICS), content))

    def write_result(self, result: Dict[str, Any]) -> None:
        """Write result.json: from here on the run is done."""
        keep_trying(names.RESULT, lambda: write_json(self.path(names.RESULT), result))

    def write_failure(self, exit_status: int, kind: str, message: str, hint: str) -> None:
        """Write failure.json, which tells the host why this attempt failed."""
        failure = {"exit_status": exit_status, "kind": kind, "message": message, "hint": hint}
        write_json(self.path(names.FAILURE), failure)

    def tidy(self) -> None:
        """Remove the failure of an earlier attempt, and the half-written files of a killed one."""
        for pattern in ASIDE:
            for path in glob.glob(os.path.join(glob.escape(self.folder), pattern)):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path(names.FAILURE))
