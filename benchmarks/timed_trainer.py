"""Runs the trainer, and notes how long its words and its steps took: what first_says.py shows. Python 3.8 syntax.

    python timed_trainer.py RESULT RUN.json

RESULT gets a JSON list of [what, elapsed, processor, step]: `says` for a word of worker 0, `call` for
a call of steps, from that step on; both times in seconds.
"""

from __future__ import annotations

import atexit
import json
import runpy
import sys
import time
from typing import Any

from hpcdl.trainer.fit.steps import Stepper
from hpcdl.trainer.runtime.together import Together

EVENTS: list[tuple[str, float, float, int]] = []


def timed(owner: Any, name: str, what: str) -> None:
    """Let a method of a class write down how long each of its calls took."""
    method = getattr(owner, name)

    def noting(self: Any, *arguments: Any) -> Any:
        began, processor_s = time.perf_counter(), time.process_time()
        value = method(self, *arguments)
        step = arguments[0] if what == "call" else -1
        took_s = time.perf_counter() - began
        EVENTS.append((what, took_s, time.process_time() - processor_s, step))
        return value

    setattr(owner, name, noting)


def write(path: str) -> None:
    """Write what was noted."""
    with open(path, "w") as file:
        json.dump(EVENTS, file)


if __name__ == "__main__":
    result = sys.argv.pop(1)
    timed(Together, "first_says", "says")
    timed(Stepper, "__call__", "call")
    atexit.register(write, result)
    runpy.run_module("hpcdl.trainer", run_name="__main__", alter_sys=True)
