"""`model: {start: RUN}`: a model that is another run's, and begins with its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcdl.contract.settings import setting

if TYPE_CHECKING:
    from hpcdl.job.sections import Job


@dataclass
class FromRun:
    """The model of a run that is done. This one begins with its weights.

    ``rest`` are the other keys of the section as they were written: they must be as that run has
    them.
    """

    start: str = setting("the run: path, id or name; the rest of the model is that run's")
    rest: dict[str, Any] = field(default_factory=dict, metadata={"internal": True})


def names_models(job: Job) -> bool:
    """Whether a job names runs whose models it needs."""
    return isinstance(job.model, FromRun) or bool(job.train and job.train.distill)
