"""Evidence -> cause: why an attempt ended. Pure; status and launch both use it."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from hpcdl.contract import exit_status
from hpcdl.contract.errors import PeerLost
from hpcdl.run import states
from hpcdl.run.tracebacks import Raised, Traceback, last_traceback, own_lines

# The cause for each of the trainer's exit statuses
_TRAINER = {
    exit_status.EXIT_USER_CODE: "user_code",
    exit_status.EXIT_SPEC: "spec",
    exit_status.EXIT_DATA: "data",
    exit_status.EXIT_DEVICES: "device",
    exit_status.EXIT_INTERNAL: "internal",
}
_REFUSED = 2  # how a command of hpcdl's ends if something that the user gave is wrong
# The cause for each of SLURM's states of a job that has ended
_SLURM = {
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
}
# Why an attempt was cut, for each of SLURM's states
_REASONS = {
    "PREEMPTED": states.PREEMPTED,
    "NODE_FAIL": states.NODE_FAILURE,
    "BOOT_FAIL": states.NODE_FAILURE,
    "REQUEUED": states.REQUEUED,
    "TIMEOUT": states.TIME_LIMIT,
    "CANCELLED": states.CANCELLED,
}
# slurmstepd's last words in a job's output (SLURM's src/slurmd/slurmstepd/req.c)
_SLURMS_WORDS = {
    "DUE TO TIME LIMIT": "TIMEOUT",
    "DUE TO NODE FAILURE": "NODE_FAIL",
    "DUE TO PREEMPTION": "PREEMPTED",
    "DUE TO JOB REQUEUE": "REQUEUED",
}
# Not of a numbered step, which srun started: the job goes on without it
_CANCELLED_LINE = re.compile(r"\*\*\* (JOB|STEP) (?!\S+\.[0-9]+ )\S+ .*CANCELLED AT ")
# FUSE's errors when the process that serves the image's files was killed
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


@dataclass(frozen=True)
class Ending:
    """What the node saw of a program's end.

    Args:
        status: the exit status; -N or 128 + N if signal N ended it.
        script: whether it was the user's own script, whose exit statuses mean what it likes.
        in_slurm: whether SLURM may have ended it: SLURM sends SIGTERM to every process of a job
            that is cancelled, preempted or out of time, and only SLURM knows which of these.
        log: the end of what the program printed.
        gpus: how many the job asks for; without GPUs, words about devices mean nothing.
        failure_kind: the cause that the trainer gave in failure.json.
        oom_kills: how many processes the kernel killed for memory meanwhile; None if unknown.
        peak_memory_gb: the most memory that one process had.
        overtime: whether launch killed it because its time was over.
        asked_to_stop: whether the stop file was there.
        near_the_end: whether the time limit may have been why it was asked to stop.
        stop_reason: why a sweep asked it to stop: ``pruned`` or ``no_metric``; else None.
        command: whether it was a command of hpcdl's, for which ``script`` is true as well.
        stalled: where it stood still when the watchdog ended it; empty if it was not.
    """

    status: int
    script: bool = False
    in_slurm: bool = True
    log: str = ""
    gpus: int = 1
    failure_kind: str | None = None
    oom_kills: int | None = None
    peak_memory_gb: float = 0.0
    overtime: bool = False
    asked_to_stop: bool = False
    near_the_end: bool = False
    stop_reason: str | None = None
    command: bool = False
    stalled: str = ""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: one of the words of `states`, and for a failure its cause."""

    state: str
    cause: str | None = None
    message: str | None = None


def of_ending(end: Ending) -> Outcome:
    """What the end of a program means."""
    if end.status == exit_status.EXIT_DONE:
        return Outcome(states.DONE)
    if end.stop_reason is not None and _has_stopped(end):
        return _of_stopped_trial(end.stop_reason)
    if end.status == exit_status.EXIT_STOPPED:
        return Outcome(_why_stopped(end))
    if end.stalled or end.overtime:
        return _of_launch(end)
    number = -end.status if end.status < 0 else end.status - 128
    if number == signal.SIGTERM and end.in_slurm:
        return Outcome(states.TERMINATED)
    if 0 < number < 65:
        return _of_signal(number, end)
    cut = _what_cut(end)
    if cut is not None:
        return Outcome(_state_of_cut(end), "internal", cut)
    if end.status == 255 and _NO_CONTAINER.search(_last_lines(end.log)):
        return Outcome(states.FAILED, "spec", "the container did not start")
    if end.oom_kills and (end.script or end.status == exit_status.EXIT_INTERNAL):
        killed = "the kernel killed one of its processes for memory"
        message = f"the program ended with exit status {end.status}; {killed}"
        return Outcome(states.FAILED, "out_of_memory", message)
    cause = _of_words(end) or _usual_cause(end)
    return Outcome(states.FAILED, cause, f"the program ended with exit status {end.status}")


def _of_launch(end: Ending) -> Outcome:
    """What it means that launch ended the program."""
    if end.stalled:
        message = f"the training stood still, and was ended: {end.stalled}"
        return Outcome(states.STALLED, states.STALL, message)
    message = "it went on beyond its time limit, and was killed"
    return Outcome(states.FAILED, "time_limit", message)


def _usual_cause(end: Ending) -> str:
    """The cause that the exit status alone tells."""
    if end.command:
        return "spec" if end.status == _REFUSED else "internal"
    if end.script:
        return "user_code"
    return _TRAINER.get(end.status, "internal")


def _has_stopped(end: Ending) -> bool:
    """Whether a trial has ended because the sweep asked it to: a script may end as it likes."""
    return end.script or end.status == exit_status.EXIT_STOPPED


def _of_stopped_trial(reason: str) -> Outcome:
    if reason == states.PRUNED:
        return Outcome(states.PRUNED)
    message = "the sweep's metric is missing from its first epoch"
    return Outcome(states.FAILED, "spec", message)


def _why_stopped(end: Ending) -> str:
    """Why a program saved and stopped."""
    if not end.asked_to_stop:
        return states.STOPPED
    if end.near_the_end:
        return states.TIME_LIMIT
    return states.PREEMPTED if end.in_slurm else states.STOPPED


def _what_cut(end: Ending) -> str | None:
    """What went away under a program; None if nothing did."""
    if end.failure_kind == PeerLost.kind:
        return "the workers on its nodes lost each other"
    if _IMAGE_GONE.search(_decisive(end)):
        return "files that it read went away, its image's most likely (squashfuse was killed)"
    return None


def _state_of_cut(end: Ending) -> str:
    """A training that was cut goes on from its checkpoint; a script's state hpcdl cannot know."""
    return states.FAILED if end.script else states.KILLED


def _of_signal(number: int, end: Ending) -> Outcome:
    """What it means that a signal ended the program."""
    if number == signal.SIGKILL:
        cause, message = _of_sigkill(end)
        return Outcome(_state_of_cut(end), cause, message)
    name = f"signal {number}"
    if number in set(signal.Signals):
        name = signal.Signals(number).name
    message = f"ended by {name}"
    cause = "user_code" if end.script else "internal"
    if number == signal.SIGABRT and _BAD_ALLOC.search(end.log):
        cause = "out_of_memory"
        message += ": a C++ library got no more memory (std::bad_alloc)"
    elif number == signal.SIGBUS:
        cause = "internal"
        message += (
            ": a file that it had open cannot be read any more, "
            "its image most likely (squashfuse was killed)"
        )
    return Outcome(_state_of_cut(end), cause, message)


def _of_sigkill(end: Ending) -> tuple[str, str]:
    """The cause and the message of a program that SIGKILL ended."""
    if end.oom_kills == 0:
        return "internal", "killed (SIGKILL) by somebody, not for its memory"
    message = "the kernel killed it: it asked for more memory than the job has"
    if end.oom_kills is None:
        message = "killed (SIGKILL), most often for its memory"
    if end.peak_memory_gb:
        message += f"; its largest process had {end.peak_memory_gb:g} GB"
    return "out_of_memory", message


def _of_words(end: Ending) -> str | None:
    """The cause that the trainer, or else the end of the output, names in words; else None.

    The exception that ended the program decides. Text before it means nothing, and neither does an
    exception that the program survived: TensorFlow looks for a GPU in every program, and complains
    if there is none.
    """
    if end.failure_kind == "out_of_memory":
        return "out_of_memory"
    if not end.script and end.status != exit_status.EXIT_INTERNAL:
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
    """The traceback that ended the program; the trainer prints more text after its traceback."""
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
    """The cause that the last line names, of a program without a traceback."""
    last = text.rpartition("\n")[2]
    if _MEMORY.search(last) or _MEMORY_LINE.search(last):
        return "out_of_memory"
    return "device" if gpus and _DEVICE.search(last) else None


def _is_memory(raised: Raised) -> bool:
    if _MEMORY_KIND.search(raised.kind):
        return True
    return not raised.is_plain() and _MEMORY.search(raised.message) is not None


def of_slurm_state(state: str) -> Outcome | None:
    """What SLURM's state of a job means for a run whose own files cannot tell how it ended.

    Args:
        state: SLURM's word, such as TIMEOUT.

    Returns:
        How the run ended; None if the job has not ended.
    """
    if state == "CANCELLED":
        return Outcome(states.CANCELLED, "cancelled", "SLURM says CANCELLED")
    if state in _SLURM:
        return Outcome(states.FAILED, _SLURM[state], f"SLURM says {state}")
    if state == "FAILED":
        message = "the batch script failed before the program started"
        return Outcome(states.FAILED, "internal", message)
    if state == "COMPLETED":
        return Outcome(states.LOST, None, "SLURM says COMPLETED, but the run left no result")
    return None


def reason_of_slurm_state(state: str) -> str | None:
    """Why an attempt was cut that wrote no end itself; None if SLURM's state cannot tell."""
    return _REASONS.get(state)


def slurm_state_of_words(text: str) -> str | None:
    """SLURM's state of a job that has ended, as slurmstepd wrote it into the job's output.

    Args:
        text: the end of the output.

    Returns:
        The state; None if slurmstepd wrote nothing.
    """
    for words, state in _SLURMS_WORDS.items():
        if words in text:
            return state
    return "CANCELLED" if _CANCELLED_LINE.search(text) else None
