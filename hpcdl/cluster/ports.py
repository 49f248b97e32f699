"""The ports that a profile lets the workers of a job on several nodes use."""

from __future__ import annotations

import re

_FORM = re.compile(r"([0-9]{1,5})-([0-9]{1,5})", re.ASCII)
_HIGHEST = 65535


def ports_of(text: str | None) -> list[int] | None:
    """The first and the last port of ``20000-20999``; None for any port.

    Raises:
        ValueError: it is not such a range; what was expected.
    """
    if not text:
        return None
    match = _FORM.fullmatch(text.strip())
    if match is not None:
        first, last = int(match[1]), int(match[2])
        if 1024 <= first <= last <= _HIGHEST:
            return [first, last]
    expected = f"expected two ports from 1024 to {_HIGHEST}, as 20000-20999"
    raise ValueError(f"{expected}; got {text!r}")
