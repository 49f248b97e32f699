"""How an option or a pair NAME=value is written in the script."""

from __future__ import annotations

import re
from dataclasses import replace

from hpcdl.batchscript.model import Word

_CONTINUED = re.compile(r"[ \t]*\\\r?\n[ \t]*")


def unbroken(text: str) -> str:
    """A command whose lines go on behind a backslash, on one line."""
    return _CONTINUED.sub(" ", text.strip())


def option_text(name: str, word: Word | None) -> str:
    """An option as it is written, from its long name and its value."""
    text = f"--{name}" if len(name) > 1 else f"-{name}"
    if word is None:
        return text
    return word.raw if word.raw.startswith("-") else f"{text}={word.raw}"


def pair_of(word: Word) -> tuple[str, Word]:
    """The name and the value of a word ``NAME=value``, of which quotes may be around both."""
    raw = word.raw
    if raw[:1] in "'\"" and raw[-1:] == raw[:1] and "=" in raw:
        quote = raw[0]
        name, _, rest = raw[1:].partition("=")
        value = f"{quote}{rest}"
    else:
        name, _, value = raw.partition("=")
    if word.text is None:
        return name, replace(word, raw=value, torn=None)
    name, _, text = word.text.partition("=")
    return name, replace(word, text=text, raw=value, torn=None)
