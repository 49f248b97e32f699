"""The files of a packed set while it is made: rows and lines at their ends, and a record of how far all of them are."""

from __future__ import annotations

import json
import os
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hpcdl
from hpcdl.contract.file_names import shown
from hpcdl.contract.pack_layout import FORMAT, LINES, NPY, PACK, PARTS, VERSION
from hpcdl.errors import HpcdlError, Problem
from hpcdl.files import sha256_file, write_json
from hpcdl.staging.append_file import GrowingFile
from hpcdl.staging.pillow_picture import Picture, SourceFile

_HEADER_BYTES = 128


class SizesDifferError(Exception):
    """An image has another size than those before it, and one array cannot hold both."""


@dataclass(frozen=True)
class Layout:
    """What is written.

    Args:
        key: of everything that the files depend on; a record with another key is of other files.
        storage: ``npy``, one array a part, or ``tfrecord``.
        size: (height, width) of all images in pixels; None for TFRecords of any sizes.
        channels: 1 or 3.
        classes: their names.
        rows: the images of each part, if all can be used.
        shard_bytes: where a TFRecord file has so many, the next one begins.
    """

    key: str
    storage: str
    size: tuple[int, int] | None
    channels: int
    classes: tuple[str, ...]
    rows: dict[str, int]
    shard_bytes: int

    @property
    def row_bytes(self) -> int | None:
        """What an image takes in an array; None in a TFRecord."""
        if self.storage != NPY or self.size is None:
            return None
        return self.size[0] * self.size[1] * self.channels

    def blocks(self, parts: dict[str, list[SourceFile]], done: int) -> Iterator[Block]:
        """The files after the first ones, in blocks of about 4 MB of what is read or written."""
        for part in PARTS:
            first, size = min(done, len(parts[part])), 0
            done -= first
            for end, file in enumerate(parts[part][first:], first + 1):
                size += self.row_bytes or file.bytes
                if size >= 4 << 20 or end - first == 256 or end == len(parts[part]):
                    yield Block(part, first, parts[part][first:end])
                    first, size = end, 0


@dataclass(frozen=True)
class Block:
    """Files that follow each other in a part: the part, the place of the first one in it, the files."""

    part: str
    first: int
    files: list[SourceFile]


@dataclass
class Contents:
    """What the lines tell so far: labels and sizes of the rows, what was handled, what cannot be used."""

    labels: dict[str, list[int]] = field(default_factory=lambda: {part: [] for part in PARTS})
    sizes: set[tuple[int, int]] = field(default_factory=set)
    handled: Counter[str] = field(default_factory=Counter)
    unusable: list[dict[str, str]] = field(default_factory=list)

    def add(self, line: dict[str, Any], label: int) -> None:
        """Count one line, whose class has this number."""
        if line["row"] is None:
            self.unusable.append({"file": line["file"], "why": line["why"]})
            return
        self.labels[line["part"]].append(label)
        self.sizes.add(tuple(line["size"]))
        if line["handled"]:
            self.handled.update(line["handled"])


class PackWriter:
    """Writes the images of a set in the order of their rows.

    Args:
        folder: where the set's files are made.
        layout: what they are.
        record: a file beside the folder that tells how far they are, from an earlier attempt, too.
        kept: what it told, or None to begin anew.

    Raises:
        GoneError: what it tells of is not there.
    """

    def __init__(
        self, folder: Path, layout: Layout, record: Path, kept: dict[str, Any] | None
    ) -> None:
        self._folder, self._layout, self._record = folder, layout, record
        self.done = kept["done"] if kept else 0
        self._files: dict[str, list[GrowingFile]] = {part: [] for part in PARTS}
        self._open: list[GrowingFile] = []
        self.contents = Contents()
        folder.mkdir(exist_ok=True)
        try:
            self._lines = self._growing(LINES, kept["lines"] if kept else None)
            if kept:
                self._count_lines()
            for part in PARTS:
                for state in kept["parts"][part] if kept else ():
                    self._next_file(part, state["name"], state)
                if self._layout.row_bytes and not kept:
                    self._next_file(part, f"{part}.npy").add(self._header(self._layout.rows[part]))
        except BaseException:
            self.close()
            raise

    def place(self, block: Block) -> tuple[str | None, int]:
        """The file that a block's pixels are written to, and where in it; None for TFRecords, which `add` is given."""
        if self._layout.row_bytes is None:
            return None, 0
        return str(
            self._files[block.part][0].path
        ), _HEADER_BYTES + block.first * self._layout.row_bytes

    def add(self, block: Block, pictures: Sequence[Picture]) -> None:
        """Take in the images of a block, which were written to their place or have their data with them.

        Raises:
            SizesDifferError: one has not the size that all have.
        """
        files = self._files[block.part]
        row = sum(one.rows for one in files)
        begin, lines = row, []
        for file, picture in zip(block.files, pictures, strict=True):
            line: dict[str, Any] = {
                "file": file.file,
                "class": self._layout.classes[file.label],
                "part": block.part,
            }
            if picture.why:
                line |= {"row": None, "sha256": picture.sha256, "why": picture.why}
            else:
                if self._layout.size is not None and picture.size != self._layout.size:
                    raise SizesDifferError(
                        f"{file.file} has {picture.size[0]}x{picture.size[1]} pixels"
                    )
                line |= {
                    "row": row,
                    "sha256": picture.sha256,
                    "size": picture.size,
                    "handled": picture.handled,
                }
                row += 1
                if self._layout.row_bytes is None:
                    self._shard(block.part).add(picture.data, rows=1)
            lines.append(json.dumps(line) + "\n")
            self.contents.add(line, file.label)
        self._lines.add("".join(lines).encode())
        if self._layout.row_bytes is not None:
            files[0].adopt(
                self.place(block)[1], (row - begin) * self._layout.row_bytes, row - begin
            )
        self.done += len(block.files)

    def save(self) -> None:
        """Keep how far it is. A kill loses nothing that was saved; what a crash of the machine loses is found out."""
        state = {
            "key": self._layout.key,
            "storage": self._layout.storage,
            "done": self.done,
            "lines": self._lines.state(),
            "parts": {part: [one.state() for one in files] for part, files in self._files.items()},
        }
        aside = self._record.with_name(f"{self._record.name}.new")
        aside.write_text(json.dumps(state), encoding="utf-8")
        os.replace(aside, self._record)

    def finish(self, source: dict[str, Any]) -> dict[str, str]:
        """Make it whole, and have it on disk.

        Args:
            source: what `pack.json` tells of where they come from, beside what was handled.

        Returns:
            the sha256 of each file by its name.

        Raises:
            HpcdlError: a class has no image left.
        """
        contents, names = self.contents, self._layout.classes
        labels = contents.labels
        counts = {part: Counter(labels[part]) for part in PARTS}
        per_class = {part: [counts[part][label] for label in range(len(names))] for part in PARTS}
        for part in PARTS:
            if gone := [
                name for name, rows in zip(names, per_class[part], strict=True) if not rows
            ]:
                wrong = f"no usable image is left of {', '.join(gone)} in the {part} part"
                raise HpcdlError(str(Problem("", "", wrong)))
        for part in PARTS:
            self._complete(part)
        self.save()
        parts: dict[str, Any] = {
            part: {
                "rows": len(labels[part]),
                "rows_per_class": per_class[part],
                "labels": f"{part}.labels.npy",
                "files": [one.state() for one in self._files[part]],
            }
            for part in PARTS
        }
        self.close()
        for part in PARTS:
            content = _npy_header("<i4", (len(labels[part]),)) + struct.pack(
                f"<{len(labels[part])}i", *labels[part]
            )
            (self._folder / f"{part}.labels.npy").write_bytes(content)
        pack = {
            "format": FORMAT,
            "version": VERSION,
            "classes": [shown(name) for name in names],
            "image_size": next(iter(contents.sizes)) if len(contents.sizes) == 1 else None,
            "channels": self._layout.channels,
            "storage": self._layout.storage,
            "parts": parts,
            "source": {**source, "handled": contents.handled},
            "made_by": f"hpcdl {hpcdl.__version__}",
        }
        write_json(self._folder / PACK, pack)
        sums = {one["name"]: one["sha256"] for part in PARTS for one in parts[part]["files"]}
        small = [PACK, LINES, *(parts[part]["labels"] for part in PARTS)]
        return sums | {name: sha256_file(self._folder / name) for name in small}

    def close(self) -> None:
        """Have what was written on disk, and let go of it."""
        with (
            ExitStack() as stack
        ):  # on a full disk each file is closed, though one cannot be written
            for one in self._open:
                stack.callback(one.close)

    def _count_lines(self) -> None:
        numbers = {name: label for label, name in enumerate(self._layout.classes)}
        with (self._folder / LINES).open(encoding="utf-8") as stream:
            for line in map(json.loads, stream):
                self.contents.add(line, numbers[line["class"]])

    def _growing(self, name: str, state: dict[str, Any] | None = None) -> GrowingFile:
        self._open.append(GrowingFile(self._folder / name, state))
        return self._open[-1]

    def _next_file(self, part: str, name: str, state: dict[str, Any] | None = None) -> GrowingFile:
        files = self._files[part]
        if files:
            files[-1].close()  # there may be more of them than a process may have open
        files.append(self._growing(name, state))
        return files[-1]

    def _shard(self, part: str) -> GrowingFile:
        """The TFRecord file that the next row goes to."""
        files = self._files[part]
        if not files or files[-1].bytes >= self._layout.shard_bytes:
            return self._next_file(part, f"{part}-{len(files):05d}.tfrecord")
        return files[-1]

    def _header(self, rows: int) -> bytes:
        return _npy_header("|u1", (rows, *(self._layout.size or ()), self._layout.channels))

    def _complete(self, part: str) -> None:
        """What is known only at the end: the rows of an array, the number of TFRecord files."""
        files = self._files[part]
        for number, one in enumerate(files):
            if self._layout.storage == NPY:
                one.end(self._header(one.rows))
            else:
                path = one.path.with_name(f"{part}-{number:05d}-of-{len(files):05d}.tfrecord")
                os.replace(one.path, path)
                one.path = path


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The beginning of an .npy file, always as long, so that the rows in it can be corrected.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, format version 1.0.
    """
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", _HEADER_BYTES - 10)
        + f"{text:<{_HEADER_BYTES - 11}}\n".encode()
    )
