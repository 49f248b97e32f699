"""What is remembered of the runs in a runs_root, so that those that have ended are not read again.

A row counts only while the run's attempts.jsonl is as it was: resuming a run adds a line to it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from hpcdl.contract.version import __version__
from hpcdl.files import others_could_write, write_text
from hpcdl.run.state import Status

_FOLDER = ".index"
_FORM = f"2, hpcdl {__version__}"  # another version may decide a state in another way
# Files may still change shortly after an end: a cancel may be under way, clocks may differ
_SETTLED_S = 60.0


class Fingerprint(NamedTuple):
    """How attempts.jsonl was when a run was read; all 0 if there was none.

    Args:
        mtime_ns: when it was changed, in nanoseconds since 1970.
        size_bytes: how long it was.
    """

    mtime_ns: int = 0
    size_bytes: int = 0

    def is_settled(self) -> bool:
        """Whether the file is old enough for a row about it."""
        return is_settled(self.mtime_ns / 1e9)


def is_settled(time_of_change: float) -> bool:
    """Whether a change (unix time) is so long ago that nothing that belongs to it is under way."""
    return time.time() - time_of_change > _SETTLED_S


def fingerprint(attempts: str) -> Fingerprint:
    """The fingerprint of an attempts.jsonl, by one stat.

    Args:
        attempts: its path.
    """
    try:
        state = os.stat(attempts)
    except OSError:
        return Fingerprint()
    return Fingerprint(state.st_mtime_ns, state.st_size)


class Occupied(NamedTuple):
    """What a run has occupied, by its own files.

    Args:
        gpu_hours: GPUs times hours.
        cpu_hours: CPUs times hours.
        queue_s: seconds in the queue.
    """

    gpu_hours: float
    cpu_hours: float
    queue_s: float


class Row(NamedTuple):
    """What is remembered of a run.

    Args:
        created: when it was made (unix time); that never changes.
        is_sweep: whether the folder is a sweep's.
        attempts: how its attempts.jsonl was.
        status: its status if it has ended for good, else None.
        score: what it has reached, in a few words.
        occupied: what it has occupied; None until `hpcdl cost` has read it.
    """

    created: float
    is_sweep: bool = False
    attempts: Fingerprint = Fingerprint()
    status: Status | None = None
    score: str = ""
    occupied: Occupied | None = None


@dataclass(frozen=True)
class _Content:
    form: str
    rows: dict[str, Row]


class Index:
    """The rows of one runs_root, by the run's path in it.

    Each user has an own file, which only this user writes. Nothing fails without it.

    Args:
        root: the runs_root.
        fresh: whether to forget what is remembered.
    """

    def __init__(self, root: Path, fresh: bool = False) -> None:
        self.root = root
        self.rows: dict[str, Row] = {}
        self._changed = fresh
        self._path = root / _FOLDER / f"{_user_name()}.json"
        if not fresh:
            self.rows = _read(self._path)

    def add(self, key: str, row: Row) -> None:
        """Remember a run."""
        self.rows[key] = row
        self._changed = True

    def keep_only(self, keys: set[str]) -> None:
        """Forget the runs that are gone."""
        gone = self.rows.keys() - keys
        for key in gone:
            del self.rows[key]
        self._changed = self._changed or bool(gone)

    def save(self) -> None:
        """Write the file if something is new; where that cannot be, the next look is slower."""
        if not self._changed:
            return
        rows = {}
        for key, row in self.rows.items():
            status = None if row.status is None else asdict(row.status)
            rows[key] = [*row[:3], status, row.score, row.occupied]
        # Not msgspec: it would write a loss of NaN as null
        text = json.dumps({"form": _FORM, "rows": rows}, separators=(",", ":"))
        with suppress(OSError):
            _make_folder(self._path.parent)
            write_text(self._path, text)
            self._changed = False


def _read(path: Path) -> dict[str, Row]:
    """The rows of a file; none if it is missing, damaged, or may be another user's work."""
    if not path.exists():
        return {}
    import msgspec

    try:
        if others_could_write(path):
            return {}
        content = msgspec.convert(json.loads(path.read_bytes()), _Content)
    except (OSError, ValueError, RecursionError, msgspec.ValidationError):
        return {}
    return content.rows if content.form == _FORM else {}


def _make_folder(folder: Path) -> None:
    """Make the folder of indexes: whoever may add runs to the runs_root may add an index."""
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
