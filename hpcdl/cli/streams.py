"""Printing never fails because of a character, whatever the locale."""

from __future__ import annotations

import codecs
import io
import os
import sys

_ERRORS = "hpcdl"  # our handler's name, as "replace" is the name of one of Python's
_PLAIN = {
    "✓": "ok", "✗": "x", "…": "...", "·": "-", "–": "-", "—": "-", "→": "->", "×": "x", "•": "*",
    "≤": "<=", "≥": ">=", "≈": "~", "±": "+-", "µ": "u", "\u00a0": " ", "█": "#", "━": "-",
    "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip


def use_utf8() -> None:
    """Start Python again in its UTF-8 mode if the locale's file names have another encoding.

    Otherwise, a folder's name in the batch script could be other bytes than on the disk. Nearly
    all locales are UTF-8, and in the C locale Python turns this mode on by itself (PEP 540).
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    try:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606
    except OSError:
        return  # continue with the locale's encoding


def make_safe() -> None:
    """Replace characters that stdout or stderr cannot show by plain ones; keep file names.

    A stream that is closed (``>&-``) takes everything and shows nothing.
    """
    codecs.register_error(_ERRORS, _replace)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=_encoding(stream), errors=_ERRORS)


def _encoding(stream: io.TextIOWrapper) -> str:
    """The encoding that a terminal shows, which UTF-8 mode hides if the locale has another one.

    A pipe or a file gets UTF-8 in this mode, so that a printed path equals the one on the disk.
    """
    present = str(stream.encoding)
    if not sys.flags.utf8_mode or os.environ.get("PYTHONIOENCODING") or not stream.isatty():
        return present
    import locale

    charset = locale.nl_langinfo(locale.CODESET)
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        return present
    if name == "ascii":  # the C locale says nothing about the terminal
        return present
    return charset


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """The plain form of the first character that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    after = error.start + 1
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8 (PEP 383)
        return bytes([ord(character) - 0xDC00]), after
    return _PLAIN.get(character, ascii(character)[1:-1]), after
