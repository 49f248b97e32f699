"""Evidence -> cause: why an attempt ended, and whether there is another. Pure; status and launch both use it."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcdl.contract import spec
from hpcdl.run.tracebacks import Raised, Traceback, last_traceback, own_lines

DONE = "done"
FAILED = "failed"
STOPPED = "stopped"  # saved and stopped on somebody's request
TIME_LIMIT = "time_limit"  # likewise, because the time limit was near
PREEMPTED = "preempted"  # likewise, because SLURM wanted the node
KILLED = "killed"  # by a signal: the run goes on from its last checkpoint
NODE_FAILURE = "node_failure"  # its node died
UNFIT = "unfit_node"  # its node lacked what the job needs, and nothing was started
REQUEUED = "requeued"  # sent back to the queue by somebody
CANCELLED = "cancelled"
TERMINATED = "terminated"  # by SLURM, which knows why
AGAIN = frozenset({STOPPED, TIME_LIMIT, PREEMPTED, KILLED, NODE_FAILURE, UNFIT, REQUEUED})
LEFT = frozenset({NODE_FAILURE, UNFIT})  # the node is not used again

_TRAINER = {
    spec.EXIT_USER_CODE: "user_code",
    spec.EXIT_SPEC: "spec",
    spec.EXIT_DATA: "data",
    spec.EXIT_DEVICES: "device",
    spec.EXIT_INTERNAL: "internal",
}
_SLURM = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
}
_REASONS = {
    "PREEMPTED": PREEMPTED,
    "NODE_FAIL": NODE_FAILURE,
    "BOOT_FAIL": NODE_FAILURE,
    "REQUEUED": REQUEUED,
    "TIMEOUT": TIME_LIMIT,
    "CANCELLED": CANCELLED,
}
# slurmstepd's last words in a job's output (SLURM's src/slurmd/slurmstepd/req.c)
_SLURMS_WORDS = {
    "DUE TO TIME LIMIT": "TIMEOUT",
    "DUE TO NODE FAILURE": "NODE_FAIL",
    "DUE TO PREEMPTION": "PREEMPTED",
    "DUE TO JOB REQUEUE": "REQUEUED",
}
# The batch script's line before it asks SLURM for a requeue itself. Any other requeue is somebody else's.
OWN_REQUEUE = "hpcdl: asking SLURM to run this job again"
# What a program says of a file when the process that serves its image's files was killed (from FUSE)
_GONE = "(Transport endpoint is not connected|Software caused connection abort)"
_IMAGE_GONE = re.compile(f"{_GONE}: '/|shared object file: {_GONE}")
_NO_CONTAINER = re.compile(r"^FATAL:   ", re.MULTILINE)  # in Apptainer's own form
# The words of exceptions, and of programs that are not Python's
_MEMORY_KIND = re.compile(r"(Memory|ResourceExhausted)Error$")
_MEMORY = re.compile(
    r"CUDA_ERROR_OUT_OF_MEMORY|ResourceExhaustedError|\bOOM when allocating|RESOURCE_EXHAUSTED"
    r"|std::bad_alloc|Cannot allocate memory|[Cc]an't allocate memory|CUDA out of memory"
    r"|Dst tensor is not initialized"
)
_MEMORY_LINE = re.compile(r"^(\w+\.)*(\w*MemoryError)\b")
_DEVICE = re.compile(
    r"CUDA_ERROR_(?!OUT_OF_MEMORY|DEINITIALIZED)\w+|cuInit|GPU is lost|uncorrectable ECC"
)
_BAD_ALLOC = re.compile(r"terminate called after throwing an instance of '(std::)?bad_alloc'")
_LAST_LINES = 5  # of a program that printed no traceback


# What to try next, for each cause; the command line puts the run in RUN's place
HINTS = {
    "data": "look at the data set: hpcdl data list",
    "device": (
        "hpcdl logs RUN --tensorflow shows what TensorFlow found; or hpcdl shell RUN, then: "
        'python -c "import tensorflow as tf; print(tf.config.list_physical_devices())"'
    ),
    "out_of_memory": "ask for more memory (resources.memory_gb or cpus), or a smaller train.batch_size",
    "time_limit": "hpcdl resume RUN goes on from the last checkpoint; or ask for more: --set resources.time=HH:MM:SS",
    "node_failure": "hpcdl resume RUN goes on from the last checkpoint, on another node",
    "user_code": "hpcdl logs RUN shows where; hpcdl shell RUN opens the same container",
    "internal": "hpcdl logs RUN shows more; hpcdl resume RUN goes on from the last checkpoint",
    "spec": "hpcdl logs RUN shows more",
    "lost": "hpcdl resume RUN goes on from the last checkpoint",
    UNFIT: (
        "when that is put right, hpcdl resume RUN goes on; a node that other jobs fail on too is the site's to mend"
    ),
}
_SHELL = re.compile("; (?:or )?hpcdl shell RUN")
# hpcdl saves nothing for a script: what it goes on from, it has saved itself.
_RUNS_AGAIN = "hpcdl resume RUN runs the script again, from its start unless it saved its state"
_SCRIPT_HINTS = {
    "data": "hpcdl logs RUN shows where; what is staged: hpcdl data list",
    "out_of_memory": (
        "ask for more memory (resources.memory_gb or cpus), "
        "or let the script take less at a time (a smaller batch size)"
    ),
    "time_limit": (
        "ask for more time: --set resources.time=HH:MM:SS; or let the script save and stop in "
        "time, with SaveAndStop or when the file that HPCDL_STOP_FILE names appears "
        "(docs/my-script.md): then hpcdl resume RUN goes on where it was"
    ),
    "node_failure": f"{_RUNS_AGAIN}, on another node",
    "internal": f"hpcdl logs RUN shows more; {_RUNS_AGAIN}",
    "lost": _RUNS_AGAIN,
}


def hint(cause: str | None, script: bool, container: bool = True) -> str | None:
    """What to try after a failure; None if nothing helps.

    Args:
        cause: of the failure, or ``lost``.
        script: whether the run is a script's.
        container: whether it ran in one, which ``hpcdl shell`` can open.
    """
    if cause is None:
        return None
    text = HINTS.get(cause)
    if script and cause in _SCRIPT_HINTS:
        text = _SCRIPT_HINTS[cause]
    if text is not None and not container:
        text = _SHELL.split(text)[0]
    return text


@dataclass(frozen=True)
class Ending:
    """What the node saw of a program's end.

    Args:
        status: the exit status; -N or 128 + N where signal N ended it.
        script: whether it was the user's own script, whose other statuses are its own business.
        in_slurm: whether SLURM may have ended it: it sends SIGTERM to every process of a job that is
            cancelled, preempted or out of time, and only it knows which.
        log: the end of what the program printed.
        gpus: how many the job asks for; without one, words about devices say nothing.
        failure: the trainer's failure.json.
        oom_kills: how many processes the kernel killed for memory meanwhile; None where it does not say.
        peak_memory_gb: the most memory that one process had.
        overtime: whether launch killed it because its time was over.
        asked_to_stop: whether the stop file was there.
        near_the_end: whether a request to stop may have been the time limit's.
    """

    status: int
    script: bool = False
    in_slurm: bool = True
    log: str = ""
    gpus: int = 1
    failure: dict[str, Any] = field(default_factory=dict)
    oom_kills: int | None = None
    peak_memory_gb: float = 0.0
    overtime: bool = False
    asked_to_stop: bool = False
    near_the_end: bool = False


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, in one of the words above, and for a failure its cause."""

    state: str
    cause: str | None = None
    message: str | None = None


def of_ending(end: Ending) -> Outcome:
    """What the end of a program means."""
    if end.status == spec.EXIT_DONE:
        return Outcome(DONE)
    if end.status == spec.EXIT_STOPPED:
        if not end.asked_to_stop:
            return Outcome(STOPPED)
        return Outcome(TIME_LIMIT if end.near_the_end else PREEMPTED if end.in_slurm else STOPPED)
    if end.overtime:
        return Outcome(FAILED, "time_limit", "it went on beyond its time limit, and was killed")
    number = -end.status if end.status < 0 else end.status - 128
    if number == signal.SIGTERM and end.in_slurm:
        return Outcome(TERMINATED)
    if 0 < number < 65:
        return _of_signal(number, end)
    if _IMAGE_GONE.search(_decisive(end)):
        gone = "files that it read went away, its image's most likely (squashfuse was killed)"
        return Outcome(FAILED if end.script else KILLED, "internal", gone)
    if end.status == 255 and _NO_CONTAINER.search(_last_lines(end.log)):
        return Outcome(FAILED, "spec", "the container did not start")
    if end.oom_kills and (end.script or end.status == spec.EXIT_INTERNAL):
        message = f"the program ended with exit status {end.status}; the kernel killed one of its processes for memory"
        return Outcome(FAILED, "out_of_memory", message)
    cause = _of_words(end) or ("user_code" if end.script else _TRAINER.get(end.status, "internal"))
    return Outcome(FAILED, cause, f"the program ended with exit status {end.status}")


def _of_signal(number: int, end: Ending) -> Outcome:
    """A program that a signal ended: a training goes on from its checkpoint, a script's state is its own business."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    cause, message = ("user_code" if end.script else "internal"), f"ended by {name}"
    if number == signal.SIGKILL:
        most = f"its largest process had {end.peak_memory_gb:g} GB" if end.peak_memory_gb else ""
        if end.oom_kills:
            cause = "out_of_memory"
            message = "; ".join(
                filter(
                    None, ("the kernel killed it: it asked for more memory than the job has", most)
                )
            )
        elif end.oom_kills is None:
            cause = "out_of_memory"
            message = "; ".join(filter(None, ("killed (SIGKILL), most often for its memory", most)))
        else:
            cause, message = "internal", "killed (SIGKILL) by somebody, not for its memory"
    elif number == signal.SIGABRT and _BAD_ALLOC.search(end.log):
        cause = "out_of_memory"
        message += ": a C++ library got no more memory (std::bad_alloc)"
    elif number == signal.SIGBUS:
        cause = "internal"
        message += ": a file that it had open cannot be read any more, its image most likely (squashfuse was killed)"
    return Outcome(FAILED if end.script else KILLED, cause, message)


def _of_words(end: Ending) -> str | None:
    """The cause that the trainer, or else the end of the output, names in words; else None.

    The exception that ended the program decides. What was printed before it, and what the program went
    on after, says nothing: TensorFlow looks for a GPU in every program, and says so if there is none.
    """
    if end.failure.get("kind") == "out_of_memory":
        return "out_of_memory"
    if not end.script and end.status != spec.EXIT_INTERNAL:
        return None  # the trainer's other statuses say it better
    traceback = _ending_traceback(end)
    if traceback is None:
        return _of_text(_last_lines(end.log), end.gpus)
    if all(map(_is_memory, traceback.raised)) or any(map(_is_memory, traceback.causes)):
        return "out_of_memory"
    if traceback.last.is_plain() or end.gpus == 0:
        return None
    return "device" if _DEVICE.search(traceback.behind) else None


def _ending_traceback(end: Ending) -> Traceback | None:
    """The traceback that ended the program; the trainer says more after its own."""
    traceback = last_traceback(end.log)
    if traceback is not None and end.script and traceback.was_handled:
        return None
    return traceback


def _decisive(end: Ending) -> str:
    """The part of the output that shows why the program ended."""
    traceback = _ending_traceback(end)
    return _last_lines(end.log) if traceback is None else traceback.behind


def _last_lines(log: str) -> str:
    return "\n".join(own_lines(log)[-_LAST_LINES:])


def _of_text(text: str, gpus: int) -> str | None:
    """The cause that the last lines of a program name that left no traceback."""
    last = text.rpartition("\n")[2]
    if _MEMORY.search(last) or _MEMORY_LINE.search(last):
        return "out_of_memory"
    return "device" if gpus and _DEVICE.search(last) else None


def _is_memory(raised: Raised) -> bool:
    if _MEMORY_KIND.search(raised.kind):
        return True
    return not raised.is_plain() and _MEMORY.search(raised.message) is not None


def next_step(
    outcome: Outcome,
    ends: Sequence[dict[str, Any]],
    max_requeues: int,
    jobs_left: int | None = None,
) -> Outcome:
    """What an attempt's outcome means for the run, after all that went before.

    Args:
        outcome: of the last attempt.
        ends: the ends of all attempts so far, the last included.
        max_requeues: how many may end at the time limit; preemptions and kills do not count.
        jobs_left: where jobs are not requeued, how many of the chain are still to come.

    Returns:
        The outcome itself, or a failure where there is to be no other attempt.
    """
    if outcome.state not in AGAIN:
        return outcome
    stuck = hopeless(ends)
    if stuck is not None:
        return Outcome(
            FAILED,
            outcome.cause or stuck.cause,
            "; ".join(filter(None, (outcome.message, stuck.message))),
        )
    stops = sum(end["reason"] in (STOPPED, TIME_LIMIT) for end in ends)
    why = (
        outcome.message
        or f"it was stopped ({outcome.state.replace('_', ' ')}) with its state saved"
    )
    cause = "time_limit" if outcome.state in (STOPPED, TIME_LIMIT) else outcome.cause or "internal"
    if jobs_left == 0:
        return Outcome(
            FAILED, cause, f"{why}; it was the last job of the chain, hpcdl resume goes on with it"
        )
    if max_requeues == 0 and jobs_left is None:
        return Outcome(
            FAILED, cause, f"{why}; jobs are not requeued here, hpcdl resume goes on with it"
        )
    if outcome.state in (STOPPED, TIME_LIMIT) and stops > max_requeues:
        return Outcome(
            FAILED, "time_limit", f"stopped {stops} times, and max_requeues is {max_requeues}"
        )
    return outcome


def hopeless(ends: Sequence[dict[str, Any]]) -> Outcome | None:
    """A failure where two attempts in a row brought not one new step, or not even a start: no more would a third.

    The features of more images, which a frozen backbone's run has to compute before its first step, are as good.
    """
    last = [end for end in ends if end["reason"] in AGAIN][-2:]
    if len(last) < 2 or last != list(ends)[-2:]:
        return None
    if all(end["reason"] == UNFIT for end in last):
        nodes = ", ".join(str(end.get("node")) for end in last)
        return Outcome(
            FAILED, "node_failure", f"two attempts in a row found their node not fit ({nodes})"
        )
    if any(end.get("steps") is None or _went_on(end, "steps", "from_step") for end in last):
        return None
    if any(_went_on(end, "images", "from_images") for end in last):
        return None
    cause = "time_limit" if last[-1]["reason"] in (STOPPED, TIME_LIMIT) else "internal"
    return Outcome(
        FAILED, cause, f"two attempts in a row made no new step (step {last[-1]['steps']})"
    )


def _went_on(end: dict[str, Any], after: str, before: str) -> bool:
    return (end.get(after) or 0) > (end.get(before) or 0)


def of_slurm_state(state: str) -> Outcome | None:
    """What SLURM's word for an ended job means for a run whose own files say nothing; None while it has not ended."""
    if state in _SLURM:
        return Outcome(
            "cancelled" if _SLURM[state] == "cancelled" else FAILED,
            _SLURM[state],
            f"SLURM says {state}",
        )
    if state == "FAILED":
        return Outcome(FAILED, "internal", "the batch script failed before the program started")
    if state == "COMPLETED":
        return Outcome("lost", None, "SLURM says COMPLETED, but the run left no result")
    return None


def reason_of_slurm_state(state: str) -> str | None:
    """Why an attempt was cut that left no end of its own, after SLURM's word for it; None where that tells nothing."""
    return _REASONS.get(state)


def slurm_state_of_words(text: str) -> str | None:
    """SLURM's word for a job's end, as slurmstepd wrote it into the job's output; None where it wrote none."""
    for words, state in _SLURMS_WORDS.items():
        if words in text:
            return state
    return "CANCELLED" if re.search(r"\*\*\* (JOB|STEP) \S+ .*CANCELLED AT ", text) else None
