"""What the runs of a test left behind, as plain data: the verdicts see nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from hpcdl.contract import probe
from hpcdl.files import read_json
from hpcdl.launch.deadline import Request, first_request
from hpcdl.run import records
from hpcdl.run.handle import Run
from hpcdl.run.logs import tail
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Failure

_END = 4000  # characters of an output
_MARK = "hpcdl: {"  # before what a program says for the host
_SECOND = "\nattempt 2 of "  # the worker's words as it starts


@dataclass(frozen=True)
class AttemptEvidence:
    """One attempt of a run: times by the node's clock, and steps of the checkpoints."""

    node: str | None
    started: float | None
    ended: float | None = None
    reason: str | None = None
    from_step: int | None = None
    steps: int | None = None


@dataclass(frozen=True)
class JobEvidence:
    """What one job of the test showed.

    Args:
        folder: its run.
        job_ids: SLURM's.
        unsent: why it was not sent, or why it did not start; "" if it did.
        check: the check of ``hpcdl check`` that kept it from being sent.
        fix: what this check says.
        state: the run's.
        cause: of its failure.
        message: on that.
        limit_s: its time limit.
        lead_s: how long before that SLURM is to warn it.
        margin_s: how long before that hpcdl's own clock is to stop it.
        gpus: how many it asked for on its node.
        attempts: oldest first.
        site: what the probe saw of its node.
        probe: what the probe saw of its devices.
        request: the first request to its first attempt to save and stop; None if none is known.
        weights: a checksum of all that its training has changed.
        words: what its program said for the host.
        log: the end of what the program printed.
        output: the end of the batch script's own output.
        queue: SLURM's word for the job after all, in the queue.
        accounted: SLURM's word for the job after all, in accounting.
        queue_error: why the queue did not answer.
        accounting_error: why accounting did not answer.
        lag_s: how long after it was written by the node's clock a file was seen here.
        left: why nobody waited for its end; "" if somebody did.
        uncancelled: why it could not be cancelled; "" if it could, or nobody tried.
    """

    folder: str = ""
    job_ids: list[str] = field(default_factory=list)
    unsent: str = ""
    check: str = ""
    fix: str = ""
    state: str = ""
    cause: str | None = None
    message: str = ""
    limit_s: int = 0
    lead_s: int = 0
    margin_s: int = 0
    gpus: int = 0
    attempts: list[AttemptEvidence] = field(default_factory=list)
    site: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    request: Request | None = None
    weights: str | None = None
    words: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    output: str = ""
    queue: str | None = None
    accounted: str | None = None
    queue_error: str = ""
    accounting_error: str = ""
    lag_s: float | None = None
    left: str = ""
    uncancelled: str = ""

    @property
    def started(self) -> bool:
        """Whether hpcdl's worker started."""
        return bool(self.attempts)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> JobEvidence:
        """The evidence that was written down as JSON."""
        attempts = [AttemptEvidence(**attempt) for attempt in content.get("attempts", [])]
        request = content.get("request")
        request = request and Request(**request)
        return cls(**{**content, "attempts": attempts, "request": request})


def read_run(folder: str) -> JobEvidence:
    """What the files of a run tell.

    Args:
        folder: the run's.
    """
    run = Run(folder)
    paths = run.paths
    status = run.status()
    plan = records.plan(paths)
    outputs = [tail(output) for output in sorted(paths.logs.glob("slurm-*.out"), key=_age)]
    logs = run.logs()
    log = tail(logs[-1])[-_END:] if logs else ""
    return JobEvidence(
        folder=folder,
        job_ids=run.job_ids(),
        state=status.state,
        cause=status.cause,
        message=status.note or Failure.read(paths).message or "",
        limit_s=plan.get("time_limit_s", 0),
        lead_s=plan.get("signal_lead_s", 0),
        margin_s=plan.get("stop_margin_s", 0),
        gpus=plan.get("gpus", 0),
        attempts=_attempts(paths),
        site=read_json(paths.root / probe.SITE_FILE) or {},
        probe=read_json(paths.root / probe.FILE) or {},
        request=first_request("\n".join(outputs).partition(_SECOND)[0]),
        weights=_checksum(paths),
        words=_words(log),
        log=log,
        output="\n".join(outputs)[-_END:],
    )


def _age(output: Path) -> tuple[int, str]:
    """The outputs of a chain's jobs in their order: 9999 comes before 10000."""
    return len(output.name), output.name


def _attempts(paths: RunPaths) -> list[AttemptEvidence]:
    events = records.read_attempts(paths)
    ends = {event.attempt: event for event in events if event.is_end}
    attempts = []
    for start in (event for event in events if event.is_start):
        end = ends.get(start.attempt)
        attempts.append(
            AttemptEvidence(
                node=start.node,
                started=start.time,
                ended=end.time if end else None,
                reason=end.reason if end else None,
                from_step=start.from_step,
                steps=end.steps if end else None,
            )
        )
    return attempts


def _words(log: str) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for line in log.splitlines():
        if line.startswith(_MARK):
            with suppress(ValueError):  # a program that is killed may write half of it
                words.update(json.loads(line.partition(" ")[2]))
    return words


def _checksum(paths: RunPaths) -> str | None:
    """A checksum of the arrays in the newest checkpoint; None if none can be read."""
    import numpy as np

    files = sorted(path for path in paths.checkpoints.glob("*.npz") if path.stem.isdigit())
    if not files:
        return None
    digest = hashlib.sha256(files[-1].stem.encode("ascii"))
    try:
        with files[-1].open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                if name not in ("about", "sha256"):  # these hold times
                    digest.update(arrays[name].tobytes())
    except (OSError, ValueError, EOFError, BadZipFile):  # half written, or somebody's own
        return None
    return digest.hexdigest()
