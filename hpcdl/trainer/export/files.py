"""The folder of exports: each kind is there as a whole or not at all, and what is known of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
import zlib
from typing import Any, Dict, Iterator, List

from hpcdl.contract import export_kinds
from hpcdl.contract.atomic import replace_with
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import write_json

_ASIDE = "aside-"  # what is not whole yet
_OLDER = _ASIDE + "older-"  # a folder that is being replaced
_CHUNK = 1 << 20
_ZIPPED = 1 << 28  # bytes; what is larger takes too long to be compressed for a figure


class ExportFolder:
    """The folder of exports of one run.

    Args:
        path: the folder, which need not exist.

    ``about`` is the path of model.json, and ``scratch`` a folder that may be made and is removed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # An own name: what a killed export still writes is not taken for this one's
        self._aside = os.path.join(path, _ASIDE + uuid.uuid4().hex[:8] + "-")
        self.scratch = self._aside + "graph"
        self.about = os.path.join(path, export_kinds.ABOUT)

    def prepare(self) -> None:
        """Make the folder, and remove what a killed attempt left half-written."""
        os.makedirs(self.path, exist_ok=True)
        for name in os.listdir(self.path):
            if name.startswith(_OLDER):  # a kill between two renames: the older one is whole
                target = os.path.join(self.path, name[len(_OLDER) :])
                if not os.path.lexists(target):
                    os.rename(os.path.join(self.path, name), target)
            if name.startswith(_ASIDE):
                _remove(os.path.join(self.path, name))

    def write_about(self, about: Dict[str, Any]) -> None:
        """Write model.json."""
        keep_trying(export_kinds.ABOUT, lambda: write_json(self.about, about))

    @contextlib.contextmanager
    def replacing(self, kind: str) -> Iterator[str]:
        """A path where the block makes a kind: after it, this takes the place of an older one.

        If the block raises, the older one stays and nothing else is left.
        """
        name = export_kinds.FILES[kind]
        aside = self._aside + name  # the ending stays: libraries look at it
        try:
            yield aside
            _put(os.path.join(self.path, name), aside)
        finally:
            _remove(aside)

    def read_rows(self) -> List[Dict[str, Any]]:
        """The rows of export.json; none if it is missing or cannot be read."""
        try:
            with open(self._table, encoding="utf-8") as file:
                rows = json.load(file)["kinds"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [row for row in rows if isinstance(row, dict) and "kind" in row]

    def write_rows(self, rows: List[Dict[str, Any]]) -> None:
        """Write export.json: these rows, and the older ones of other kinds that are still there.

        Where a kind could not be made anew, the older file has stayed. Its row stays, too, and
        gets ``why_not_again``, the reason.
        """
        newer = {row["kind"]: row for row in rows}
        every = []
        for row in self.read_rows():
            again = newer.get(row["kind"], {})
            if not self._is_true(row) or ("why" in row and again):
                continue
            if not again:
                every.append(row)
            elif "why" in again:
                every.append(dict(row, why_not_again=again["why"]))
                del newer[row["kind"]]
        every += newer.values()
        content = {"schema_version": 1, "kinds": every}
        keep_trying(export_kinds.TABLE, lambda: write_json(self._table, content))

    def _is_true(self, row: Dict[str, Any]) -> bool:
        """Whether a row's file is there; a row with a reason has none."""
        return "why" in row or os.path.exists(os.path.join(self.path, str(row.get("file"))))

    @property
    def _table(self) -> str:
        return os.path.join(self.path, export_kinds.TABLE)


def facts_of(path: str) -> Dict[str, Any]:
    """How large a file or folder is, and its hash.

    Returns:
        ``bytes``; ``gzip``, the bytes of each file compressed, null above 256 MB; ``sha256``, of a
        folder that of lines like those of ``sha256sum``, sorted by name.
    """
    bytes_, zipped = 0, 0
    lines = []
    for name in _files_in(path):
        sha256, squeezed = hashlib.sha256(), zlib.compressobj(6, zlib.DEFLATED, 31)
        with open(os.path.join(path, name) if name else path, "rb") as file:
            for chunk in iter(lambda: file.read(_CHUNK), b""):
                bytes_ += len(chunk)
                sha256.update(chunk)
                if bytes_ <= _ZIPPED:
                    zipped += len(squeezed.compress(chunk))
        zipped += len(squeezed.flush())
        lines.append("{}  {}\n".format(sha256.hexdigest(), name))
    whole = lines[0].split()[0]
    if os.path.isdir(path):
        whole = hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
    return {"bytes": bytes_, "gzip": zipped if bytes_ <= _ZIPPED else None, "sha256": whole}


def _files_in(path: str) -> List[str]:
    """The files in a folder, relative to it and sorted; of a file an empty name."""
    if not os.path.isdir(path):
        return [""]
    names = []
    for folder, _, files in os.walk(path):
        for file in files:
            names.append(os.path.relpath(os.path.join(folder, file), path))
    return sorted(names)


def _put(path: str, aside: str) -> None:
    """Give what was made aside its name, once it is on disk."""
    if not os.path.isdir(aside):
        replace_with(path, aside)
        return
    for name in _files_in(aside):
        with open(os.path.join(aside, name), "rb") as file:
            os.fsync(file.fileno())
    older = os.path.join(os.path.dirname(path), _OLDER + os.path.basename(path))
    _remove(older)
    if os.path.lexists(path):  # a folder cannot be replaced in one step
        os.rename(path, older)
    os.rename(aside, path)
    _remove(older)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
