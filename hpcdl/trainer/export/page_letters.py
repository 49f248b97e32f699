"""Bytes as letters of a page: three letters of UTF-16 hold 47 bits.

A page is UTF-16, where a letter takes two bytes. 47 bits in six bytes is 2 % short of all that six
bytes hold; UTF-8 holds 6 bits a byte. The file starts with a byte order mark. It tells browsers the
encoding, whatever a server says: https://encoding.spec.whatwg.org/#decode
"""

from __future__ import annotations

from typing import Any

import numpy as np

ENCODING = "utf-16"
_BITS = 47  # of three letters, as many as three digits to the base of 52,016 hold
# U+0CD0 to U+D7FF: no sign of markup, no end of a line, no half of a pair, no byte order mark
_FIRST, _LETTERS = 0x0CD0, 52016


def bytes_in_page(count: int) -> int:
    """How many bytes of the file hold so many bytes."""
    return -(-count * 8 // _BITS) * 6


def in_letters(content: bytes) -> str:
    """Their number, a space, and the letters: 47 bits are a number, the upper digit first."""
    bits: Any = np.unpackbits(np.frombuffer(content, np.uint8))
    bits = np.pad(bits, (0, -len(bits) % _BITS)).reshape(-1, _BITS)
    numbers = np.zeros(len(bits), np.int64)
    for column in bits.T:
        numbers = 2 * numbers + column
    digits = np.zeros((len(bits), 3), "<u2")
    for place in (2, 1, 0):
        digits[:, place] = numbers % _LETTERS + _FIRST
        numbers //= _LETTERS
    return "{} {}".format(len(content), digits.tobytes().decode("utf-16-le"))


def from_letters(text: str) -> bytes:
    """The opposite of `in_letters`."""
    count, _, letters = text.partition(" ")
    digits = np.frombuffer(letters.encode("utf-16-le"), "<u2").astype(np.int64) - _FIRST
    numbers = digits.reshape(-1, 3) @ np.array([_LETTERS**2, _LETTERS, 1])
    bits: Any = np.zeros((len(numbers), _BITS), np.uint8)
    for place in range(_BITS):
        bits[:, place] = numbers >> (_BITS - 1 - place) & 1
    return np.packbits(bits.ravel()).tobytes()[: int(count)]
