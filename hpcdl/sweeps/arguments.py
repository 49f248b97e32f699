"""A trial's value among the arguments of a script."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

ARGUMENT = "args."  # how the keys of a script's arguments begin
_NUMBER = re.compile(r"-[0-9.]+(?:[eE][-+]?[0-9]+)?")


def with_argument(args: Sequence[str], name: str, value: Any) -> list[str]:
    """A script's arguments with another value for ``--name``.

    The value takes the place of the one behind ``--name``, or in ``--name=value``; of several,
    the last counts, as for argparse. If there is none, both words are added, in front of a ``--``.

    Args:
        args: the arguments.
        name: without the dashes.
        value: a text stays as it is; anything else becomes JSON: ``0.1``, ``true``, ``[16, 32]``.
    """
    option = f"--{name}"
    words = list(args)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    new_words = [option, text]
    if text.startswith("-"):
        new_words = [f"{option}={text}"]  # else it reads as an option, as -1e-05 does
    options_end = len(words)
    if "--" in words:
        options_end = words.index("--")
    for place in reversed(range(options_end)):
        if words[place].startswith(f"{option}="):
            return [*words[:place], *new_words, *words[place + 1 :]]
        if words[place] == option:
            after = place + 1
            if after < options_end and _is_value(words[after]):
                after += 1
            return [*words[:place], *new_words, *words[after:]]
    return [*words[:options_end], *new_words, *words[options_end:]]


def argument_of(args: Sequence[str], name: str) -> str | None:
    """The word behind ``--name``, or in ``--name=value``; None if there is none."""
    value = None
    for place, word in enumerate(args):
        if word == "--":
            break
        if word == f"--{name}":
            value = "".join(args[place + 1 : place + 2])
        elif word.startswith(f"--{name}="):
            value = word.partition("=")[2]
    return value


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word == "-" or _NUMBER.fullmatch(word) is not None
