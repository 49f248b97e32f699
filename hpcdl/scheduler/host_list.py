"""SLURM's lists of nodes: ``n[01-03,7],login`` is n01, n02, n03, n7 and login. Asks nobody."""

from __future__ import annotations

import re
from itertools import product

from hpcdl.errors import SchedulerError

MOST = 65_536  # nodes; more are a mistake, and would fill the memory
_PART = re.compile(r"(?:[^\[\],\s]+|\[[^\[\]]*\])+")
_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def expand(text: str) -> list[str]:
    """The nodes of a list in SLURM's order, which is that of the tasks' ranks.

    ``scontrol show hostnames`` says the same. But it refuses text after the last bracket, and ends
    with status 0 then.

    Args:
        text: like SLURM_JOB_NODELIST. Zeros in front and repeated nodes stay.

    Raises:
        SchedulerError: it is not such a list.
    """
    nodes: list[str] = []
    for part in _parts(text):
        choices = []
        count = 1
        for numbers, plain in _PIECE.findall(part):
            names = [plain] if plain else _numbers(numbers, text)
            choices.append(names)
            count *= len(names)
        if len(nodes) + count > MOST:
            raise _refused(text, f"it has more than {MOST:,} nodes")
        nodes += ["".join(names) for names in product(*choices)]
    return nodes


def _parts(text: str) -> list[str]:
    """The parts between commas that are not in brackets."""
    parts = []
    position = 0
    text = text.strip()
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise _refused(text, f"it cannot be read from {text[position:]!r} on")
        parts.append(part.group())
        position = part.end()
        if text[position : position + 1] == "," and position + 1 < len(text):
            position += 1
        elif position < len(text):
            raise _refused(text, f"it cannot be read from {text[position:]!r} on")
    if not parts:
        raise _refused(text, "it is empty")
    return parts


def _numbers(text: str, whole: str) -> list[str]:
    """What stands in brackets, number by number: ``01-03,7``."""
    numbers: list[str] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise _refused(whole, f"{part!r} is not a number or a range")
        first, last = match.groups()
        if last is None:
            numbers.append(first)
            continue
        if not int(first) <= int(last) < int(first) + MOST:
            raise _refused(whole, f"{part} is not a range of 1 to {MOST:,} nodes")
        for number in range(int(first), int(last) + 1):
            numbers.append(str(number).zfill(len(first)))
    return numbers


def _refused(text: str, reason: str) -> SchedulerError:
    message = f"the list of nodes {text!r} is not one of SLURM's, like n[01-04,9],login: {reason}"
    return SchedulerError(message)
