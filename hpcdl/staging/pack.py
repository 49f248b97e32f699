"""``hpcdl data pack``: turns a folder of images per class into a few large files."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hpcdl.contract.file_names import shown
from hpcdl.contract.pack_layout import NPY, PACK, TFRECORD, is_pack
from hpcdl.contract.version import __version__
from hpcdl.errors import HpcdlError, Problem, UserError
from hpcdl.extras import pip_install
from hpcdl.files import read_json
from hpcdl.staging.append_file import ChangedFileError
from hpcdl.staging.checksums import read_staged, verify
from hpcdl.staging.exclusive import Progress, alone, clear, move_in
from hpcdl.staging.folder import ImageFolder, scan
from hpcdl.staging.pack_writer import Layout, PackWriter, SizesDifferError
from hpcdl.staging.picture_processes import pictures_of, warm_up, worker_count
from hpcdl.staging.pillow_picture import Conversion, read

_RECORD = "progress.json"


@dataclass(frozen=True)
class Options:
    """How a folder is packed.

    Args:
        size: (height, width) in pixels that all images are resized to; None leaves them as they
            are.
        channels: 3 (RGB) or 1 (grey).
        test_split: the share of each class that becomes the test part if there is none; None: 0.2.
        storage: ``npy``, ``tfrecord``, or ``auto``: npy if all images have one size.
        shard_mb: MB of a TFRecord file, about.
        skip_bad: leave out what cannot be used.
        workers: processes; None: one for each CPU that this process may use, if there is enough
            to do.
    """

    size: tuple[int, int] | None = None
    channels: int = 3
    test_split: float | None = None
    storage: str = "auto"
    shard_mb: float = 200
    skip_bad: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class Packed:
    """A packed set.

    Args:
        path: its folder.
        pack: what pack.json says.
        source_bytes: the size of the images that it was made from.
        was_there: whether it was packed already.
    """

    path: Path
    pack: dict[str, Any]
    source_bytes: int
    was_there: bool = False


def pack(folder: Path, target: Path, options: Options, progress: Progress) -> Packed:
    """Pack a folder. After a kill, the same call resumes.

    The same folder and options give the same files, whatever the number of workers.

    Args:
        folder: of images per class, or of train and test folders with those.
        target: the folder to make, next to its checksums; an older packed set there is replaced.
        options: how.
        progress: callbacks.

    Raises:
        UserError: folder or target cannot be used.
        HpcdlError: images cannot be used, with all of them; or something cannot be read or written.
    """
    _check_installed()
    _check_places(folder, target)
    if options.workers != 1:
        warm_up()  # while this process lists the folder
    images = scan(folder, options.test_split)
    _say_notes(images, progress)
    packing = _Packing(folder, target, images, options, progress)
    source_bytes = sum(file.bytes for _, file in images.files)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target, keeps=True, progress=progress) as aside:
            unchanged = packing.unchanged()
            if unchanged:
                return Packed(target, unchanged, source_bytes, was_there=True)
            sums = packing.make(aside)
            placed = {f"{target.name}/{name}": digest for name, digest in sums.items()}
            move_in(target, aside, placed, str(folder))
    except OSError as error:
        where = f"{error.filename or target}: {error.strerror or error}"
        raise HpcdlError(f"cannot pack {folder}: {where}; what was done so far is kept") from error
    except (MemoryError, BrokenProcessPool) as error:
        raise HpcdlError(
            "no memory is left, or a process that reads images was killed for lack of it; "
            "what was done is kept: the same command resumes, --workers 1 needs least"
        ) from error
    return Packed(target, read_json(target / PACK) or {}, source_bytes)


def _say_notes(images: ImageFolder, progress: Progress) -> None:
    for note in images.notes:
        progress.say(note)
    if images.joined:
        names = ", ".join(map(shown, images.joined))
        progress.say(
            f"{names}: becomes part of train, from which data.validation_split takes its share"
        )
    for file in images.outside:
        progress.say(f"left out, for it lies in no class's folder: {Problem('', '', file)}")


def _check_installed() -> None:
    """Check that the packages are installed, and name all that are missing at once."""
    modules = {"pillow": "PIL", "google-crc32c": "google_crc32c"}
    missing = [package for package, module in modules.items() if _is_missing(module)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        names = " and ".join(missing)
        raise UserError(
            f"to pack images, {names} {verb} needed and not installed: {pip_install(*missing)}"
        )


def _is_missing(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return True
    return False


def _check_places(folder: Path, target: Path) -> None:
    other = "choose another place with --to or --name"
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    source, goal = folder.resolve(), target.resolve()
    if source == goal or source in goal.parents or goal in source.parents:
        raise UserError(f"{target} is to be made, but {folder} is there; {other}")
    if target.exists() and not is_pack(str(target)):
        raise UserError(f"{target} exists, and is not a packed set; {other}")


class _Packing:
    """One packing of a folder.

    Args:
        folder: with the images.
        target: the folder to make.
        images: what the folder holds.
        options: how it is packed.
        progress: callbacks.
    """

    def __init__(
        self,
        folder: Path,
        target: Path,
        images: ImageFolder,
        options: Options,
        progress: Progress,
    ) -> None:
        self._folder, self._target = folder, target
        self._images, self._options, self._progress = images, options, progress
        self._files = [file for _, file in images.files]
        self._digest = _digest(images, options)

    def unchanged(self) -> dict[str, Any] | None:
        """What pack.json says, if this very set is there already, as it was packed."""
        pack = read_json(self._target / PACK) or {}
        source = pack.get("source", {})
        if source.get("plan") != self._digest:
            return None
        if len(source["skipped"]) > len(self._images.outside) and not self._options.skip_bad:
            return None
        entry = read_staged(self._target.parent, self._target)
        hashed_bytes: dict[Path, int] = {}
        what = f"looking whether {self._target.name} is unchanged"

        def tell(file: Path, done: int) -> None:
            hashed_bytes[file] = done
            self._progress.tell(what, sum(hashed_bytes.values()), entry.bytes)

        states = verify(entry, tell)
        return pack if set(states.values()) == {"ok"} else None

    def make(self, aside: Path) -> dict[str, str]:
        """Make the files of the set.

        Args:
            aside: the folder to make them in, perhaps with those of an earlier attempt.

        Returns:
            the sha256 of each.
        """
        writer = self._filled(aside)
        try:
            return self._finished(writer)
        finally:
            writer.close()

    def _filled(self, aside: Path) -> PackWriter:
        """A writer that has all images; with ``auto``, TFRecords if they differ in size."""
        key = self._key()
        record = read_json(aside / _RECORD)
        if record is not None and record.get("key") != key:
            record = None
        storage = NPY if self._options.storage == "auto" else self._options.storage
        if record is not None:
            storage = record["storage"]
        try:
            return self._attempt(aside, self._layout(key, storage), record)
        except SizesDifferError as error:
            problem = f"the images differ in size: {error}"
            if self._options.storage == NPY:
                clear(aside)
                raise UserError(
                    f"{problem}; --size HxW resizes them, --format tfrecord keeps them"
                ) from error
        self._progress.say(
            f"{problem}; they are kept as they are, in TFRecords (--size HxW resizes them)"
        )
        return self._attempt(aside, self._layout(key, TFRECORD), None)

    def _attempt(self, aside: Path, layout: Layout, record: dict[str, Any] | None) -> PackWriter:
        """Write all images.

        Args:
            aside: where.
            layout: what is written.
            record: how far an earlier attempt came; None starts from the beginning.

        Raises:
            SizesDifferError: the images need another layout.
        """
        writer = self._open(aside, layout, record)
        try:
            if writer.done:
                total = len(self._files)
                self._progress.say(f"resuming after {writer.done:,} of {total:,} images")
            self._fill(writer, layout)
        except BaseException:
            writer.close()
            raise
        return writer

    def _open(self, aside: Path, layout: Layout, record: dict[str, Any] | None) -> PackWriter:
        """A writer that resumes if the files are as they were, or else starts again."""
        folder = aside / self._target.name
        if record is not None:
            with suppress(ChangedFileError):
                return PackWriter(folder, layout, aside / _RECORD, record)
        clear(aside)
        return PackWriter(folder, layout, aside / _RECORD, None)

    def _key(self) -> str:
        """A digest of everything that the files depend on."""
        import PIL

        versions = f"{PIL.__version__} {__version__}"
        return hashlib.sha256(f"{self._digest} {versions}".encode()).hexdigest()

    def _layout(self, key: str, storage: str) -> Layout:
        size = self._options.size
        if size is None and storage == NPY:
            size = self._first_size()
        rows = {part: len(files) for part, files in self._images.parts.items()}
        shard_bytes = int(self._options.shard_mb * 1e6)
        channels, classes = self._options.channels, self._images.classes
        return Layout(key, storage, size, channels, classes, rows, shard_bytes)

    def _first_size(self) -> tuple[int, int] | None:
        """The (height, width) of the first usable image; None if there is none."""
        conversion = Conversion(str(self._folder), self._options.channels, None)
        for file in self._files:
            picture = read(conversion, file)
            if not picture.why:
                return picture.size
        return None

    def _fill(self, writer: PackWriter, layout: Layout) -> None:
        """Add to writer the images that it lacks."""
        names = layout.classes if layout.storage == TFRECORD else None
        conversion = Conversion(str(self._folder), layout.channels, self._options.size, names)
        total_bytes = sum(file.bytes for file in self._files)
        done_bytes = sum(file.bytes for file in self._files[: writer.done])
        workers = worker_count(self._options.workers, self._files[writer.done :])
        blocks = layout.blocks(self._images.parts, writer.done)
        with closing(pictures_of(conversion, blocks, writer, workers)) as stream:
            for block, pictures in stream:
                writer.add(block, pictures)
                writer.save()
                done_bytes += sum(file.bytes for file in block.files)
                self._progress.tell(self._folder.name, done_bytes, total_bytes)

    def _finished(self, writer: PackWriter) -> dict[str, str]:
        """The checksums of the finished files; says which images cannot be used.

        Raises:
            HpcdlError: some cannot be used, and are not to be skipped.
        """
        images = self._images
        bad = list(writer.contents.unusable)
        bad += [{"file": file, "why": "lies in no class's folder"} for file in images.stray]
        lines = "".join(f"\n  {Problem(entry['file'], '', entry['why'])}" for entry in bad)
        if bad and not self._options.skip_bad:
            total = len(self._files) + len(images.stray)
            raise HpcdlError(
                f"{len(bad):,} of {total:,} images cannot be used:{lines}\nnothing was put in "
                "place, and what was done is kept: --skip-bad goes on without these"
            )
        if bad:
            self._progress.say(f"left out, {len(bad):,} that cannot be used:{lines}")
        why = "no image, lies in no class's folder"
        outside = [{"file": file, "why": why} for file in images.outside]
        source = {
            "folder": str(self._folder),
            "images": len(self._files),
            "skipped": [*bad, *outside],
            "plan": self._digest,
        }
        return writer.finish(source)


def _digest(images: ImageFolder, options: Options) -> str:
    """A digest of what the packed set depends on.

    These are the options, and the name, size and time of each file.
    """
    digest = hashlib.sha256()
    settings = [
        options.size,
        options.channels,
        options.storage,
        options.shard_mb,
        images.classes,
        images.outside,
        images.stray,
    ]
    digest.update(json.dumps(settings).encode())
    for part, file in images.files:
        line = f"\0{part} {file.label} {file.bytes} {file.mtime_ns} {file.file}"
        digest.update(os.fsencode(line))
    return digest.hexdigest()
