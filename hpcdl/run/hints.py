"""What to try next after a failure, for each cause."""

from __future__ import annotations

import re

from hpcdl.run import states

# By cause; the command line puts the run in RUN's place
HINTS = {
    "data": "look at the data set: hpcdl data list",
    "device": (
        "hpcdl logs RUN --tensorflow shows what TensorFlow found; or hpcdl shell RUN, then: "
        'python -c "import tensorflow as tf; print(tf.config.list_physical_devices())"'
    ),
    "out_of_memory": (
        "ask for more memory (hpcdl retry RUN: half as much again; or resources.memory_gb, cpus), "
        "or a smaller train.batch_size"
    ),
    states.TIME_LIMIT: (
        "hpcdl resume RUN goes on from the last checkpoint; "
        "or ask for more: --set resources.time=HH:MM:SS"
    ),
    states.NODE_FAILURE: "hpcdl resume RUN goes on from the last checkpoint, on another node",
    states.STALL: (
        "the stacks in the log show what it waits for (hpcdl logs RUN): a file system, GPUs that "
        "do not reach each other, your own function; hpcdl resume RUN goes on. If it was only "
        'slow: HPCDL_STALL_S: "1800" under env, in seconds'
    ),
    states.DEPENDENCY: "hpcdl retry of the run that it comes after sends this one, too",
    "user_code": "hpcdl logs RUN shows where; hpcdl shell RUN opens the same container",
    "internal": "hpcdl logs RUN shows more; hpcdl resume RUN goes on from the last checkpoint",
    "spec": "hpcdl logs RUN shows more",
    states.LOST: "hpcdl resume RUN goes on from the last checkpoint",
    states.UNFIT: (
        "when that is put right, hpcdl resume RUN goes on; "
        "a node that other jobs fail on too is the site's to mend"
    ),
}
_COMMAND_AGAIN = "hpcdl resume RUN runs the command again"
# Of a job that is a command of hpcdl's
COMMAND_HINTS = {
    "spec": "put right what the message names, and submit the job again",
    "internal": f"hpcdl logs RUN shows more; {_COMMAND_AGAIN}",
    "out_of_memory": "ask for more memory: hpcdl retry RUN, or --set resources.memory_gb=N",
    states.TIME_LIMIT: f"ask for more: --set resources.time=HH:MM:SS; or {_COMMAND_AGAIN}",
    states.NODE_FAILURE: f"{_COMMAND_AGAIN}, on another node",
}
# Of a prediction
PREDICTION_HINTS = {
    "data": "hpcdl logs RUN shows which files; unusable.csv in the run's folder has all reasons",
    "out_of_memory": "ask for more memory: hpcdl retry RUN, or --set resources.memory_gb=N",
    "internal": "hpcdl logs RUN shows more; hpcdl resume RUN goes on with the next images",
    states.TIME_LIMIT: "hpcdl resume RUN goes on with the next images",
    states.NODE_FAILURE: "hpcdl resume RUN goes on with the next images, on another node",
}
_SHELL = re.compile("; (?:or )?hpcdl shell RUN")
# hpcdl saves nothing for a script: it can only go on from what it saved itself.
_RUNS_AGAIN = "hpcdl resume RUN runs the script again, from its start unless it saved its state"
_SCRIPT_HINTS = {
    "data": "hpcdl logs RUN shows where; what is staged: hpcdl data list",
    "out_of_memory": (
        "ask for more memory (hpcdl retry RUN: half as much again; or resources.memory_gb, cpus), "
        "or let the script take less at a time (a smaller batch size)"
    ),
    states.TIME_LIMIT: (
        "ask for more time: --set resources.time=HH:MM:SS; or let the script save and stop in "
        "time, with SaveAndStop or when the file that HPCDL_STOP_FILE names appears "
        "(docs/my-script.md): then hpcdl resume RUN goes on where it was"
    ),
    states.NODE_FAILURE: f"{_RUNS_AGAIN}, on another node",
    "internal": f"hpcdl logs RUN shows more; {_RUNS_AGAIN}",
    states.LOST: _RUNS_AGAIN,
}


def hint(cause: str | None, script: bool, container: bool = True) -> str | None:
    """What to try after a failure; None if nothing helps.

    Args:
        cause: of the failure, or ``lost``.
        script: whether the run is a script's.
        container: whether the run had a container, which ``hpcdl shell`` can open.
    """
    if cause is None:
        return None
    text = HINTS.get(cause)
    if script and cause in _SCRIPT_HINTS:
        text = _SCRIPT_HINTS[cause]
    if text is not None and not container:
        text = _SHELL.split(text)[0]
    return text
