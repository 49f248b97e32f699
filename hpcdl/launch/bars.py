"""Thins progress bars in a program's output: of a line that is redrawn, the last state stays."""

from __future__ import annotations

import re

LIFE_S = 30.0  # seconds after which a bar that still moves shows a state, for those who watch
_LONGEST = 16384  # bytes of a line that are compared; a longer line is not a bar
_LONGEST_TQDM = 1000

_DRAWN_OVER = re.compile(rb"[\r\b]")
_PIECE = re.compile(rb"\n|[\r\b]+|[^\r\b\n]+")
_UP = re.compile(rb"\x1b\[\d*A$")  # the cursor goes back up: tqdm draws a bar below another one
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COUNT = re.compile(r"[\d?]")
_COUNT_WORDS = frozenset({"nan", "inf", "-inf", "eta"})
_NO_LETTER = re.compile(r"[\W\d_]+")
_TQDM = re.compile(r"\d+%\|.*\| *[\d.]+\w*/[\d.]+\w* \[[^\]]*\]\s*$")


class Thinner:
    r"""One stream's output without the states of bars that were drawn over.

    A line without ``\r`` and ``\b`` comes out byte for byte, and at once. In other lines, each
    state follows the one before. A state is dropped if the next one says the same with other
    numbers. A state with other words stays, on its own line. Memory is bounded. It does not matter
    how the bytes are cut into chunks.

    Args:
        life_s: seconds after which a state comes out although it may be drawn over.
    """

    def __init__(self, life_s: float = LIFE_S) -> None:
        self._life_s = life_s
        self._begin_line()

    def _begin_line(self) -> None:
        self._current = b""  # the state that is being drawn
        self._erase = b""  # the \r and \b since its last byte
        self._before: bytes | None = None  # the state before it
        self._shown = b""  # the last output of this line
        self._is_open = False  # whether that output lacks its newline
        self._is_bar = False
        self._is_raw = False  # too long, or binary: it passes as it is
        self._shown_at: float | None = None

    def feed(self, data: bytes, now: float) -> bytes:
        """Take the next bytes.

        Args:
            data: any part of the output.
            now: seconds on a clock that never goes back.

        Returns:
            What can be written by now.
        """
        plain = not self._is_bar and not self._erase
        if plain and not _DRAWN_OVER.search(data):
            return self._pass(data)
        parts = []
        for piece in _PIECE.findall(data):
            if piece == b"\n":
                parts.append(self._end_line())
            elif piece[:1] in b"\r\b":
                parts.append(self._move(piece))
            else:
                parts.append(self._draw(piece))
        return b"".join([*parts, self.tick(now)])

    def tick(self, now: float) -> bytes:
        """What is due because time has passed: a state of a bar, for those who watch."""
        if not self._is_bar:
            return b""
        if self._shown_at is None:
            self._shown_at = now
        if now - self._shown_at < self._life_s:
            return b""
        self._shown_at = now
        return self._show(self._newest())

    def close(self) -> bytes:
        """The rest, at the end of the stream."""
        if not self._is_bar:
            rest = self._erase
        elif not _is_blank(self._newest()):
            rest = self._settle()
        else:
            rest = b""
        self._begin_line()
        return rest

    def _pass(self, data: bytes) -> bytes:
        """Text that nothing draws over."""
        _, newline, last = data.rpartition(b"\n")
        if newline:
            self._begin_line()
        self._current += last
        self._shown = self._current
        self._is_open = bool(self._current)
        if len(self._current) > _LONGEST:
            self._current = self._shown = b""
            self._is_raw = True
        return data

    def _move(self, erase: bytes) -> bytes:
        if self._is_raw:
            return erase
        # Only the newest of them matter once there is a \r; a program may send any number.
        self._erase = (self._erase + erase)[-_LONGEST:]
        return b""

    def _draw(self, text: bytes) -> bytes:
        """More of a state, or the start of the next one."""
        if self._is_raw:
            return text
        if not self._erase and not self._is_bar:
            return self._pass(text)
        out = b""
        if self._erase:
            out = self._finish_state()
            self._is_bar = True
            self._current = _left(self._current, self._erase)
            self._erase = b""
        self._current += text
        if len(self._current) > _LONGEST or b"\0" in text:
            out += self._settle_before() + self._newline() + self._current
            self._current = b""
            self._is_raw = True
            self._is_open = True
        return out

    def _finish_state(self) -> bytes:
        """The current state is complete: it replaces the one before, or both stay."""
        state = _UP.sub(b"", self._current)
        if _is_blank(state):
            return b""
        out = b""
        if self._before is not None and not _replaces(state, self._before):
            out = self._show(self._before)
        self._before = state
        return out

    def _end_line(self) -> bytes:
        if self._is_raw:
            self._begin_line()
            return b"\n"
        if not self._is_bar:  # \r\n ends a line, and draws over nothing
            out = self._erase + b"\n"
            self._begin_line()
            return out
        if _UP.search(self._current):  # up and down again: still the same line
            self._erase = b"\r"
            return b""
        out = self._settle() or (b"" if self._shown else b"\n")
        self._begin_line()
        return out

    def _settle(self) -> bytes:
        """The last state, and the one before it if that says something else."""
        newest = self._newest()
        out = b""
        if newest is not self._before:
            out = self._settle_before(newest)
        return out + self._show(newest) + self._newline()

    def _settle_before(self, newest: bytes | None = None) -> bytes:
        before, self._before = self._before, None
        if before is None or (newest is not None and _replaces(newest, before)):
            return b""
        return self._show(before)

    def _newest(self) -> bytes:
        """The last state that shows something."""
        current = _UP.sub(b"", self._current)
        if _is_blank(current) and self._before is not None:
            return self._before
        return current

    def _show(self, state: bytes) -> bytes:
        """A state on its own line, unless it was the last that came out."""
        if state == self._shown or _is_blank(state):
            return b""
        out = self._newline() + state + b"\n"
        self._shown = state
        return out

    def _newline(self) -> bytes:
        was_open, self._is_open = self._is_open, False
        return b"\n" if was_open else b""


def _left(state: bytes, erase: bytes) -> bytes:
    r"""What ``\b`` leaves of a state; ``\r`` leaves nothing."""
    if b"\r" in erase:
        return b""
    text = state.decode("utf-8", "surrogateescape")
    return text[: max(0, len(text) - len(erase))].encode("utf-8", "surrogateescape")


def _replaces(state: bytes, before: bytes) -> bool:
    """Whether a state says all that the one before it said, but for the numbers."""
    old = _ESCAPE.sub("", before.decode("utf-8", "replace"))
    if len(old) < _LONGEST_TQDM and _TQDM.search(old) and "100%|" not in old:
        return True
    new = _ESCAPE.sub("", state.decode("utf-8", "replace"))
    return _words(new).startswith(_words(old))


def _words(text: str) -> str:
    """The letters of a state, without what changes while a bar runs: whatever has a digit in it."""
    words = []
    for word in text.split():
        if not _COUNT.search(word) and word.lower().rstrip(":,") not in _COUNT_WORDS:
            words.append(word)
    return _NO_LETTER.sub("", " ".join(words))


def _is_blank(state: bytes) -> bool:
    return not _ESCAPE.sub("", state.decode("utf-8", "replace")).strip()
