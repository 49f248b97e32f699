"""Verdicts on what SLURM does with a job: requeue, cancel, limit, account. Pure."""

from __future__ import annotations

from hpcdl.cluster.schema import Cluster
from hpcdl.promises.evidence import AttemptEvidence, JobEvidence
from hpcdl.promises.names import CANCEL, MEMORY, STOP
from hpcdl.promises.programs.hold_memory import MOST
from hpcdl.promises.verdict import (
    Verdict,
    broken,
    kept,
    not_needed,
    not_tried,
    telling,
    why_failed,
    why_unknown,
)
from hpcdl.run import states
from hpcdl.scheduler.jobinfo import FINISHED

_NOT_FOR_MEMORY = ("time_limit", "node_failure")  # causes of an end that memory had no part in
_STOPPED = (states.TIME_LIMIT, states.STOPPED)  # ends after which hpcdl itself goes on
_NEVER_AGAIN = "max_requeues is 0 in the profile: your own jobs are not run again all the same"
_STARTED_IN_VAIN = "nothing is started"  # the worker's words where its run is over


def requeued(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether a job that saved and stopped was run again."""
    if unknown := why_unknown(about, STOP):
        return unknown
    first = about.attempts[0]
    is_chain = not cluster.requeue
    if len(about.attempts) > 1 and (is_chain or first.reason in _STOPPED):
        how, second = "requeued, it ran again", about.attempts[1]
        if is_chain:
            how = "the next job of the chain went on"
        later = ""
        if second.started is not None and first.ended is not None:
            later = f" {max(0.0, second.started - first.ended):.0f} s later"
        return kept(f"{how}{later}", "" if cluster.max_requeues else _NEVER_AGAIN)
    if about.left:
        return not_tried(about.left)
    if first.reason not in _STOPPED:
        return not_tried(f"the training did not save and stop ({_reason(first)}): {_end(about)}")
    if about.state == states.CANCELLED:
        return not_tried("it was cancelled before it could run again")
    if is_chain:
        return broken(
            f"the next job of the chain did not go on: {telling(about.output)}",
            "each job of a chain waits for the end of the one before (--dependency=afterany): ask "
            "the site whether users may, or whether their jobs may be requeued (requeue: true)",
        )
    return broken(
        f"SLURM did not run it again: {telling(about.output)}",
        "requeue: false lets hpcdl send a chain of jobs instead",
        requeue=False,
    )


def _reason(attempt: AttemptEvidence) -> str:
    return (attempt.reason or "nobody knows why").replace("_", " ")


def _end(about: JobEvidence) -> str:
    return about.left or why_failed(about)


def resumed(stop: JobEvidence, undisturbed: JobEvidence | None) -> Verdict:
    """Whether a training that was stopped ends with the weights of one that was not."""
    if unknown := why_unknown(stop, STOP):
        return unknown
    if stop.state == states.DONE and len(stop.attempts) < 2:
        return not_tried("the training that was to be stopped came to its end at once")
    if stop.state != states.DONE:
        return not_tried(f"the stopped training did not come to its end: {_end(stop)}")
    step = stop.attempts[-1].from_step
    if not step:
        return not_tried("it was stopped before its first step; try again")
    if undisturbed is None or undisturbed.state != states.DONE:
        how = "was not sent" if undisturbed is None else undisturbed.unsent or undisturbed.state
        return not_tried(f"there is no undisturbed training to compare it with: {how}")
    if len(undisturbed.attempts) > 1:
        return not_tried("SLURM ran the training twice that was to be undisturbed; try again")
    for training in (stop, undisturbed):
        if training.weights is None:
            return not_tried(f"the last checkpoint cannot be read: {training.folder}/checkpoints")
    if stop.weights == undisturbed.weights:
        return kept(f"from step {step}, equal to the undisturbed training's (sha256)")
    nodes = {attempt.node for attempt in (*stop.attempts, *undisturbed.attempts)}
    return broken(
        f"from step {step}, it ended with other weights than an undisturbed training on "
        f"{', '.join(sorted(filter(None, nodes)))}",
        "nodes with other processors compute other last digits: slurm: {constraint: TYPE} keeps "
        "jobs on one kind",
    )


def cancelled(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether a cancelled job stays so."""
    if unknown := why_unknown(about, CANCEL):
        return unknown
    if about.uncancelled:
        return not_tried(f"it could not be cancelled: {about.uncancelled}", "try again")
    again = len(about.attempts) > 1 or _STARTED_IN_VAIN in about.output
    # SLURM gives the processes of a cancelled job some time (KillWait), and then cleans up
    living = about.queue not in (None, "COMPLETING", *FINISHED)
    if about.queue_error and about.accounted is None:
        return not_tried(f"whether it stays away, SLURM did not say: {about.queue_error}")
    if about.queue == "RUNNING":
        return broken(
            f"SLURM still says {about.queue} of a job that was cancelled",
            "hpcdl ends it within a minute by its own mark; tell the site that scancel does not",
        )
    if again or living:
        better = "tell the site"
        if cluster.requeue:
            better = "with requeue: false SLURM has no job to run again"
        return broken(
            f"a cancelled job {'ran' if again else 'waits to run'} again",
            "its runs end at once by hpcdl's mark, but they take a place in the queue; " + better,
            requeue=False,
        )
    if about.state != states.CANCELLED:
        return not_tried(f"it ended before it could be cancelled: {why_failed(about)}")
    return kept(f"SLURM says {about.queue or about.accounted or 'nothing more'} of it")


def memory(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether a job that takes too much is ended, and hpcdl knows why."""
    if unknown := why_unknown(about, MEMORY):
        return unknown
    held, limit = about.words.get("held"), about.words.get("limit")
    if about.cause == "out_of_memory":
        return kept(f"{why_failed(about)}")
    if not about.words:
        return not_tried(f"the program did not start: {_end(about)}")
    if about.state == states.LOST:
        return broken(
            f"the job ended while it took memory, and left no cause: {why_failed(about)}",
            f"hpcdl cannot say of a job that it lacked memory here: see {about.folder}/logs",
        )
    if about.state == states.FAILED and about.cause not in _NOT_FOR_MEMORY:
        return broken(
            f"the job was ended, but its cause was taken for {about.cause}: {about.message}",
            f"hpcdl names another cause for a job that lacks memory here: see {about.folder}",
        )
    if about.state != states.DONE:
        return not_tried(why_failed(about))
    if held:
        return _not_limited(about, cluster, held)
    if limit and limit > MOST:
        return not_tried(
            f"SLURM's own limit of {limit / 2**30:.0f} GB is too much to fill in a test"
        )
    if not limit and not about.words.get("asked"):
        return not_needed(
            "the profile asks for no memory, and SLURM sets no limit that can be seen"
        )
    return not_tried(f"the program ended before it had taken too much: {telling(about.log)}")


def _not_limited(about: JobEvidence, cluster: Cluster, held: int) -> Verdict:
    asked = about.words.get("asked") or about.words.get("limit") or 0
    return broken(
        f"it asked for {asked / 2**30:.1f} GB, held {held / 2**30:.1f} GB, and nothing ended it",
        f"memory_request: {cluster.memory_request} does not limit a job here, so a job of somebody "
        "else's can take yours; ask for whole nodes where memory is tight, or tell the site "
        "(ConstrainRAMSpace in its cgroup.conf)",
    )


def accounting(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether sacct knows how a job ended."""
    if about.accounting_error:
        return broken(
            f"sacct does not answer: {about.accounting_error}",
            "hpcdl cost and the status of old runs lack what SLURM knows: ask the site whether "
            "users may read accounting",
        )
    if not about.job_ids:
        return not_tried(f"no job was sent: {about.unsent}")
    if about.accounted is None:
        return broken(
            f"sacct does not know job {about.job_ids[-1]}",
            "hpcdl cost and the status of old runs lack what SLURM knows: ask the site whether "
            "users may read accounting",
        )
    if about.queue not in (None, "COMPLETING", *FINISHED):
        return not_tried(f"SLURM has not ended job {about.job_ids[-1]}: it is {about.queue}")
    poll_s = max(120, cluster.min_poll_s)
    if about.accounted not in FINISHED:
        return broken(
            f"a minute after its end, sacct says {about.accounted} of job {about.job_ids[-1]}",
            f"accounting is late here: min_poll_s: {poll_s} asks less often",
            min_poll_s=poll_s,
        )
    return kept(f"{about.accounted} for job {about.job_ids[-1]}")
