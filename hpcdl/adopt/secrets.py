"""Secrets that stand in a script's commands: they are hidden, and no job file gets them."""

from __future__ import annotations

import re

_OPTION = (
    r"--?(?:\w+[-_])*(?:(?:token|api[-_]?key|access[-_]?key)(?=[= \t]+[\"']?(?=\S*\d)[\w.-]{12,})"
    r"|(?:password|passwd|secret)(?=[= \t]+[^\s$]{4}))"
)
_VALUE = re.compile(rf"(?<!\S)({_OPTION}[= \t]+)\S+|(wandb login (?:--\S+ )*)[\w-]{{12,}}", re.I)
_ADDRESS = re.compile(r"(https://hooks\.slack\.com/)\S+?(?=[\"'\s]|$)")
_HIDDEN = "(hidden)"


def hidden(text: str) -> str:
    """A text of the script without what looks like a secret in it."""
    text = _VALUE.sub(lambda match: f"{match[1] or match[2]}{_HIDDEN}", text)
    return _ADDRESS.sub(rf"\1{_HIDDEN}", text)


def without_secrets(args: list[str]) -> tuple[list[str], list[str]]:
    """Arguments without those that look like secrets, and the options of these."""
    kept: list[str] = []
    options: list[str] = []
    waiting = list(args)
    while waiting:
        word = waiting.pop(0)
        following = "".join(waiting[:1]).replace(" ", "_")
        pair = f"{word} {following}"
        if hidden(word) != word:
            options.append(hidden(word))
        elif "=" not in word and hidden(pair) != pair:
            options.append(f"{word} {_HIDDEN}")
            waiting.pop(0)
        else:
            kept.append(word)
    return kept, options
