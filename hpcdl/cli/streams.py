"""What is printed never fails for its characters, whatever the locale."""

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
    """Begin again in Python's UTF-8 mode if the locale's file names are in another encoding.

    Else a folder's name would be other bytes in the batch script than on the disk. Nearly all
    locales are UTF-8, and in the C locale Python is in this mode by itself (PEP 540).
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    try:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606
    except OSError:
        return  # then with the locale's names


def make_safe() -> None:
    """Print plain characters for those that stdout and stderr cannot show, and file names as they are.

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
    """What a terminal shows; UTF-8 mode hides it if the locale has another encoding.

    A pipe or a file gets UTF-8 in this mode, so that a printed path is the one on the disk.
    """
    now = str(stream.encoding)
    if not sys.flags.utf8_mode or os.environ.get("PYTHONIOENCODING") or not stream.isatty():
        return now
    import locale

    charset = locale.nl_langinfo(locale.CODESET)
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        return now
    if name == "ascii":  # the C locale says nothing about the terminal
        return now
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
