"""Reads this node's GPUs while a program runs, with the tool that the driver comes with.

nvidia-smi runs on and prints a line for each GPU again and again. AMD's tools are started again for
each reading, and seldom: each start costs half a second of a CPU. Nothing here waits for a tool.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from hpcdl.launch.gpu_answers import (
    MEMORY_ERRORS,
    NVIDIA_FIELDS,
    REASON_FIELDS,
    GpuReading,
    amd_readings,
    nvidia_reading,
    rocm_readings,
)
from hpcdl.launch.processes import die_with_parent

AMD_EVERY_S = 60.0
_MOST_STARTS = 5  # of a tool that answers and then dies
_PATIENCE_S = 60.0  # a tool that says nothing for longer hangs
_END_S = 1.0  # a tool in a driver that hangs cannot even be killed
_MOST_TEXT = 1_000_000  # characters of an answer
_ROCM = ("--showuse", "--showmeminfo", "vram", "--showpower", "--showmaxpower", "--showproductname")
_AMD = ("metric", "--usage", "--power", "--mem-usage", "--ecc")


@dataclass(frozen=True)
class _Tool:
    """A command that tells of GPUs.

    Args:
        argv: the command.
        parse: reads what it printed; of a command that runs on, whole lines of that.
        again_s: after how many seconds it is started again; None if it runs on.
    """

    argv: Sequence[str]
    parse: Callable[[str], list[GpuReading]]
    again_s: float | None = None


class GpuReader:
    """The GPUs of this node, read by the first tool that answers.

    Args:
        vendor: ``nvidia`` or ``amd``.
        every_s: seconds between two readings.
    """

    def __init__(self, vendor: str, every_s: float) -> None:
        self._tools = _amd_tools() if vendor == "amd" else _nvidia_tools(every_s)
        self._child: subprocess.Popen[bytes] | None = None
        self._text = ""
        self._starts = 0
        self._answered = False
        self._last_sign = 0.0
        self._next_start = 0.0
        names = "amd-smi nor rocm-smi" if vendor == "amd" else "nvidia-smi"
        self.problem = "" if self._tools else f"there is no {names} on the node"

    def read(self, now: float) -> list[GpuReading]:
        """What the tool has said since the last call, in order; it may be nothing.

        Args:
            now: unix time.
        """
        if not self._tools:
            return []
        if self._child is None:
            if now >= self._next_start:
                self._start(now)
            return []
        has_ended = self._child.poll() is not None
        readings = self._answers(now, has_ended)
        if has_ended:
            self._after_end(now)
        elif now - self._last_sign > _PATIENCE_S:
            self._stop()
            self._give_up("it does not answer")
        return readings

    def close(self) -> None:
        """End the tool."""
        self._tools = []
        self._stop()

    def _start(self, now: float) -> None:
        tool = self._tools[0]
        self._text, self._last_sign = "", now
        self._next_start = now + (tool.again_s or _PATIENCE_S)
        self._starts += 1
        try:
            self._child = subprocess.Popen(
                tool.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            self._give_up(str(error.strerror))
            return
        if self._child.stdout is not None:
            os.set_blocking(self._child.stdout.fileno(), False)

    def _answers(self, now: float, has_ended: bool) -> list[GpuReading]:
        """The readings in what the tool has printed since the last call."""
        printed = self._printed()
        if printed:
            self._last_sign = now
            self._text = (self._text + printed)[-_MOST_TEXT:]
        tool = self._tools[0]
        whole = self._text
        if tool.again_s is None and not has_ended:
            whole, _, self._text = self._text.rpartition("\n")
        elif tool.again_s is not None and not has_ended:
            return []
        readings = tool.parse(whole)
        if readings:
            self._answered = True
            self.problem = ""
        elif whole.strip() and not self._answered:
            name = os.path.basename(tool.argv[0])
            self.problem = f"{name} says: {' '.join(whole.split())[:200]}"
        return readings

    def _printed(self) -> str:
        parts = []
        if self._child is not None and self._child.stdout is not None:
            with suppress(OSError):  # nothing is there yet
                while part := os.read(self._child.stdout.fileno(), 1 << 16):
                    parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")

    def _after_end(self, now: float) -> None:
        """The tool has ended: start it again, ask in another way, or give up."""
        tool = self._tools[0]
        self._stop()
        if not self._answered:
            self._give_up("it ended without a word")
            self._next_start = now
        elif tool.again_s is None and self._starts >= _MOST_STARTS:
            self._tools = []

    def _give_up(self, why: str) -> None:
        """Take the next tool."""
        name = os.path.basename(self._tools[0].argv[0])
        self.problem = self.problem or f"{name}: {why}"
        self._tools = self._tools[1:]
        self._starts = 0

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(OSError):
            child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_END_S)
        if child.stdout is not None:
            child.stdout.close()


def _nvidia_tools(every_s: float) -> list[_Tool]:
    """nvidia-smi with the names of new drivers, of older ones, and of any."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    tools = []
    for more in ((MEMORY_ERRORS, REASON_FIELDS[0]), (MEMORY_ERRORS, REASON_FIELDS[1]), ()):
        fields = (*NVIDIA_FIELDS, *more)
        query = f"--query-gpu={','.join(fields)}"
        period_s = max(1, round(every_s / 2))  # each sample then has a reading, or two
        argv = [command, query, "--format=csv,noheader,nounits", "-l", str(period_s)]
        tools.append(_Tool(argv, partial(_nvidia_lines, fields=fields)))
    return tools


def _nvidia_lines(text: str, fields: Sequence[str]) -> list[GpuReading]:
    readings = []
    for line in text.splitlines():
        reading = nvidia_reading(line.strip(), fields)
        if reading is not None:
            readings.append(reading)
    return readings


def _amd_tools() -> list[_Tool]:
    tools = []
    for name, words, parse in (
        ("amd-smi", _AMD, amd_readings),
        ("rocm-smi", _ROCM, rocm_readings),
    ):
        command = shutil.which(name)
        if command is not None:
            tools.append(_Tool([command, *words, "--json"], parse, AMD_EVERY_S))
    return tools
