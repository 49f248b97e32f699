"""The promises that ``hpcdl cluster test`` tries, and the job that shows each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hpcdl.errors import UserError
from hpcdl.text import did_you_mean

# The jobs, in the order in which they are sent
NODE = "node"
STOP = "stop"
UNDISTURBED = "undisturbed"
CANCEL = "cancel"
MEMORY = "memory"


@dataclass(frozen=True)
class Promise:
    """Something that hpcdl relies on.

    Args:
        name: as --only takes it.
        title: the promise, for people.
        jobs: the jobs that show it, the one that matters most first.
    """

    name: str
    title: str
    jobs: tuple[str, ...]


PROMISES = (
    Promise("worker", "hpcdl's worker starts on the node", (NODE,)),
    Promise("image", "the container starts", (NODE,)),
    Promise("gpus", "a job sees the GPUs that it asks for", (NODE,)),
    Promise("driver", "the node's driver fits the image's CUDA", (NODE,)),
    Promise("all-reduce", "the GPUs add up together", (NODE,)),
    Promise("data", "data_root can be read on the node", (NODE,)),
    Promise("scratch", "the node's scratch folder can be written", (NODE,)),
    Promise("files", "what a node writes is soon to be seen here", (NODE,)),
    Promise("warned", "a training is warned before its time limit", (STOP,)),
    Promise("requeued", "a job that has saved and stopped goes on", (STOP,)),
    Promise("resumed", "it ends with the same weights", (STOP, UNDISTURBED)),
    Promise("cancel", "a cancelled job is not run again", (CANCEL,)),
    Promise("memory", "too much memory is seen as the cause", (MEMORY,)),
    Promise("accounting", "SLURM's accounting knows how a job ended", (NODE,)),
)
JOBS = (NODE, STOP, UNDISTURBED, CANCEL, MEMORY)


def chosen_promises(only: Sequence[str]) -> list[Promise]:
    """The promises to try.

    Args:
        only: their names; empty for all.

    Raises:
        UserError: a name is not one of them.
    """
    by_name = {promise.name: promise for promise in PROMISES}
    for name in only:
        if name not in by_name:
            raise UserError(f"--only {name}: there is no such promise{did_you_mean(name, by_name)}")
    return [promise for promise in PROMISES if not only or promise.name in only]


def jobs_of(promises: Collection[Promise]) -> list[str]:
    """The jobs that show some promises, in the order in which they are sent."""
    needed = {job for promise in promises for job in promise.jobs}
    return [job for job in JOBS if job in needed]
