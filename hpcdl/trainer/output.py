"""Who reads what: the log on stdout is for people, TensorFlow's own chatter goes to a file of its own."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import warnings
from typing import IO, Any, Iterator, Optional, cast

_noise: Optional[IO[str]] = None
_NOISY = ("tensorflow", "keras", "absl", "h5py", "google")


def say(text: str = "") -> None:
    """Print a line of the log at once, and whole: threads print too. A full disk delays it, and stops nothing."""
    try:
        print(text + "\n", end="", flush=True)
    except BrokenPipeError:  # whoever started the run is gone
        raise
    except OSError:  # it stays in the buffer, and comes out with a later line
        pass


def separate_noise(noise_log: str) -> None:
    """Send what C++ code writes to stderr, and library warnings, to `noise_log`.

    Python's own stderr (tracebacks, the user's messages, faulthandler) stays where it was. File
    descriptor 2 itself must change hands because TensorFlow's C++ side writes to it directly.
    """
    global _noise
    os.makedirs(os.path.dirname(noise_log), exist_ok=True)
    _noise = open(  # noqa: SIM115 - until the process ends
        noise_log, "a", buffering=1, encoding="utf-8", errors="replace"
    )
    sys.stderr.flush()
    real = os.fdopen(os.dup(2), "w", 1, encoding="utf-8", errors="backslashreplace")
    os.dup2(_noise.fileno(), 2)
    sys.stderr = real
    faulthandler.enable(file=real)
    cast(Any, sys.stdout).reconfigure(line_buffering=True, errors="backslashreplace")
    warnings.showwarning = _show_warning


def _show_warning(
    message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Optional[str] = None
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    parts = filename.replace("\\", "/").split("/")
    noisy = any(part.startswith(_NOISY) for part in parts)
    with contextlib.suppress(OSError):  # a full disk
        (file or (_noise if noisy and _noise else sys.stderr)).write(text)


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """While importing TensorFlow: the log handlers that it and absl make then keep writing to the noise."""
    real = sys.stderr
    if _noise is not None:
        sys.stderr = cast(Any, _noise)
    try:
        yield
    finally:
        sys.stderr = real
