"""The faults a run may end with: each class carries its exit status, its kind and a hint.

TrainingError
|-- DataError     65  the data set is missing, damaged or does not fit
|-- DeviceError   69  the devices asked for are not there, or do not work together
|-- UserCodeError  1  the user's own model raised, does not fit, or diverged
|-- InternalError 70  a fault in hpcdl or TensorFlow
|   |-- OutOfMemory 70  memory ran out, the host's or a GPU's
|   `-- PeerLost    70  another worker of the run has ended: its own end is the cause
`-- Stopped       75  not a fault: stopped on request, state saved
    `-- Unsaved   75  the disk takes nothing any more; what was saved before is intact

`settings.SpecError` (64) is outside the tree: it says that run.json is wrong, not a run.
"""

from hpcdl.contract.exit_status import (
    EXIT_DATA,
    EXIT_DEVICES,
    EXIT_INTERNAL,
    EXIT_STOPPED,
    EXIT_USER_CODE,
)


class TrainingError(Exception):
    """A run that ends early for a known reason.

    Args:
        message: what was found, quoting it, and what was expected.
        hint: what to try; may be empty.
    """

    exit_status = EXIT_INTERNAL
    kind = "internal"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DataError(TrainingError):
    """The data set cannot be trained on; the message lists every problem found."""

    exit_status = EXIT_DATA
    kind = "data"


class DeviceError(TrainingError):
    """TensorFlow sees another number of GPUs than the run asks for, or they fail together."""

    exit_status = EXIT_DEVICES
    kind = "device"


class UserCodeError(TrainingError):
    """The model raised, does not fit the data, or its loss is no longer a number."""

    exit_status = EXIT_USER_CODE
    kind = "user_code"


class InternalError(TrainingError):
    """The machine or TensorFlow gave up, for a reason that can be named."""


class OutOfMemory(InternalError):  # noqa: N818 - as MemoryError, which it is not
    """Memory ran out, the host's or a GPU's."""

    kind = "out_of_memory"


class PeerLost(InternalError):  # noqa: N818 - the fault is not this worker's
    """Another worker of the run has ended, or does not answer."""

    kind = "peer"


class Stopped(TrainingError):  # noqa: N818 - it is not an error
    """The stop file appeared; the state is saved and the run can go on from it."""

    exit_status = EXIT_STOPPED
    kind = "stopped"


class Unsaved(Stopped):
    """Something could not be written after many tries; the last checkpoint is intact."""
