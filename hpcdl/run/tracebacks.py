"""Finds the Python exception that ended a program, in the end of the program's output."""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass, field

_HEAD = re.compile(r"^[ |+]*(Exception Group )?Traceback \(most recent call last\):\s*$")
_GROUP_HEAD = re.compile(r"^ *\+ Exception Group Traceback")
_EXCEPTION = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*))?$")
_RULE = re.compile(r"^[ |]*\+[-+]*( \d+ )?-+$")  # between the parts of a group
_CAUSE = "The above exception was the direct cause of the following exception:"
# Lines before a traceback that did not end the program
_NOT_FATAL = re.compile(r"^Exception ignored |^--- Logging error ---|exception was never retrieved")
# Lines after the traceback that ended the program: messages of libraries, and closed bars
_TRAILER = re.compile(
    r"^[IWEF]\d{4} \d\d:\d\d|^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] "
    r"|^To enable (the following|them)"
    r"|^WARNING: All log messages|^wandb: |^Exception ignored |^INFO:    |resource_tracker|\d+%\|"
    r"|^\s*\d+/(\d+|Unknown) .*(step|ETA)|warnings\.warn\("
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Messages of TensorFlow, JAX and CUDA have many lines; TensorFlow's end with the operation's name
_LENGTHY = re.compile(r"^(tensorflow\.|jax|XlaRuntimeError)|CUDA")
_LAST_OF_MESSAGE = re.compile(r"\[Op:\w*\]")


@dataclass(frozen=True)
class Raised:
    """An exception as a traceback names it.

    Args:
        kind: its class, with its module unless that is builtins.
        message: its message, all lines.
    """

    kind: str
    message: str

    @property
    def name(self) -> str:
        """Its class without the module."""
        return self.kind.rpartition(".")[2]

    @property
    def text(self) -> str:
        """Its first line as Python prints it."""
        first = self.message.partition("\n")[0]
        return f"{self.kind}: {first}" if first else self.kind

    def is_plain(self) -> bool:
        """Whether it is one of Python's own that is about the program, not about the machine.

        ValueError is one; OSError and MemoryError are not.
        """
        cls = getattr(builtins, self.kind, None)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            return False
        return cls not in (MemoryError, OSError, RuntimeError, SystemError, Exception)


@dataclass(frozen=True)
class Traceback:
    """The last traceback of an output.

    Args:
        line: the index of its first line.
        raised: the exception that ended the program; of a group, its members.
        causes: what it was explicitly raised from.
        last: that exception itself, or the group.
        after: the lines that the program itself printed after it.
        behind: all text behind its first line, with messages of libraries.
    """

    line: int
    raised: list[Raised]
    last: Raised
    causes: list[Raised] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    behind: str = ""

    @property
    def was_handled(self) -> bool:
        """Whether the program survived it: it printed more."""
        return bool(self.after)


def last_traceback(text: str) -> Traceback | None:
    """The last traceback in an output that may have ended the program.

    Args:
        text: the end of a program's output.
    """
    lines = [_ESCAPE.sub("", line.rstrip("\r")) for line in text.split("\n")]
    start = _last_head(lines)
    if start is None:
        return None
    head = lines[start]
    is_in_group = head.lstrip().startswith("|")
    if is_in_group or head.lstrip(" +").startswith("Exception Group"):
        return _group(lines, start)
    raised, end = _exception(lines, start)
    if raised is None:
        return None
    return Traceback(
        line=start,
        raised=[raised],
        last=raised,
        causes=_causes(lines, start),
        after=_own_words(lines[end:]),
        behind="\n".join(lines[start + 1 :]),
    )


def last_words(text: str) -> str:
    """The line that shows best how a program ended: its exception, else the last line it printed.

    Args:
        text: the end of its output.
    """
    traceback = last_traceback(text)
    if traceback is not None and not traceback.was_handled:
        return traceback.last.text
    lines = [line for line in text.splitlines() if line.strip()]
    return (_own_words(lines) or lines or [""])[-1].strip()


def own_lines(text: str) -> list[str]:
    """The lines of an output without messages of libraries and empty ones."""
    return _own_words(_ESCAPE.sub("", text).splitlines())


def _last_head(lines: list[str]) -> int | None:
    for index in range(len(lines) - 1, -1, -1):
        if not _HEAD.match(lines[index]):
            continue
        before = [line for line in lines[max(0, index - 2) : index] if _NOT_FATAL.search(line)]
        if not before:
            return index
    return None


def _exception(lines: list[str], start: int) -> tuple[Raised | None, int]:
    """The exception below the frames of a traceback, and the index of the first line after it."""
    index = start + 1
    while index < len(lines) and (lines[index].startswith((" ", "\t")) or not lines[index]):
        index += 1
    match = _EXCEPTION.match(lines[index]) if index < len(lines) else None
    if match is None:
        return None, index
    kind, first = match[1], match[2] or ""
    end = _end_of_message(lines, index)
    return Raised(kind, "\n".join([first, *lines[index + 1 : end]])), end


def _end_of_message(lines: list[str], index: int) -> int:
    if not _LENGTHY.search(lines[index]):
        return index + 1
    for later in range(index, len(lines)):
        if _LAST_OF_MESSAGE.search(lines[later]):
            return later + 1
    return len(lines)


def _causes(lines: list[str], start: int) -> list[Raised]:
    """The exceptions that the one below ``start`` was explicitly raised from."""
    before = start - 1
    while before >= 0 and not lines[before].strip():
        before -= 1
    if before < 0 or lines[before] != _CAUSE:
        return []
    earlier = _last_head(lines[:before])
    if earlier is None:
        return []
    raised, _ = _exception(lines[:before], earlier)
    before_it = _causes(lines, earlier)
    return before_it if raised is None else [raised, *before_it]


def _group(lines: list[str], start: int) -> Traceback | None:
    """An exception group, which is drawn as a tree; its leaves are what was raised."""
    while start > 0 and not _GROUP_HEAD.match(lines[start]):
        start -= 1
    end = start + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    raised = []
    for line in lines[start + 1 : end]:
        # A frame has two more spaces behind the bar than an exception
        branch = re.match(r"^[ |]*\| (\S.*)$", line)
        match = _EXCEPTION.match(branch[1]) if branch and not _RULE.match(line) else None
        if match:
            raised.append(Raised(match[1], match[2] or ""))
    if not raised:
        return None
    leaves = [each for each in raised if not each.name.endswith("ExceptionGroup")]
    return Traceback(
        line=start,
        raised=leaves or raised,
        last=raised[0],
        after=_own_words(lines[end:]),
        behind="\n".join(lines[start + 1 :]),
    )


def _own_words(lines: list[str]) -> list[str]:
    """The lines that a program itself printed.

    Messages of libraries, closed bars and exceptions that Python ignored are left out.
    """
    own = []
    ignored = False
    for line in lines:
        if line.startswith("Exception ignored "):
            ignored = True
        elif ignored:
            frame = line.startswith(" ") or _HEAD.match(line) is not None
            ignored = frame  # the exception's own line is the last of it
        elif line.strip() and not _TRAILER.search(line):
            own.append(line)
    return own
