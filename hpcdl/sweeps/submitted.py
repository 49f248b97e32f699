"""Where a sweep's tasks were sent (submitted.json): one entry for each array."""

from __future__ import annotations

from typing import Any

import msgspec

from hpcdl.errors import RunError
from hpcdl.files import read_json, write_json
from hpcdl.sweeps.folder import SweepPaths


class SentArray(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that were sent together.

    Args:
        job_id: SLURM's id of the array; None for a worker on this machine.
        tasks: how many tasks it has.
        at_once: how many of them may run at the same time.
        sent: when (unix time).
        trials: by how many trials the budget grew with it; 0 for a first or repeated attempt.
        pid: of a worker on this machine.
        pid_start: when that process started, as `hpcdl.run.process_start.process_start` tells it.
        host: of a worker on this machine.
        options: sbatch's, which came before those of the script.
    """

    job_id: str | None
    tasks: int
    at_once: int
    sent: float
    trials: int = 0
    pid: int | None = None
    pid_start: str | None = None
    host: str | None = None
    options: list[str] = []


class SweepSubmitted(msgspec.Struct, frozen=True, kw_only=True):
    """All that was sent of a sweep.

    Args:
        backend: ``slurm`` or ``local``.
        cluster: the profile's name.
        time: when the first tasks were sent (unix time).
        arrays: oldest first.
    """

    backend: str
    cluster: str
    time: float
    arrays: list[SentArray] = []

    @classmethod
    def read(cls, paths: SweepPaths) -> SweepSubmitted | None:
        """Read submitted.json; None if nothing was sent.

        Raises:
            RunError: it is damaged.
        """
        path = paths.submitted
        if not path.exists():
            return None
        try:
            return msgspec.convert(read_json(path), cls)
        except msgspec.ValidationError as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def with_array(self, array: SentArray) -> SweepSubmitted:
        """The same with one more array."""
        return msgspec.structs.replace(self, arrays=[*self.arrays, array])

    def write(self, paths: SweepPaths) -> None:
        """Write submitted.json.

        Raises:
            OSError: it cannot be written.
        """
        content: dict[str, Any] = msgspec.to_builtins(self)
        write_json(paths.submitted, content)

    @property
    def job_ids(self) -> list[str]:
        """SLURM's ids of all arrays."""
        return [array.job_id for array in self.arrays if array.job_id is not None]

    @property
    def more_trials(self) -> int:
        """By how many trials the budget has grown since the sweep was made."""
        return sum(array.trials for array in self.arrays)
