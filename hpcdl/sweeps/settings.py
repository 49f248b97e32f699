"""What a sweep searches and how (sweep.json): written once, never changed."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

import msgspec

from hpcdl.errors import RunError
from hpcdl.files import read_json, write_json
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.space import Space, parse_space

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
SCHEMA_VERSION = 1


class SweepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a sweep.

    Args:
        name: the job's.
        over: the space, as `parse_space` reads it.
        method: one of `hpcdl.sweeps.suggest.METHODS`.
        metric: the trials are compared by it.
        direction: whether a higher or a lower value of the metric is better.
        trials: how many, if nobody asks for more.
        seed: of the suggestions.
        at_once: how many trials run at the same time.
        last: whether a trial counts by its last epoch, not by its best one.
        eta: of asha and hyperband: one in eta trials goes on at each rung.
        first_epochs: of asha and hyperband: the first rung, in epochs.
        epochs: of a trial that is not pruned; None for a script.
        gpu_hours: no trial begins after this many GPU-hours; None for no such limit.
        gpus: of one task.
        trials_per_gpu: how many trials share a task and its GPU.
        trials_per_task: after this many trials a task ends; None for no such limit.
        keep: of this many best trials the model and the predictions stay.
        fork_server: whether a task imports TensorFlow once for all its trials; None to decide by
            whether it has GPUs.
        schema_version: of this file.
    """

    name: str
    over: dict[str, Any]
    method: str
    metric: str
    direction: Literal["maximize", "minimize"]
    trials: AtLeastOne
    seed: int = 0
    at_once: AtLeastOne = 8
    last: bool = False
    eta: int = 3
    first_epochs: AtLeastOne = 1
    epochs: int | None = None
    gpu_hours: float | None = None
    gpus: int = 0
    trials_per_gpu: AtLeastOne = 1
    trials_per_task: AtLeastOne | None = None
    keep: int = 5
    fork_server: bool | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def space(self) -> Space:
        """What is searched.

        Raises:
            ProblemsError: `over` cannot be read.
        """
        return parse_space(self.over)

    def write(self, paths: SweepPaths) -> None:
        """Write sweep.json.

        Raises:
            OSError: it cannot be written.
        """
        content = msgspec.to_builtins(self)
        write_json(paths.sweep, {**content, "sha256": _sha256(content)})

    @classmethod
    def read(cls, paths: SweepPaths) -> SweepSettings:
        """Read sweep.json.

        Raises:
            RunError: it is missing or damaged, somebody edited it, or a newer hpcdl wrote it.
        """
        content = read_json(paths.sweep)
        if content is None:
            raise RunError(
                f"{paths.sweep} is missing or damaged; expected a sweep's settings: "
                "put its old content back, or start another sweep"
            )
        version = content.get("schema_version")
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{paths.sweep} has schema_version {version}; expected {SCHEMA_VERSION}: "
                "use the hpcdl that made this sweep, or a newer one"
            )
        sha256 = content.pop("sha256", None)
        if sha256 != _sha256(content):
            raise RunError(
                f"{paths.sweep} was edited, and its trials would not fit together any more; "
                "put its old content back, or start another sweep"
            )
        try:
            return msgspec.convert(content, cls)
        except msgspec.ValidationError as error:
            raise RunError(f"{paths.sweep} is damaged: {error}; start another sweep") from error

    def differing_keys(self, other: SweepSettings) -> list[str]:
        """The names of the settings in which two sweeps differ."""
        keys = []
        for key, value in msgspec.to_builtins(self).items():
            if msgspec.to_builtins(other)[key] != value:
                keys.append(key)
        return keys

    def score(self, value: float | None) -> float | None:
        """A value of the metric as a score, of which the higher one is better."""
        if value is None or self.direction == "maximize":
            return value
        return -value


def _sha256(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
