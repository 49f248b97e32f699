"""Texts in directives that stand for one's own: <group>, YOUR_ACCOUNT, $ACCOUNT."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(
    r"^<|<[^<>]*>|\{\{.*\}\}|\[(?:your|account|project|partition|email)[^\]]*\]"
    r"|\byour(?:[-_. ]|\b)|\bYOUR[A-Z_-]|^x{3,}$|^X{2,}\d*$|change[-_]?me|\bTODO\b|\bFIXME\b"
    r"|^(?:ACCOUNT|PROJECT|GROUP|PARTITION|QUEUE|QOS|EMAIL|PROJECT_?ID|ACCOUNT_?NAME)$|^\.\.\.$"
    # As the pages of sites write a project, a date of its own in it, and a user's name
    r"|^(?i:project[-_]\d*x{3,}|nn(?:x{4}|n{4}|_{2,})k|[a-z]*(?:20yy|y{4})-xx-[a-z]{2})$"
    r"|^(?i:project_?(?:id|name)|account_?(?:id|name)|__[a-z_]+__|kullanici_adi(?:niz)?)$"
    r"|(?<![A-Za-z])(?i:your(?:project|account|group|partition|name|user|e?mail|netid))",
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
