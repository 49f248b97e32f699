"""``python -m hpcdl.trainer --serve``: imports TensorFlow once, then forks a trainer per request.

A request is a line of JSON on stdin: ``id`` (any number), ``run_json``, ``log`` (the file that gets
the trainer's stdout and stderr), ``working_directory`` and ``environment`` (values by name; null
removes a variable). Answers are lines of JSON on stdout:

- ``{"import_s": SECONDS}``, once: requests are read from here on;
- ``{"id", "pid"}``: the trainer has started, or ``{"id", "error"}``: it could not be forked;
- ``{"id", "status", "peak_memory_kb"}``: it has ended with this exit status, -N by signal N.

The server starts no device: a process that has done so must not fork. When stdin ends, so do the
server and all its trainers.

Variables that TensorFlow reads at its import must be the same in all requests. The caller sees to
that.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from typing import Any, Dict, List, NoReturn, Optional

from hpcdl.contract.spec import EXIT_INTERNAL
from hpcdl.trainer.runtime.log import be_patient

_BLOCK = 65536  # bytes; a pipe gives no more at once
_PR_SET_PDEATHSIG = 1  # prctl(2)


def serve() -> List[str]:
    """Serve requests until stdin ends.

    Returns:
        in each forked trainer, and only there: the arguments that a fresh one would have. Its
        environment, working directory and output are those that the request asks for.
    """
    return _Server().run()


class _Server:
    """The server's ends of the pipes, and the trainers that have not ended."""

    def __init__(self) -> None:
        self.requests = os.dup(0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self.answers = os.dup(1)
        os.dup2(2, 1)  # TensorFlow's C++ code prints, too: not among the answers
        self.child_ended, self.note_child_ended = os.pipe()
        os.set_blocking(self.note_child_ended, False)
        self.ids: Dict[int, Any] = {}  # of the requests, by their trainers' pids
        self.pid = os.getpid()
        self.folder = os.getcwd()

    def run(self) -> List[str]:
        """Serve; see `serve`."""
        started = time.perf_counter()
        _import_all()
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # so that the line below works
        signal.set_wakeup_fd(self.note_child_ended, warn_on_full_buffer=False)
        self.answer({"import_s": round(time.perf_counter() - started, 3)})
        poll = select.poll()
        poll.register(self.requests, select.POLLIN)
        poll.register(self.child_ended, select.POLLIN)
        unread = b""
        while True:
            ready = [handle for handle, _ in poll.poll()]
            if self.child_ended in ready:
                os.read(self.child_ended, _BLOCK)
                self.report_ended()
            if self.requests not in ready:
                continue
            data = os.read(self.requests, _BLOCK)
            if not data:
                self.end()
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                arguments = self.start(json.loads(line.decode("ascii")))
                if arguments is not None:
                    return arguments

    def answer(self, content: Dict[str, Any]) -> None:
        """Write an answer; end if nobody reads it any more."""
        try:
            os.write(self.answers, (json.dumps(content) + "\n").encode("ascii"))
        except OSError:
            self.end()

    def start(self, request: Dict[str, Any]) -> Optional[List[str]]:
        """Fork a trainer; returns its arguments in it, and None in the server."""
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = _fork()
        except OSError as error:
            self.answer({"id": request["id"], "error": str(error)})
            return None
        if pid == 0:
            return self.become_trainer(request)
        self.ids[pid] = request["id"]
        self.answer({"id": request["id"], "pid": pid})
        return None

    def become_trainer(self, request: Dict[str, Any]) -> List[str]:
        """In a forked process: drop what is the server's, and take what the request gives."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for handle in (self.requests, self.answers, self.child_ended, self.note_child_ended):
            os.close(handle)
        _die_with(self.pid)
        try:
            _send_output_to(request["log"])
            _set_environment(request["environment"])
            os.chdir(request["working_directory"])
        except OSError:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(EXIT_INTERNAL)
        if sys.path and sys.path[0] in ("", self.folder):
            sys.path[0] = request["working_directory"]  # `python -m` puts it there
        importlib.invalidate_caches()
        tempfile.tempdir = None  # TMPDIR may be another one
        import numpy as np

        np.random.seed()
        arguments = [request["run_json"]]
        sys.argv[1:] = arguments
        return arguments

    def report_ended(self) -> None:
        """Report the trainers that have ended."""
        while self.ids:
            pid, wait_status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            status = os.WEXITSTATUS(wait_status)
            if os.WIFSIGNALED(wait_status):
                status = -os.WTERMSIG(wait_status)
            # KiB on Linux: getrusage(2)
            answer = {"status": status, "peak_memory_kb": usage.ru_maxrss}
            self.answer(dict(answer, id=self.ids.pop(pid)))

    def end(self) -> NoReturn:
        """End, and all trainers before: another process may then go on with their runs."""
        for pid in self.ids:
            os.kill(pid, signal.SIGKILL)
        for pid in self.ids:
            os.waitpid(pid, 0)
        os._exit(0)


def _import_all() -> None:
    """Import what every trainer imports. It must start no device."""
    import numpy.random  # noqa: F401 - NumPy itself imports it only when it is used

    from hpcdl.trainer import training  # noqa: F401 - for the trainers
    from hpcdl.trainer.dataset import load  # noqa: F401


def _fork() -> int:
    with warnings.catch_warnings():
        # Python warns because of threads, which NumPy has. They stand still, and OpenBLAS starts
        # its own anew after a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _die_with(server: int) -> None:
    """End when the server does, however that happens. Source: prctl(2), PR_SET_PDEATHSIG."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it ended before the line above
        os._exit(EXIT_INTERNAL)


def _send_output_to(log: str) -> None:
    """Let stdout and stderr be a file, at whose end they write."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    be_patient()


def _set_environment(environment: Dict[str, Optional[str]]) -> None:
    """Set variables, and remove those whose value is None."""
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
