"""Host side of the trainer's server: starts it when first needed, and trainers through it.

The trainer's ``hpcdl.trainer.serve`` says what goes over the pipes.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from hpcdl.launch.processes import die_with_parent, kill_tree
from hpcdl.launch.retry import say
from hpcdl.launch.served_trainer import NotServedError, ServedTrainer

MAY_FAIL = 2  # failures of the server after which it is not used any more
_READY_S = 600.0  # an import from a slow file system takes minutes
_END_S = 10.0  # for the server to kill its trainers


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
