"""The #SBATCH lines of a script, by sbatch's own rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hpcdl.batchscript.model import Directive
from hpcdl.batchscript.sbatchtable import LETTERS, OPTIONS, long_name

_MARK = "#SBATCH"
_SPACE = " \t\n\v\f\r"


@dataclass(frozen=True)
class _Token:
    text: str
    line: int


@dataclass(frozen=True)
class Header:
    """The options that sbatch reads, and those below the first command, which it does not.

    `faults` are lines that it cannot split into words: a quote that is not closed, a colon.
    """

    read: tuple[Directive, ...]
    ignored: tuple[Directive, ...]
    faults: tuple[tuple[int, str], ...] = ()
    components: int = 1  # of a heterogeneous job: #SBATCH hetjob begins another


def read_header(text: str, texts: frozenset[int] = frozenset()) -> Header:
    """The options of a script's #SBATCH lines.

    Args:
        text: the script.
        texts: lines within a here-document or quotes: they are another script's.
    """
    above: list[_Token] = []
    below: list[_Token] = []
    faults: list[tuple[int, str]] = []
    is_above = True
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.startswith(_MARK):
            is_above = is_above and line.strip(_SPACE)[:1] in ("", "#")
        elif is_above or number not in texts:
            words, fault = split_line(line[len(_MARK) :])
            (above if is_above else below).extend(_Token(word, number) for word in words)
            if fault and is_above:
                faults.append((number, fault))
    first, *others = _components(above)
    return Header(
        read=tuple(_options(first)),
        ignored=tuple(_options(below)),
        faults=tuple(faults),
        components=1 + len(others),
    )


def in_effect(directives: tuple[Directive, ...]) -> tuple[Directive, ...]:
    """Of each option the last, in the order in which they came; several --mail-type add up."""
    last = {directive.name: directive for directive in directives if directive.is_option}
    kept = [directive for directive in directives if last.get(directive.name) is directive]
    events = _mail_events(directives)
    return tuple(
        replace(directive, value=events, text=f"--mail-type={events}")
        if directive.name == "mail-type" and events
        else directive
        for directive in kept
    )


def _mail_events(directives: tuple[Directive, ...]) -> str | None:
    """The events of several --mail-type together; None where there are fewer than two.

    SLURM 22.05 says so itself: sbatch -v --test-only. A list with NONE in it adds nothing, and
    takes nothing away from the others.
    """
    lists = [given.value for given in directives if given.name == "mail-type" and given.value]
    if len(lists) < 2:
        return None
    events = [events.split(",") for events in lists]
    adding = [each for some in events if "NONE" not in map(str.upper, some) for each in some]
    return ",".join(dict.fromkeys(adding)) or "NONE"


def split_line(text: str) -> tuple[list[str], str]:
    """The words of a line behind #SBATCH, and what is wrong with it.

    Quotes keep blanks together; # begins a comment, also within a word; a backslash is left out,
    and the character behind it is taken as it is, unless it is a blank.
    """
    words: list[str] = []
    place = 0
    while True:
        while place < len(text) and text[place] in _SPACE:
            place += 1
        if place == len(text) or text[place] == "#":
            return words, ""
        if text[place] == ":":
            return words, "a word begins with a colon, which divides the parts of a joint job"
        word, place, quote = _word(text, place)
        if quote:
            return words, f"the quote {quote} is not closed"
        if not word:
            return words, ""  # "": sbatch reads no further in this line
        words.append(word)


def _word(text: str, place: int) -> tuple[str, int, str]:
    """The word that begins at a place, where it ends, and a quote that is open at its end."""
    word: list[str] = []
    quote = ""
    is_escaped = False
    while place < len(text) and (quote or text[place] not in _SPACE):
        letter = text[place]
        if is_escaped:
            is_escaped = False
            word.append(letter)
        elif letter == "\\":
            is_escaped = True
        elif quote and letter == quote:
            quote = ""
        elif quote:
            word.append(letter)
        elif letter in "\"'":
            quote = letter
        elif letter == "#":
            return "".join(word), len(text), ""
        else:
            word.append(letter)
        place += 1
    return "".join(word), place, quote


def _components(tokens: list[_Token]) -> list[list[_Token]]:
    """The tokens of each component of a heterogeneous job; of other jobs there is one."""
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token.text in ("hetjob", "packjob"):
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _options(tokens: list[_Token]) -> Iterator[Directive]:
    """The options that getopt_long makes of the words."""
    rest = list(reversed(tokens))
    while rest:
        token = rest.pop()
        if token.text == "--":
            if rest:  # what is behind, in other lines too, is refused; nothing behind is right
                yield Directive("--", None, token.line, f"-- {rest[-1].text}")
        elif token.text.startswith("--"):
            yield _long(token, rest)
        elif token.text.startswith("-") and len(token.text) > 1:
            yield from _letters(token, rest)
        else:
            yield Directive(token.text, None, token.line, token.text, is_option=False)


def _long(token: _Token, rest: list[_Token]) -> Directive:
    given, equals, value = token.text[2:].partition("=")
    name = long_name(given)
    if name is None:
        return Directive(given, value if equals else None, token.line, token.text)
    if equals:
        return Directive(name, value, token.line, token.text)
    if OPTIONS[name] == "required" and rest:
        following = rest.pop()
        return Directive(name, following.text, token.line, f"{token.text} {following.text}")
    return Directive(name, None, token.line, token.text)


def _letters(token: _Token, rest: list[_Token]) -> Iterator[Directive]:
    """The options of one word of letters, as -sN2."""
    letters = token.text[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = LETTERS.get(letter)
        if name is None:
            yield Directive(letter, letters or None, token.line, token.text)
            return
        if OPTIONS[name] == "no" or (OPTIONS[name] == "optional" and not letters):
            yield Directive(name, None, token.line, f"-{letter}")
        elif letters:
            yield Directive(name, letters, token.line, f"-{letter}{letters}")
            return
        elif rest:
            following = rest.pop()
            yield Directive(name, following.text, token.line, f"-{letter} {following.text}")
        else:
            yield Directive(name, None, token.line, f"-{letter}")
