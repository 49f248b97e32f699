"""RunSpec: what one training run is, the contract between the host and the container.

The host fills a `RunSpec` from a job file and writes it to ``run.json``; the
trainer reads it back with `RunSpec.from_json`. A job file's ``data``, ``model``
and ``train`` sections are these very classes, so each setting is described
once: its type, its bounds and its meaning are in the fields, and the job
reader, the docs and the trainer all take them from there (`settings`).
"""

import json
from dataclasses import asdict, dataclass
from typing import List, Optional

from hpcdl.contract.data_spec import DataSpec
from hpcdl.contract.exit_status import (
    EXIT_DATA,
    EXIT_DEVICES,
    EXIT_DONE,
    EXIT_INTERNAL,
    EXIT_SPEC,
    EXIT_STOPPED,
    EXIT_USER_CODE,
)
from hpcdl.contract.method_spec import AdversarialSpec, DistillSpec, PruneSpec, StartSpec
from hpcdl.contract.model_spec import (
    METRICS,
    MODELS,
    BackboneSpec,
    CnnSpec,
    FunctionSpec,
    MlpSpec,
    ModelSpec,
    ResnetSpec,
    model_class,
)
from hpcdl.contract.settings import SpecError, add_later_settings, from_plain, setting
from hpcdl.contract.test_spec import TestSpec
from hpcdl.contract.train_spec import EarlyStoppingSpec, OptimizerSpec, ScheduleSpec, TrainSpec

__all__ = [
    "EXIT_DATA",
    "EXIT_DEVICES",
    "EXIT_DONE",
    "EXIT_INTERNAL",
    "EXIT_SPEC",
    "EXIT_STOPPED",
    "EXIT_USER_CODE",
    "METRICS",
    "MODELS",
    "SCHEMA_VERSION",
    "AdversarialSpec",
    "BackboneSpec",
    "CnnSpec",
    "DataSpec",
    "DeviceSpec",
    "DistillSpec",
    "EarlyStoppingSpec",
    "FunctionSpec",
    "MlpSpec",
    "ModelSpec",
    "OptimizerSpec",
    "PruneSpec",
    "ResnetSpec",
    "RunSpec",
    "SavingSpec",
    "ScheduleSpec",
    "SpecError",
    "StartSpec",
    "TestSpec",
    "TrainSpec",
    "setting",
]

SCHEMA_VERSION = 1


@dataclass
class DeviceSpec:
    """The devices the run must find; another number is an error, not a slow run."""

    gpus: int = setting("GPUs; 0 trains on the CPU", 0, ge=0)
    emulate: bool = setting("stand in logical CPU devices for the GPUs (test beds only)", False)
    memory_mb: Optional[int] = setting(
        "MiB of each GPU that the run may take, where runs share it; without it, what it needs",
        None,
        since="0.3.0",
        ge=1,
    )


@dataclass
class SavingSpec:
    """When checkpoints are saved: after some seconds or steps, whichever comes first, and at the
    end.
    """

    every_s: float = setting("seconds between two checkpoints", 300.0, ge=1)
    every_steps: Optional[int] = setting(
        "steps between two checkpoints; without it, time alone counts", None, ge=1
    )
    keep: int = setting("how many of the newest checkpoints are kept", 3, ge=1)


@dataclass
class RunSpec:
    """One training run. Paths are absolute, or relative to the folder of run.json.

    Raises:
        SpecError: from `from_json`, when the text is not such a run.
    """

    name: str = setting("the job's name")
    data: DataSpec = setting("the data set")
    model: ModelSpec = setting("the model", choose=model_class)
    train: TrainSpec = setting("how the model is trained")
    devices: DeviceSpec = setting("the devices that the run must find")
    hpcdl_version: str = setting("the hpcdl that wrote the run")
    schema_version: int = setting("the form of run.json", SCHEMA_VERSION)
    saving: SavingSpec = setting("when checkpoints are saved", SavingSpec, since="0.1.0")
    test: TestSpec = setting(
        "what is asked of the trained model besides its scores",
        TestSpec,
        since="0.4.0",
        older={"explain": "none", "attack": []},
    )
    start: Optional[StartSpec] = setting(
        "the model of another run whose weights the model begins with", None, since="0.4.0"
    )
    export: List[str] = setting("what the trained model is exported as", [], since="0.4.0")

    @property
    def validation_share(self) -> float:
        """The share of the training rows that validates.

        It is data.validation_split, or one fold of several.
        """
        folds = self.train.cross_validation
        return 1 / folds if folds else self.data.validation_split

    def to_json(self) -> str:
        """The text of run.json: the same bytes for the same run."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RunSpec":
        """Read run.json's text back, refusing another schema, unknown keys and missing ones."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise SpecError("run.json is not JSON: {}".format(error))
        if not isinstance(raw, dict):
            raise SpecError("run.json must hold an object, not {}".format(type(raw).__name__))
        version = raw.get("schema_version")
        if version != SCHEMA_VERSION:
            message = "run.json has schema_version {!r}; this trainer reads {}"
            raise SpecError(message.format(version, SCHEMA_VERSION))
        add_later_settings(cls, raw)
        return from_plain(cls, raw)
