"""Imports TensorFlow once, then forks a trainer for each line of JSON on stdin: tests need not wait for imports.

A line has ``run_json``, ``stdout`` and ``stderr`` (files), ``path`` (folders to import from) and ``environment``.
The answer is a line with the trainer's exit status, -N by signal N.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import traceback
from typing import Any

from hpcdl.trainer.__main__ import main
from hpcdl.trainer.runtime.log import be_patient
from hpcdl.trainer.serve import _fork, _import_all


def become_trainer(request: dict[str, Any]) -> None:
    """In a forked process: run a trainer, and end."""
    atexit._clear()  # what the imports have left to do at the server's end is not the trainer's
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    be_patient()
    os.environ.update(request["environment"])
    sys.path[:0] = request["path"]
    status = 70
    try:
        status = main([request["run_json"]])
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(status)


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)
    _import_all()
    for line in sys.stdin:
        pid = _fork()
        if pid == 0:
            become_trainer(json.loads(line))
        _, wait_status = os.waitpid(pid, 0)
        status = os.WEXITSTATUS(wait_status)
        if os.WIFSIGNALED(wait_status):
            status = -os.WTERMSIG(wait_status)
        os.write(answers, f"{status}\n".encode())
