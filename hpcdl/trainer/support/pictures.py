"""Writes pictures into the folder ``figures`` of the run, each under another name."""

from __future__ import annotations

import os
import sys
from typing import Optional

# Pictures that a process writes: a loop that shows one at every step must not fill the disk
_MOST = 1000

prefix = "figure"  # what the names begin with; a notebook's runner says the cell
_written = 0


def folder() -> str:
    """The run's folder for figures: next to the stop file, or in the working directory."""
    stop_file = os.environ.get("HPCDL_STOP_FILE")
    if not stop_file:
        return os.path.join(os.getcwd(), "figures")
    return os.path.join(os.path.dirname(os.path.abspath(stop_file)), "figures")


def new_path() -> Optional[str]:
    """Reserve the next free name ``<prefix>-<number>.png``; None if enough were written.

    Earlier attempts of the run and other processes may have written some already.

    Raises:
        OSError: the folder cannot be written.
    """
    global _written
    if _written >= _MOST:
        return None
    _written += 1
    if _written == _MOST:
        say("{} figures are saved; further ones are not".format(_MOST))
    os.makedirs(folder(), exist_ok=True)
    number = 1
    while True:
        path = os.path.join(folder(), "{}-{}.png".format(prefix, number))
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            return path
        except FileExistsError:
            number += 1


def write(path: str, content: bytes) -> None:
    """Replace a file by another content, in one step.

    Raises:
        OSError: it cannot be written.
    """
    aside = "{}.{}".format(path, os.getpid())
    try:
        with open(aside, "wb") as stream:
            stream.write(content)
        os.replace(aside, path)
    except OSError:
        if os.path.exists(aside):
            os.remove(aside)
        raise


def save_new(content: bytes) -> None:
    """Write one more picture and say where it is; if it cannot be written, the program goes on."""
    try:
        path = new_path()
        if path is not None:
            write(path, content)
            say("figure saved: {}".format(path))
    except OSError as error:
        say("a figure cannot be saved: {}".format(error))


def say(text: str) -> None:
    """One line of hpcdl's own in the log."""
    sys.stdout.flush()
    print("hpcdl: {}".format(text), file=sys.stderr, flush=True)
