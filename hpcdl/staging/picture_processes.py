"""Reads blocks of pictures in several processes at once, and gives them in their order."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.forkserver import ensure_running

from hpcdl.contract.machine import cpus
from hpcdl.staging.pack_writer import Block, PackWriter
from hpcdl.staging.pillow_picture import (
    Conversion,
    Picture,
    SourceFile,
    begin_worker,
    keep_memory,
    read_all,
)

# A process that forks from a small server copies none of this process's threads and locks
_CONTEXT = multiprocessing.get_context("forkserver")
# What one process reads before another has started: files, or this many times 64 kB
_WORTH_A_PROCESS = 1000


def warm_up() -> None:
    """Begin to load what each process needs: once, by the server that they fork from."""
    if cpus() > 1:
        _CONTEXT.set_forkserver_preload(["hpcdl.cli", "hpcdl.staging.pillow_picture", "PIL.Image"])
        ensure_running()


def worker_count(asked: int | None, files: list[SourceFile]) -> int:
    """How many processes read the files.

    Args:
        asked: what the user says; None for one on each CPU that this process may use, if there is
            enough to do.
        files: what is read.
    """
    if asked is not None:
        return asked
    total_bytes = sum(file.bytes for file in files)
    enough = 1 + max(len(files), total_bytes >> 16) // _WORTH_A_PROCESS
    return min(cpus(), enough)


def pictures_of(
    conversion: Conversion, blocks: Iterator[Block], writer: PackWriter, workers: int
) -> Generator[tuple[Block, list[Picture]], None, None]:
    """Each block with its images, in order, while other processes read the next few blocks.

    Args:
        conversion: what becomes of each image.
        blocks: the files.
        writer: says where a block's pixels are written to.
        workers: how many processes read; with one it is this process.
    """
    if workers == 1:
        keep_memory()
        for block in blocks:
            yield block, read_all(conversion, block.files, *writer.place(block))
        return
    waiting: deque[tuple[Block, Future[list[Picture]]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=_CONTEXT, initializer=begin_worker) as pool:
        try:
            for block in blocks:
                future = pool.submit(read_all, conversion, block.files, *writer.place(block))
                waiting.append((block, future))
                if len(waiting) > workers + 2:
                    first, first_future = waiting.popleft()
                    yield first, first_future.result()
            while waiting:
                first, first_future = waiting.popleft()
                yield first, first_future.result()
        finally:
            # A worker that still starts would fail with a traceback if this process left now
            pool.shutdown(wait=True, cancel_futures=True)
