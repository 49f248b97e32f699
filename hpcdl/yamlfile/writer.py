"""Values as YAML on one line."""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./+@-]*|~/[A-Za-z0-9_./+@-]+")
_SPECIAL = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])


def plain(value: Any) -> str:
    """A value as YAML, on one line; words that YAML could misread are quoted."""
    if isinstance(value, dict):
        pairs = [f"{plain(key)}: {plain(inner)}" for key, inner in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(plain, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _SPECIAL:
        return value
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(letter: str) -> str:
    """A character as a YAML file may hold it in double quotes."""
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
