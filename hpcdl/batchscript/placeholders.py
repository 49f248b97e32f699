"""Texts in directives that stand for one's own: <group>, YOUR_ACCOUNT, $ACCOUNT."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(
    r"^<|<[^<>]*>|\{\{.*\}\}|\[(?:your|account|project|partition|email)[^\]]*\]"
    r"|\byour(?:[-_. ]|\b)|\bYOUR[A-Z_-]|^x{3,}$|^X{2,}\d*$|change[-_]?me|\bTODO\b|\bFIXME\b"
    r"|^(?:ACCOUNT|PROJECT|GROUP|PARTITION|QUEUE|QOS|EMAIL|PROJECT_?ID|ACCOUNT_?NAME)$|^\.\.\.$",
)
_BRACKETS = re.compile(r"\[[A-Za-z ]")  # [budget code], whole or its first word
# Options whose values may well begin with a square bracket
_WITH_BRACKETS = ("constraint", "cluster-constraint", "prefer", "batch", "nodelist", "exclude")
VARIABLE = re.compile(r"\$\{?[A-Za-z_]")
# Options in which a dollar or an odd text is one's own affair, or another finding's
FREE = ("comment", "export", "wrap", "output", "error", "input", "job-name")


def is_placeholder(name: str, value: str) -> bool:
    """Whether the value of an option stands for one's own: <group>, YOUR_ACCOUNT, $ACCOUNT."""
    if name == "job-name":
        return bool(re.search(r"<[^<>]*>|\{\{.*\}\}", value))
    if _BRACKETS.match(value) and name not in _WITH_BRACKETS and name not in FREE:
        return True
    if _PLACEHOLDER.search(value):
        return name not in ("comment", "wrap", "export")
    return bool(VARIABLE.search(value)) and name not in FREE


def example(name: str) -> str:
    """What to write there."""
    if name == "account":
        return "NAME (yours: sacctmgr -n show user $USER withassoc format=account)"
    return "NAME (partitions: sinfo -s)" if name == "partition" else "VALUE"
