"""Imports TensorFlow once, then forks from it for each line of JSON on stdin: tests need not wait for imports.

Its argument says what to import: ``trainer`` for all that a trainer does, ``tensorflow`` for that alone.
A line is a list of processes that run at the same time. Each has ``argv``, ``stdout`` and ``stderr``
(files), ``path`` (folders to import from), ``environment``, and ``program`` (a file) unless it is
a trainer. The answer is the list of their exit statuses, -N by signal N.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import traceback
from typing import Any


def import_all(what: str) -> None:
    """Import it in the server; no device is started."""
    if what == "trainer":
        import hpcdl.trainer.__main__  # noqa: F401 - for the trainers
        from hpcdl.trainer.serve import _import_all

        _import_all()
    else:
        import tensorflow

        assert tensorflow.keras.layers  # TensorFlow imports Keras when it is first used


def become(request: dict[str, Any]) -> None:
    """In a forked process: run a trainer or a program, and end."""
    atexit._clear()  # what the imports have left to do at the server's end is not the fork's
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.environ.update(request["environment"])
    sys.path[:0] = request["path"]
    status = 70
    try:
        status = run_program(request) if "program" in request else run_trainer(request)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(status)


def run_trainer(request: dict[str, Any]) -> int:
    from hpcdl.trainer.__main__ import main
    from hpcdl.trainer.runtime.log import be_patient

    be_patient()
    return main(request["argv"])


def run_program(request: dict[str, Any]) -> int:
    """As ``python FILE`` does."""
    sys.argv = [request["program"], *request["argv"]]
    runpy.run_path(request["program"], run_name="__main__")
    return 0


def status_of(pid: int) -> int:
    """Wait for a process to end; its exit status."""
    _, wait_status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(wait_status):
        return -os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)
    import_all(sys.argv[1])
    for line in sys.stdin:
        pids = []
        for request in json.loads(line):
            pid = os.fork()
            if pid == 0:
                become(request)
            pids.append(pid)
        statuses = [status_of(pid) for pid in pids]
        os.write(answers, (json.dumps(statuses) + "\n").encode())
