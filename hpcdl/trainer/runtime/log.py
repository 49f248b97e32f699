"""The log on stdout is for people; TensorFlow's own messages go to another file."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import signal
import sys
import warnings
from typing import IO, Any, Iterator, Optional, cast

_noise: Optional[IO[str]] = None
_NOISY = ("tensorflow", "keras", "absl", "h5py", "google")


class _Patient(io.TextIOWrapper):
    """A text file that a full disk delays: what cannot be written comes out with a later line.

    So neither Keras's summary, nor a traceback, nor the prints of the user's code end a training.
    """

    def __init__(self, binary: IO[bytes]) -> None:
        super().__init__(binary, "utf-8", "backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:  # the program that started the run is gone
            raise
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError:
            pass


def be_patient() -> None:
    """From here on, output that cannot be written does not end the program."""
    sys.stdout = _Patient(os.fdopen(1, "wb", closefd=False))
    sys.stderr = _Patient(os.fdopen(2, "wb", closefd=False))


def say(text: str = "") -> None:
    """Print a line of the log at once, and whole: threads print too."""
    print(text + "\n", end="", flush=True)


def separate_noise(noise_log: str) -> None:
    """Send what C++ code writes to stderr, and library warnings, to `noise_log`.

    Python's own stderr (tracebacks, the user's messages, faulthandler) stays where it was. File
    descriptor 2 itself must change because TensorFlow's C++ side writes to it directly.
    """
    global _noise
    os.makedirs(os.path.dirname(noise_log), exist_ok=True)
    _noise = _Patient(open(noise_log, "ab"))  # noqa: SIM115 - until the process ends
    sys.stderr.flush()
    sys.stderr = _Patient(os.fdopen(os.dup(2), "wb"))
    os.dup2(_noise.fileno(), 2)
    faulthandler.enable(file=sys.stderr)
    warnings.showwarning = _show_warning


def show_stacks_on_request() -> None:
    """From here on, SIGUSR1 writes the stacks of all threads to the log, and ends nothing."""
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)


def _show_warning(
    message: Any,
    category: Any,
    filename: str,
    lineno: int,
    file: Any = None,
    line: Optional[str] = None,
) -> None:
    """Stands for `warnings.showwarning`: warnings of libraries go to the noise log."""
    text = warnings.formatwarning(message, category, filename, lineno, line)
    parts = filename.replace("\\", "/").split("/")
    if file is None:
        file = sys.stderr
        if _noise is not None and any(part.startswith(_NOISY) for part in parts):
            file = _noise
    file.write(text)


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """While TensorFlow is imported: its log handlers, and absl's, will write to the noise log."""
    real = sys.stderr
    if _noise is not None:
        sys.stderr = cast(Any, _noise)
    try:
        yield
    finally:
        sys.stderr = real
