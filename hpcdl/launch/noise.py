"""Separates TensorFlow's own messages on stderr from the program's own output."""

from __future__ import annotations

import re
from collections.abc import Iterator

IDLE_S = 0.2  # a line that waits this long for its end is taken as it is
_LONGEST = 8192  # bytes; a longer line is not waited for

# A message of TensorFlow's C++ code has a time and a source file. There are two forms:
#   2026-11-28 06:20:00.109157: I tensorflow/core/util/port.cc:104] oneDNN custom operations are on.
#   I0000 00:00:1795846779.762385   30617 port.cc:153] oneDNN custom operations are on.
# F is a fatal message, the program's last one: it stays in the log that people read.
# Sources: tensorflow/tsl/platform/default/logging.cc (EmitMessage),
# absl/log/internal/log_format.cc.
_HEAD = re.compile(
    rb"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |[IWE]\d{4} \d\d:\d\d:[\d.]+ +\d+ )"
    rb"[\w./+-]+\.(?:cc|h):\d+\] "
)
_OPEN_HEAD = re.compile(
    rb"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |[IWE]\d{4} \d\d:\d\d:[\d.]+ +\d+ )"
    rb"(?:[\w./+-]*|[\w./+-]+\.(?:cc|h):\d*\]?)$"
)
# Other lines of such messages start with one of these
_PHRASES = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    b"To enable the following instructions: ",
    b"To enable them in other operations, rebuild TensorFlow",
    b"Your kernel may have been built without NUMA support.",
    b"Skipping registering GPU devices...",
)
_CONTAINER = b"INFO:    "  # Apptainer, before the program starts
_CONTAINER_LINE = re.compile(_CONTAINER + rb"\S")


def _begins(classes: list[str]) -> str:
    """A pattern for the first characters of a text, however many.

    Args:
        classes: a pattern for each character.
    """
    pattern = ""
    for each in reversed(classes):
        pattern = f"(?:{each}{pattern})?"
    return pattern


_DATE = list("dddd-dd-dd dd:dd:dd.dddddd: L ")
_SHORT = list("Ldddd dd:dd:")
_CLASS = {"d": r"\d", "L": "[IWE]", ".": r"\."}
_CUT_HEAD = re.compile(
    "(?:{}|{})$".format(
        _begins([_CLASS.get(each, each) for each in _DATE]),
        _begins([_CLASS.get(each, each) for each in _SHORT])[: -len(")?")]
        + r"(?:[\d.]+(?: +\d*)?)?)?",
    ).encode()
)


class NoiseFilter:
    """Splits one stream of bytes into what people read and TensorFlow's own messages.

    Nothing is lost: each byte comes out in one of the two parts, in order. It does not matter how
    the bytes are cut into chunks.
    """

    def __init__(self) -> None:
        self._waiting = b""  # what may yet become a message
        self._in_message = False  # the rest of this line belongs to a message
        self._at_begin = True  # of a line
        self._has_started = False  # the program has printed something

    @property
    def waits(self) -> bool:
        """Whether bytes are held back."""
        return bool(self._waiting)

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Take the next bytes; yields (whether it is noise, bytes) for what is decided."""
        lines = _lines(self._waiting + data)
        self._waiting = b""
        for line in lines:
            if self._in_message:
                self._in_message = not line.endswith(b"\n")
                self._at_begin = line.endswith(b"\n")
                yield True, line
            elif line.endswith(b"\n") or len(line) > _LONGEST:
                yield from self._decide(line)
            else:
                yield from self._wait(line)

    def flush(self) -> Iterator[tuple[bool, bytes]]:
        """Let out what is held back, because nothing more came for a while, or ever will."""
        line, self._waiting = self._waiting, b""
        if line:
            yield from self._decide(line)

    def _decide(self, line: bytes) -> Iterator[tuple[bool, bytes]]:
        """A line, or as much of it as there is."""
        start = self._message_start(line)
        text = line if start is None else line[:start]
        if text:
            self._has_started = self._has_started or bool(text.strip())
            yield False, text
        if start is not None:
            yield True, line[start:]
        self._at_begin = line.endswith(b"\n")
        self._in_message = start is not None and not self._at_begin

    def _message_start(self, line: bytes) -> int | None:
        """Where in a line a message starts."""
        if self._at_begin and line.startswith(_PHRASES):
            return 0
        if self._at_begin and not self._has_started and _CONTAINER_LINE.match(line):
            return 0
        head = _HEAD.search(line)
        return head.start() if head else None

    def _wait(self, line: bytes) -> Iterator[tuple[bool, bytes]]:
        """A line without its end: what cannot become a message comes out at once."""
        start = self._possible_start(line)
        text, self._waiting = line[:start], line[start:]
        if text:
            self._has_started = self._has_started or bool(text.strip())
            self._at_begin = False
            yield False, text

    def _possible_start(self, line: bytes) -> int:
        phrases = _PHRASES if self._has_started else (*_PHRASES, _CONTAINER)
        for phrase in phrases:
            if self._at_begin and (line.startswith(phrase) or phrase.startswith(line)):
                return 0
        for pattern in (_HEAD, _OPEN_HEAD, _CUT_HEAD):
            match = pattern.search(line)
            if match:
                return match.start()
        return len(line)


def _lines(data: bytes) -> list[bytes]:
    r"""Lines with their ``\n``, and no other kind of end."""
    parts = data.split(b"\n")
    lines = []
    for part in parts[:-1]:
        lines.append(part + b"\n")
    if parts[-1]:
        lines.append(parts[-1])
    return lines
