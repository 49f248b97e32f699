"""Host side of the trainer's server: starts it when first needed, and trainers through it.

The trainer's ``hpcdl.trainer.serve`` says what goes over the pipes.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from hpcdl.launch.processes import die_with_parent, kill_tree
from hpcdl.launch.retry import say

MAY_FAIL = 2  # failures of the server after which it is not used any more
_READY_S = 600.0  # an import from a slow file system takes minutes
_START_S = 60.0  # for a fork
_END_S = 10.0  # for the server to kill its trainers


class NotServedError(Exception):
    """The server cannot start this trainer; it is to be started without it."""


class ServedTrainer:
    """A trainer that the server has forked, used like a `subprocess.Popen`.

    Args:
        run_json: its run, for messages.

    ``peak_memory_gb`` is the most memory it had, in GiB; None before its end, or if unknown.
    """

    def __init__(self, run_json: str) -> None:
        self.pid = 0
        self.peak_memory_gb: float | None = None
        self._run_json = run_json
        self._status: int | None = None
        self._error: str | None = None
        self._started = threading.Event()
        self._ended = threading.Event()

    def poll(self) -> int | None:
        """Its exit status, -N if signal N ended it; None while it runs."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; gives its exit status.

        Args:
            timeout: seconds to wait at most.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if not self._ended.wait(timeout) or self._status is None:
            raise subprocess.TimeoutExpired(self._run_json, timeout or 0.0)
        return self._status

    def wait_for_start(self) -> None:
        """Wait until it has a pid.

        Raises:
            NotServedError: it could not be started.
        """
        if not self._started.wait(_START_S):
            raise NotServedError(f"the server has not answered for {_START_S:g} s")
        if self._error is not None:
            raise NotServedError(self._error)

    def take(self, answer: Mapping[str, Any]) -> None:
        """Take an answer of the server's about it."""
        if "error" in answer:
            self._error = f"the server cannot fork: {answer['error']}"
        if "pid" in answer:
            self.pid = answer["pid"]
        if "status" in answer:
            self._status = answer["status"]
            self.peak_memory_gb = round(answer["peak_memory_kb"] / 1024**2, 2)
            self._ended.set()
        self._started.set()

    def lose(self) -> None:
        """Its server is gone, and it with it."""
        if self._ended.is_set():
            return
        if self.pid:
            kill_tree(self.pid)  # the kernel has done it, or is about to
        else:
            self._error = "the server ended"
        self._status = -signal.SIGKILL
        self._ended.set()
        self._started.set()


class _Connection:
    """One server process, and what it has answered.

    Args:
        argv: its command.
        env: the variables of that command.
        workdir: the folder it starts in.
        log: the file that gets its own output.
    """

    def __init__(self, argv: list[str], env: dict[str, str], workdir: str, log: Path) -> None:
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                argv,
                env=env,
                cwd=workdir,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                preexec_fn=die_with_parent,
            )
        self.log = log
        self.import_s: float | None = None
        self.ready = threading.Event()
        self.gone = threading.Event()
        self._trainers: dict[int, ServedTrainer] = {}
        self._last_id = 0
        self._lock = threading.Lock()  # for what both threads use
        requests, answers = self.process.stdin, self.process.stdout
        if requests is None or answers is None:
            raise ValueError("expected pipes to the server, which were asked for")
        self._requests = requests
        self._reader = threading.Thread(
            target=self._read, args=(answers,), name="fork server", daemon=True
        )
        self._reader.start()

    def request(self, trainer: ServedTrainer, request: dict[str, Any]) -> None:
        """Send a request; its answers go to the trainer."""
        with self._lock:
            if self.gone.is_set():
                raise NotServedError("the server ended")
            self._last_id += 1
            self._trainers[self._last_id] = trainer
            line = json.dumps({**request, "id": self._last_id}) + "\n"
        try:
            self._requests.write(line.encode("ascii"))
            self._requests.flush()
        except OSError as error:
            raise NotServedError("the server ended") from error

    def close(self) -> None:
        """End the server, which ends its trainers."""
        with suppress(OSError):
            self._requests.close()
        if not self.gone.wait(_END_S):
            kill_tree(self.process.pid)
        self.process.wait()
        self._reader.join(_END_S)

    def why_gone(self) -> str:
        """How the server ended, with its last words."""
        status = self.process.wait()
        text = self.log.read_bytes().decode("utf-8", "replace").strip()
        last_line = text.rpartition("\n")[2]
        return f"exit status {status}: {last_line}" if last_line else f"exit status {status}"

    def _read(self, answers: IO[bytes]) -> None:
        """Hand out the answers until there are no more."""
        with answers:
            for line in answers:
                self._take(line)
        with self._lock:
            trainers = list(self._trainers.values())
            self.gone.set()
        self.ready.set()
        for trainer in trainers:
            trainer.lose()

    def _take(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except ValueError:
            return  # the container command may print before the server starts
        if not isinstance(answer, dict):
            return
        if "import_s" in answer:
            self.import_s = answer["import_s"]
            self.ready.set()
            return
        with self._lock:
            trainer = self._trainers.get(answer.get("id", 0))
            if "status" in answer:
                self._trainers.pop(answer.get("id", 0), None)
        if trainer is not None:
            trainer.take(answer)


class ForkServer:
    """A server of trainers for one task. It is started with the first trainer.

    If it ends by itself, its trainers are killed, and the next one gets a new server. After
    `MAY_FAIL` failures it is not used any more.

    Args:
        argv: the server's whole command, the container's included.
        env: the variables of that command.
        workdir: the folder that it starts in.
        log: the file that gets the server's own output; written anew with each server.
    """

    def __init__(self, argv: list[str], env: Mapping[str, str], workdir: str, log: Path) -> None:
        self.argv = argv
        self.env = dict(env)
        self.workdir = workdir
        self.log = log
        self._failures = 0
        self._connection: _Connection | None = None
        self._lock = threading.Lock()

    @property
    def is_usable(self) -> bool:
        """Whether it has not failed too often."""
        return self._failures < MAY_FAIL

    @property
    def import_s(self) -> float | None:
        """Seconds that the present server's import took; None before."""
        return self._connection.import_s if self._connection else None

    def start(
        self, run_json: str, log: Path, environment: Mapping[str, str | None], workdir: str
    ) -> ServedTrainer:
        """Fork a trainer. The first call waits for the server's import.

        Args:
            run_json: path of the run's run.json, as the server sees it.
            log: the file at whose end the trainer's output goes.
            environment: variables that are others than the server's; None for one to be removed.
            workdir: the trainer's working directory.

        Raises:
            NotServedError: the server does not start, or has failed too often.
        """
        trainer = ServedTrainer(run_json)
        request = {
            "run_json": run_json,
            "log": str(log),
            "environment": dict(environment),
            "working_directory": workdir,
        }
        with self._lock:
            connection = self._running()
            connection.request(trainer, request)
        trainer.wait_for_start()
        return trainer

    def close(self) -> None:
        """End the server and its trainers."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _running(self) -> _Connection:
        """The server that runs, or a new one."""
        if self._connection is not None and self._connection.gone.is_set():
            reason = self._connection.why_gone()
            self._connection.close()
            self._connection = None
            self._note_failure(reason)
        if not self.is_usable:
            raise NotServedError("the server has failed too often")
        if self._connection is not None:
            return self._connection
        started = time.monotonic()
        try:
            connection = _Connection(self.argv, self.env, self.workdir, self.log)
        except OSError as error:
            self._note_failure(f"{self.argv[0]}: {error.strerror}")
            raise NotServedError(str(error)) from error
        reason = ""
        if not connection.ready.wait(_READY_S):
            reason = f"TensorFlow's import has not ended after {_READY_S:g} s"
        elif connection.gone.is_set():
            reason = connection.why_gone()
        if reason:
            connection.close()
            self._note_failure(reason)
            raise NotServedError(f"the server failed: {reason}")
        say(f"fork server: TensorFlow imported once, {time.monotonic() - started:.1f} s")
        self._connection = connection
        return connection

    def _note_failure(self, reason: str) -> None:
        self._failures += 1
        then = "the next trainer gets a new one"
        if not self.is_usable:
            then = "from here on each trainer imports TensorFlow itself"
        say(f"the fork server failed ({reason}); {then}")
