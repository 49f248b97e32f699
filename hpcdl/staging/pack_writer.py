"""The files of a packed set while it is made, and a record of how far all of them are."""

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

from hpcdl.contract.file_names import shown
from hpcdl.contract.pack_layout import FORMAT, LINES, NPY, PACK, PARTS, VERSION
from hpcdl.contract.version import __version__
from hpcdl.errors import HpcdlError, Problem
from hpcdl.files import sha256_file, write_json
from hpcdl.staging.append_file import AppendFile
from hpcdl.staging.pillow_picture import Picture, SourceFile

_HEADER_BYTES = 128
_BLOCK_BYTES, _BLOCK_FILES = 4 << 20, 256  # of a block, at most


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
        shard_bytes: the size of a TFRecord file after which the next one begins.
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
        """The size of an image in an array; None in a TFRecord."""
        if self.storage != NPY or self.size is None:
            return None
        return self.size[0] * self.size[1] * self.channels

    def blocks(self, parts: dict[str, list[SourceFile]], done: int) -> Iterator[Block]:
        """The files after the first ones, in blocks of about 4 MB of what is read or written.

        Args:
            parts: the files of each part.
            done: how many of all files are left out, from the first one on.
        """
        for part in PARTS:
            first = min(done, len(parts[part]))
            done -= first
            block_bytes = 0
            for end, file in enumerate(parts[part][first:], first + 1):
                block_bytes += self.row_bytes or file.bytes
                is_last = end == len(parts[part])
                if is_last or block_bytes >= _BLOCK_BYTES or end - first == _BLOCK_FILES:
                    yield Block(part, first, parts[part][first:end])
                    first, block_bytes = end, 0


@dataclass(frozen=True)
class Block:
    """Files that follow each other in a part.

    Args:
        part: ``train`` or ``test``.
        first: the place of the first one in the part.
        files: the files.
    """

    part: str
    first: int
    files: list[SourceFile]


@dataclass
class Contents:
    """What the lines of `LINES` tell so far.

    Args:
        labels: the class number of each row, by part.
        sizes: the (height, width) that occur.
        handled: how many images had each step of the conversion.
        unusable: the file and the reason of those that cannot be used.
    """

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

    def rows_per_class(self, part: str, classes: int) -> list[int]:
        """The rows of each class in a part."""
        counts = Counter(self.labels[part])
        return [counts[label] for label in range(classes)]


class PackWriter:
    """Writes the images of a set in the order of their rows.

    Args:
        folder: where the set's files are made.
        layout: what they are.
        record: a file next to the folder that tells how far they are.
        state: what it tells of an earlier attempt, or None to start from the beginning.

    Raises:
        ChangedFileError: the files are not as the state describes them.
    """

    def __init__(
        self, folder: Path, layout: Layout, record: Path, state: dict[str, Any] | None
    ) -> None:
        self._folder, self._layout, self._record = folder, layout, record
        self.done = 0  # images, of which some may be unusable
        self._files: dict[str, list[AppendFile]] = {part: [] for part in PARTS}
        self._open_files: list[AppendFile] = []
        self.contents = Contents()
        folder.mkdir(exist_ok=True)
        try:
            if state is None:
                self._begin()
            else:
                self._resume(state)
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._lines = self._open(LINES)
        if self._layout.row_bytes:
            for part in PARTS:
                header = self._header(self._layout.rows[part])
                self._next_file(part, f"{part}.npy").add(header)

    def _resume(self, state: dict[str, Any]) -> None:
        self.done = state["done"]
        self._lines = self._open(LINES, state["lines"])
        self._count_lines()
        for part in PARTS:
            for file_state in state["parts"][part]:
                self._next_file(part, file_state["name"], file_state)

    def place(self, block: Block) -> tuple[str | None, int]:
        """The file that a block's pixels are written to, and where in it.

        Returns:
            no file for TFRecords, which `add` is given.
        """
        row_bytes = self._layout.row_bytes
        if row_bytes is None:
            return None, 0
        path = self._files[block.part][0].path
        return str(path), _HEADER_BYTES + block.first * row_bytes

    def add(self, block: Block, pictures: Sequence[Picture]) -> None:
        """Add the images of a block.

        Args:
            block: their files.
            pictures: the images; their pixels were written to `place`, or they have their data.

        Raises:
            SizesDifferError: one does not have the size that all have.
        """
        row_bytes = self._layout.row_bytes
        first_row = row = sum(file.rows for file in self._files[block.part])
        lines = []
        for file, picture in zip(block.files, pictures, strict=True):
            class_name = self._layout.classes[file.label]
            line: dict[str, Any] = {"file": file.file, "class": class_name, "part": block.part}
            if picture.why:
                line |= {"row": None, "sha256": picture.sha256, "why": picture.why}
            else:
                self._check_size(file, picture)
                line |= {"row": row, "sha256": picture.sha256}
                line |= {"size": picture.size, "handled": picture.handled}
                row += 1
                if row_bytes is None:
                    self._shard(block.part).add(picture.data, rows=1)
            lines.append(json.dumps(line) + "\n")
            self.contents.add(line, file.label)
        self._lines.add("".join(lines).encode())
        if row_bytes is not None:
            rows = row - first_row
            _, begin = self.place(block)
            self._files[block.part][0].adopt(begin, rows * row_bytes, rows)
        self.done += len(block.files)

    def _check_size(self, file: SourceFile, picture: Picture) -> None:
        size = self._layout.size
        if size is not None and picture.size != size:
            height, width = picture.size
            raise SizesDifferError(
                f"{file.file} has {height}x{width} pixels, and those before {size[0]}x{size[1]}"
            )

    def save(self) -> None:
        """Record how far the files are.

        A kill loses nothing that was recorded; what a crash of the machine loses is detected.
        """
        parts = {}
        for part, files in self._files.items():
            parts[part] = [file.state() for file in files]
        state = {
            "key": self._layout.key,
            "storage": self._layout.storage,
            "done": self.done,
            "lines": self._lines.state(),
            "parts": parts,
        }
        # Not synced: after a crash of the machine the hashes tell, and a sync a block costs time
        aside = self._record.with_name(f"{self._record.name}.new")
        aside.write_text(json.dumps(state), encoding="utf-8")
        os.replace(aside, self._record)

    def finish(self, source: dict[str, Any]) -> dict[str, str]:
        """Complete the files, and sync them to disk.

        Args:
            source: what `pack.json` tells of where they come from, besides what was handled.

        Returns:
            the sha256 of each file by its name.

        Raises:
            HpcdlError: a class has no image left.
        """
        self._check_classes()
        for part in PARTS:
            self._complete(part)
        self.save()
        parts = {part: self._about(part) for part in PARTS}
        self.close()
        for part in PARTS:
            self._write_labels(part)
        sizes = self.contents.sizes
        pack = {
            "format": FORMAT,
            "version": VERSION,
            "classes": [shown(name) for name in self._layout.classes],
            "image_size": next(iter(sizes)) if len(sizes) == 1 else None,
            "channels": self._layout.channels,
            "storage": self._layout.storage,
            "parts": parts,
            "source": {**source, "handled": self.contents.handled},
            "made_by": f"hpcdl {__version__}",
        }
        write_json(self._folder / PACK, pack)
        sums = {}
        for about in parts.values():
            for state in about["files"]:
                sums[state["name"]] = state["sha256"]
        for name in (PACK, LINES, *(about["labels"] for about in parts.values())):
            sums[name] = sha256_file(self._folder / name)
        return sums

    def _check_classes(self) -> None:
        names = self._layout.classes
        for part in PARTS:
            rows_per_class = self.contents.rows_per_class(part, len(names))
            empty = [name for name, rows in zip(names, rows_per_class, strict=True) if not rows]
            if empty:
                message = f"no usable image is left of {', '.join(empty)} in the {part} part"
                raise HpcdlError(str(Problem("", "", message)))

    def _about(self, part: str) -> dict[str, Any]:
        """What pack.json tells of a part."""
        return {
            "rows": len(self.contents.labels[part]),
            "rows_per_class": self.contents.rows_per_class(part, len(self._layout.classes)),
            "labels": _labels_name(part),
            "files": [file.state() for file in self._files[part]],
        }

    def _write_labels(self, part: str) -> None:
        labels = self.contents.labels[part]
        header = _npy_header("<i4", (len(labels),))
        content = struct.pack(f"<{len(labels)}i", *labels)
        (self._folder / _labels_name(part)).write_bytes(header + content)

    def close(self) -> None:
        """Sync all files to disk and close them."""
        # Each file is closed, even if another one cannot be written to a full disk
        with ExitStack() as stack:
            for file in self._open_files:
                stack.callback(file.close)

    def _count_lines(self) -> None:
        labels = {name: label for label, name in enumerate(self._layout.classes)}
        with (self._folder / LINES).open(encoding="utf-8") as stream:
            for text in stream:
                line = json.loads(text)
                self.contents.add(line, labels[line["class"]])

    def _open(self, name: str, state: dict[str, Any] | None = None) -> AppendFile:
        file = AppendFile(self._folder / name, state)
        self._open_files.append(file)
        return file

    def _next_file(self, part: str, name: str, state: dict[str, Any] | None = None) -> AppendFile:
        files = self._files[part]
        if files:
            files[-1].close()  # there may be more of them than a process may have open
        files.append(self._open(name, state))
        return files[-1]

    def _shard(self, part: str) -> AppendFile:
        """The TFRecord file that the next row goes to."""
        files = self._files[part]
        if not files or files[-1].bytes >= self._layout.shard_bytes:
            return self._next_file(part, f"{part}-{len(files):05d}.tfrecord")
        return files[-1]

    def _header(self, rows: int) -> bytes:
        return _npy_header("|u1", (rows, *(self._layout.size or ()), self._layout.channels))

    def _complete(self, part: str) -> None:
        """Add what is known only at the end: the rows of an array, the number of TFRecord files."""
        files = self._files[part]
        for number, file in enumerate(files):
            if self._layout.storage == NPY:
                file.end(self._header(file.rows))
            else:
                name = f"{part}-{number:05d}-of-{len(files):05d}.tfrecord"
                path = file.path.with_name(name)
                os.replace(file.path, path)
                file.path = path


def _labels_name(part: str) -> str:
    return f"{part}.labels.npy"


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The beginning of an .npy file, of a fixed length, so that its rows can be corrected later.

    numpy's own header is not used: only newer versions leave room for more rows.
    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0.
    """
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    length = struct.pack("<H", _HEADER_BYTES - 10)
    padded = f"{text:<{_HEADER_BYTES - 11}}\n"
    return b"\x93NUMPY\x01\x00" + length + padded.encode()
