"""``hpcdl data pack``: a folder of images per class becomes a few large files, once."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import hpcdl
from hpcdl.contract.file_names import shown
from hpcdl.contract.machine import cpus
from hpcdl.errors import HpcdlError, Problem, UserError
from hpcdl.extras import pip_install
from hpcdl.files import read_json
from hpcdl.staging import PACK
from hpcdl.staging.append_file import GoneError
from hpcdl.staging.checksums import read_staged, verify
from hpcdl.staging.exclusive import Talk, alone, clear, move_in
from hpcdl.staging.folder import ImageFolder, scan
from hpcdl.staging.pack_writer import Block, Layout, PackWriter, SizesDifferError
from hpcdl.staging.pillow_picture import (
    Picture,
    SourceFile,
    Wanted,
    begin_worker,
    keep_memory,
    read,
    read_all,
)

_RECORD = "progress.json"
_CONTEXT = multiprocessing.get_context(
    "forkserver"
)  # no copies of this process's threads and locks
_ALONE = 1000  # files, or as many times 64 kB, that one process has read before others have started


@dataclass(frozen=True)
class Options:
    """How a folder is packed.

    Args:
        size: (height, width) in pixels that all images are resized to; None: as they are.
        channels: 3 (RGB) or 1 (grey).
        test_split: the share of each class that becomes the test part where there is none; None: 0.2.
        storage: ``npy``, ``tfrecord``, or ``auto``: npy where all images have one size.
        shard_mb: MB of a TFRecord file, about.
        skip_bad: leave out what cannot be used.
        workers: processes; None: as many as this process may use CPUs, if there is enough to do.
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
    """A packed set: its folder, what pack.json says, the bytes of its source, whether it was there already."""

    path: Path
    pack: dict[str, Any]
    source_bytes: int
    was_there: bool = False


def pack(folder: Path, target: Path, options: Options, talk: Talk) -> Packed:
    """Pack a folder; what an earlier call with the same arguments did, before it was killed, is not done again.

    The same files come out for the same folder and options, whatever the number of workers.

    Args:
        folder: of images per class, or of train and test folders with those.
        target: the folder to make, beside its checksums; an older packed set there is replaced.
        options: how.
        talk: whom to tell how far it is.

    Raises:
        UserError: folder or target are not what they should be.
        HpcdlError: images cannot be used, all of them listed; or something cannot be read or written.
    """
    _check_installed()
    _check_places(folder, target)
    if options.workers != 1 and cpus() > 1:
        _CONTEXT.set_forkserver_preload(
            ["hpcdl.cli", "hpcdl.staging.pillow_picture", "PIL.Image"]
        )  # loaded once, not by each
        ensure_running()  # it loads them while this process looks through the folder
    found = scan(folder, options.test_split)
    for note in found.notes:
        talk.say(note)
    if found.joined:
        names = ", ".join(map(shown, found.joined))
        talk.say(
            f"{names}: becomes part of train, from which data.validation_split takes its share"
        )
    for file in found.outside:
        talk.say(f"left out, for it lies in no class's folder: {Problem('', '', file)}")
    plan = _plan(found, options)
    source_bytes = sum(file.bytes for _, file in found.files)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target, keeps=True, talk=talk) as aside:
            if there := _unchanged(target, plan, found, options, talk):
                return Packed(target, there, source_bytes, was_there=True)
            writer = _filled(folder, target, found, options, aside, plan, talk)
            try:
                sums = _finished(folder, writer, found, options, plan, talk)
            finally:
                writer.close()
            move_in(
                target,
                aside,
                {f"{target.name}/{name}": digest for name, digest in sums.items()},
                str(folder),
            )
    except OSError as error:
        where = f"{error.filename or target}: {error.strerror or error}"
        raise HpcdlError(f"cannot pack {folder}: {where}; what was done so far is kept") from error
    except (MemoryError, BrokenProcessPool) as error:
        wrong = "no memory is left, or a process that reads images was killed for want of it"
        raise HpcdlError(
            f"{wrong}; what was done is kept: the same command goes on, --workers 1 needs least"
        ) from error
    return Packed(target, read_json(target / PACK) or {}, source_bytes)


def _check_installed() -> None:
    """See that the packages are installed; all that are not are named at once."""
    modules = {"pillow": "PIL", "google-crc32c": "google_crc32c"}
    lacking = [package for package, module in modules.items() if _lacks(module)]
    if lacking:
        verb = "is" if len(lacking) == 1 else "are"
        names = " and ".join(lacking)
        raise UserError(
            f"to pack images, {names} {verb} needed and not installed: {pip_install(*lacking)}"
        )


def _lacks(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return True
    return False


def _check_places(folder: Path, target: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    here, there = folder.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UserError(
            f"{target} is to be made, but {folder} is there; choose another place with --to or --name"
        )
    if target.exists() and not (target / PACK).exists():
        raise UserError(
            f"{target} is there, and is no packed set; choose another place with --to or --name"
        )


def _plan(found: ImageFolder, options: Options) -> str:
    """A digest of what the packed set depends on: the options, and the name, size and time of each file."""
    digest = hashlib.sha256()
    how = [
        options.size,
        options.channels,
        options.storage,
        options.shard_mb,
        found.classes,
        found.outside,
        found.stray,
    ]
    digest.update(json.dumps(how).encode())
    for part, file in found.files:
        digest.update(
            os.fsencode(f"\0{part} {file.label} {file.bytes} {file.mtime_ns} {file.file}")
        )
    return digest.hexdigest()


def _unchanged(
    target: Path, plan: str, found: ImageFolder, options: Options, talk: Talk
) -> dict[str, Any] | None:
    """What pack.json says, if this very set is there, as it was packed."""
    there = read_json(target / PACK) or {}
    source = there.get("source", {})
    if source.get("plan") != plan or (
        len(source["skipped"]) > len(found.outside) and not options.skip_bad
    ):
        return None
    sums = read_staged(target.parent, target)
    seen: dict[Path, int] = {}

    def tell(file: Path, done: int) -> None:
        seen[file] = done
        talk.tell(f"looking whether {target.name} is unchanged", sum(seen.values()), sums.bytes)

    return there if set(verify(sums, tell).values()) == {"ok"} else None


def _filled(
    folder: Path,
    target: Path,
    found: ImageFolder,
    options: Options,
    aside: Path,
    plan: str,
    talk: Talk,
) -> PackWriter:
    """A writer that has all images."""
    import PIL

    key = hashlib.sha256(f"{plan} {PIL.__version__} {hpcdl.__version__}".encode()).hexdigest()
    kept = read_json(aside / _RECORD)
    if kept is not None and kept.get("key") != key:
        kept = None
    storage = kept["storage"] if kept else {"auto": "npy"}.get(options.storage, options.storage)
    while True:
        layout = _layout(folder, found, options, key, storage)
        try:
            if kept is None:
                clear(aside)
            writer = PackWriter(aside / target.name, layout, aside / _RECORD, kept)
        except GoneError:
            kept = None
            continue
        try:
            if writer.done:
                talk.say(f"going on after {writer.done:,} of {len(found.files):,} images")
            _fill(writer, folder, found, options, layout, talk)
        except SizesDifferError as error:
            writer.close()
            first = "x".join(map(str, layout.size or ()))
            wrong = f"the images differ in size: {error}, and those before {first}"
            if options.storage == "npy":
                clear(aside)
                raise UserError(
                    f"{wrong}; --size HxW resizes them, --format tfrecord keeps them"
                ) from error
            talk.say(f"{wrong}; they are kept as they are, in TFRecords (--size HxW resizes them)")
            kept, storage = None, "tfrecord"
        except BaseException:
            writer.close()
            raise
        else:
            return writer


def _layout(folder: Path, found: ImageFolder, options: Options, key: str, storage: str) -> Layout:
    size = options.size
    if size is None and storage == "npy":
        wanted = Wanted(str(folder), options.channels, None)
        pictures = (read(wanted, file) for _, file in found.files)
        size = next((picture.size for picture in pictures if not picture.why), None)
    rows = {part: len(files) for part, files in found.parts.items()}
    return Layout(
        key, storage, size, options.channels, found.classes, rows, int(options.shard_mb * 1e6)
    )


def _fill(
    writer: PackWriter,
    folder: Path,
    found: ImageFolder,
    options: Options,
    layout: Layout,
    talk: Talk,
) -> None:
    """Add to writer the images that it has not."""
    names = layout.classes if layout.storage == "tfrecord" else None
    wanted = Wanted(str(folder), layout.channels, options.size, names)
    files = [file for _, file in found.files]
    total, done = (
        sum(file.bytes for file in files),
        sum(file.bytes for file in files[: writer.done]),
    )
    workers = _workers(options, files[writer.done :])
    with closing(
        _pictures(wanted, layout.blocks(found.parts, writer.done), writer, workers)
    ) as stream:
        for block, pictures in stream:
            writer.add(block, pictures)
            writer.save()
            done += sum(file.bytes for file in block.files)
            talk.tell(folder.name, done, total)


def _workers(options: Options, files: list[SourceFile]) -> int:
    if options.workers is not None:
        return options.workers
    enough = 1 + max(len(files), sum(file.bytes for file in files) >> 16) // _ALONE
    return min(cpus(), enough)


def _pictures(
    wanted: Wanted, work: Iterator[Block], writer: PackWriter, workers: int
) -> Generator[tuple[Block, list[Picture]], None, None]:
    """Each block with its images, in their order, while others read the next few blocks."""
    if workers == 1:
        keep_memory()
        for block in work:
            yield block, read_all(wanted, block.files, *writer.place(block))
        return
    waiting: deque[tuple[Block, Future[list[Picture]]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=_CONTEXT, initializer=begin_worker) as pool:
        try:
            for block in work:
                waiting.append(
                    (block, pool.submit(read_all, wanted, block.files, *writer.place(block)))
                )
                if len(waiting) > workers + 2:
                    yield waiting[0][0], waiting.popleft()[1].result()
            while waiting:
                yield waiting[0][0], waiting.popleft()[1].result()
        finally:
            # A worker that still starts fails aloud if this process has left: wait for the blocks in hand
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(
    folder: Path, writer: PackWriter, found: ImageFolder, options: Options, plan: str, talk: Talk
) -> dict[str, str]:
    """The checksums of the finished files; those images that cannot be used are told of."""
    contents = writer.contents
    bad = [
        *contents.unusable,
        *({"file": file, "why": "lies in no class's folder"} for file in found.stray),
    ]
    lines = "".join(f"\n  {Problem(row['file'], '', row['why'])}" for row in bad)
    if bad and not options.skip_bad:
        what = f"{len(bad):,} of {len(found.files) + len(found.stray):,} images cannot be used"
        kept = (
            "nothing was put in place, and what was done is kept: --skip-bad goes on without these"
        )
        raise HpcdlError(f"{what}:{lines}\n{kept}")
    if bad:
        talk.say(f"left out, {len(bad):,} that cannot be used:{lines}")
    outside = [
        {"file": file, "why": "no image, lies in no class's folder"} for file in found.outside
    ]
    source = {
        "folder": str(folder),
        "images": len(found.files),
        "skipped": [*bad, *outside],
        "plan": plan,
    }
    return writer.finish(source)
