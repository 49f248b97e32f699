"""Whether a folder's file system lets exactly one of two processes make a symbolic link.

A sweep's tasks claim their trials by such links. Two processes race for the same links, in a
hidden folder that is removed afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

_ROUNDS = 4
_LINKS = 25  # in a round
# Reads the numbers of rounds, answers each with the links that it made, or with the error
_RACER = """\
import json, os, sys
key, links = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    made, error = [], None
    for number in range(links):
        name = f"{line.strip()}-{number}"
        try:
            os.symlink(key, name)
            made.append(name)
        except FileExistsError:
            pass
        except OSError as failure:
            error = str(failure)
            break
    print(json.dumps([made, error]), flush=True)
"""
_KEYS = ("first", "second")


def fault_of_links(folder: Path) -> str | None:
    """What is wrong with symbolic links in a folder, in words; None if nothing is.

    Args:
        folder: it exists, and this user may write there.

    Raises:
        OSError: the test's folder cannot be made, or a process of the test has died.
    """
    place = Path(tempfile.mkdtemp(prefix=".hpcdl-links-", dir=folder))
    racers: list[_Racer] = []
    try:
        for key in ("first", "second"):
            racers.append(_Racer(key, place))
        for racer in racers:
            racer.read_line()  # both have started: now they can race
        for round_number in range(_ROUNDS):
            fault = _fault_of_round(round_number, racers, place)
            if fault is not None:
                return fault
    finally:
        for racer in racers:
            racer.end()
        shutil.rmtree(place, ignore_errors=True)
    return None


def _fault_of_round(round_number: int, racers: Sequence[_Racer], place: Path) -> str | None:
    for racer in racers:
        racer.start_round(round_number)
    winners: dict[str, str] = {}
    for racer in racers:
        names, error = json.loads(racer.read_line())
        if error is not None:
            return f"a symbolic link cannot be made there: {error}"
        for name in names:
            if name in winners:
                return "two processes made the same symbolic link there, and both succeeded"
            winners[name] = racer.key
    if len(winners) != _LINKS:
        return f"of {_LINKS} symbolic links, {_LINKS - len(winners)} could be made by no process"
    for name, key in winners.items():
        target = os.readlink(place / name)
        if target != key:
            return f"a symbolic link to {key!r} there leads to {target!r}"
    return None


class _Racer:
    """One of the two processes."""

    def __init__(self, key: str, place: Path) -> None:
        self.key = key
        argv = [sys.executable, "-I", "-S", "-c", _RACER, key, str(_LINKS)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            argv, cwd=place, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8"
        )

    def start_round(self, number: int) -> None:
        stdin = cast("IO[str]", self._process.stdin)
        stdin.write(f"{number}\n")
        stdin.flush()

    def read_line(self) -> str:
        """The next line that it prints.

        Raises:
            OSError: it has died.
        """
        line = cast("IO[str]", self._process.stdout).readline()
        if not line:
            words = cast("IO[str]", self._process.stderr).read().strip()
            raise OSError(f"a process of the test of symbolic links has died: {words}")
        return line

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
