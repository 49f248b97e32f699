"""Texts for people: values in messages, a text on one line, and what somebody may have meant."""

from __future__ import annotations

from typing import Any


def one_line(text: str) -> str:
    """Text for a comment: every character that could end the line is replaced."""
    return "".join(c if c.isprintable() else "?" for c in text)


def show(value: Any, limit: int = 60) -> str:
    """A value for a message: as written, cut where it is long."""
    return cut(repr(value), limit)


def cut(text: str, limit: int = 200) -> str:
    """A text as it is, or its beginning where it is long."""
    if len(text) <= limit:
        return text
    return text[: limit - 1] + "…"


def did_you_mean(name: Any, names: Any, also: str | None = None) -> str:
    """``; did you mean X?`` for the closest of some names, else the list of them (or ``also``)."""
    from difflib import get_close_matches  # only on an error

    close = get_close_matches(str(name), list(names), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    if also is not None:
        return also
    return f"; known are {', '.join(names)}"


def hpcdl_command(*words: object) -> str:
    """A command of hpcdl as a shell takes it: a path with blanks is in quotes.

    Args:
        words: the command, as ``sweep`` and ``more``, and its arguments, such as paths.
    """
    import shlex

    return shlex.join(["hpcdl", *map(str, words)])


def with_run(advice: str, folder: object) -> str:
    """An advice with a run's folder in the place of RUN, as a shell takes it."""
    import shlex

    return advice.replace("RUN", shlex.quote(str(folder)))
