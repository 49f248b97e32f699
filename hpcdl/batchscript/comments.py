"""Where the comment of a line begins: a # behind a blank, outside of quotes."""

from __future__ import annotations


def without_comment(line: str) -> str:
    """A line up to its comment; a quote in it that the line does not close ends the search."""
    quote = ""
    for place, letter in enumerate(line):
        if letter in "\"'" and quote in ("", letter):
            quote = "" if quote else letter
        elif letter == "#" and not quote and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line
