"""``hpcdl logs``: print a run's log, whole or only its end, or follow it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.paths import RunPaths

_BLOCK = 65536  # bytes that are read at once
_STREAM = "hpcdl.stream"  # the key of click's context for the stream that is asked for
_FOLLOW = "Continue printing until the run has ended."
_TAIL = "Begin with the last N lines."
_WORKER = "The log of worker N of a run on several nodes; of worker 0 by default."


def _note_stream(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Note the stream that is asked for; refuse a second one."""
    if value and ctx.meta.setdefault(_STREAM, parameter.name) != parameter.name:
        choices = "choose one of --stdout, --stderr and --tensorflow"
        raise click.UsageError(f"{choices}; without these, both streams are printed", ctx)


def _stream(option: str, text: str) -> Callable[..., Any]:
    return click.option(option, is_flag=True, expose_value=False, callback=_note_stream, help=text)


@click.command(short_help="Print a run's log.")
@options.run_name
@click.option("-f", "--follow", "follows", is_flag=True, help=_FOLLOW)
@click.option("-n", "--tail", "lines", type=click.IntRange(min=0), metavar="N", help=_TAIL)
@click.option("--worker", "rank", type=click.IntRange(min=0), metavar="N", default=0, help=_WORKER)
@_stream("--stdout", "Only what a script printed on stdout.")
@_stream("--stderr", "Only what a script printed on stderr.")
@_stream("--tensorflow", "Only TensorFlow's own messages.")
def command(
    run_name: str, places: options.Places, follows: bool, lines: int | None, rank: int
) -> None:
    """Print a run's log, all attempts in order.

    TensorFlow's own messages are left out. If the program never started, the
    batch script's own output is printed. --follow goes on with the next attempt
    when the job is requeued. SWEEP/17 is trial 17 of a sweep.

    \b
    hpcdl logs k3f9 -f
    hpcdl logs sw33/17 -f
    hpcdl logs k3f9 -n 20
    hpcdl logs k3f9 --stderr
    hpcdl logs k3f9 --worker 1
    """
    from hpcdl.run.logs import numbered

    stream = click.get_current_context().meta.get(_STREAM)
    run = options.find(run_name, places)
    _refuse_sweep(run)
    paths = _of_worker(run, rank) if rank else run.paths
    printer = _Printer(paths, stream)
    if lines is not None:
        printer.skip_to_last(numbered(paths), lines)
    for _ in _ticks(run, follows):
        for log in numbered(paths):
            printer.print_new(int(log.stem))
    if rank and not numbered(paths):
        options.say(f"worker {rank} has no log: its program has not started")
    if not run.logs() and stream is None:
        for log in sorted(run.paths.logs.glob("*.out")):
            start = 0 if lines is None else _start_of_last(log, lines)
            _print_from(log, start)


def _refuse_sweep(run: Run) -> None:
    """Refuse a sweep: each of its trials has a log of its own.

    Raises:
        UserError: it is a sweep.
    """
    from hpcdl.errors import UserError
    from hpcdl.run.paths import SWEEP

    root = run.paths.root
    if (root / SWEEP).exists():
        of_trial = hpcdl_command("logs", f"{root}/0")
        message = f"{root} is a sweep; give one of its trials, such as: {of_trial}"
        raise UserError(f"{message}; what its tasks print lies in {run.paths.logs}")


def _of_worker(run: Run, rank: int) -> RunPaths:
    """The paths of a worker other than worker 0.

    Raises:
        UserError: the run has no such worker.
    """
    from hpcdl.errors import UserError
    from hpcdl.run import records
    from hpcdl.run.worker_paths import WorkerPaths

    most = max((len(event.nodes) for event in records.read_attempts(run.paths)), default=0)
    if rank < most:
        return WorkerPaths(run.paths.root, rank)
    workers = f"0 to {most - 1}" if most > 1 else "0 alone"
    message = f"--worker {rank}: {run.paths.root} has no such worker; expected {workers}"
    raise UserError(f"{message}; hpcdl status RUN names the workers of a run")


class _Printer:
    """Prints what is new in the logs of the attempts.

    Args:
        paths: the run.
        stream: one of ``stdout``, ``stderr``, ``tensorflow``; None for the log that people read.
    """

    def __init__(self, paths: RunPaths, stream: str | None) -> None:
        self.paths = paths
        self.stream = stream
        self.printed: dict[int, int] = {}  # bytes, by attempt
        self.newest: int | None = None  # the attempt that was printed last

    def log(self, attempt: int) -> Path:
        """The file to print."""
        if self.stream == "stderr":
            return self.paths.stderr_log(attempt)
        if self.stream == "tensorflow":
            return self.paths.noise_log(attempt)
        # While there is nothing on stderr, stdout has no separate file: the log is all from stdout.
        stdout_log = self.paths.stdout_log(attempt)
        if self.stream == "stdout" and stdout_log.exists():
            return stdout_log
        return self.paths.log(attempt)

    def skip_to_last(self, logs: list[Path], lines: int) -> None:
        """Leave out all but the last lines of all attempts together."""
        left = lines
        for log in reversed(logs):
            attempt = int(log.stem)
            path = self.log(attempt)
            if not path.exists():
                continue
            start = _start_of_last(path, left)
            self.printed[attempt] = start
            if left > 0:
                left -= _count_lines(path, start)

    def print_new(self, attempt: int) -> None:
        """Print what is new in an attempt's log."""
        path = self.log(attempt)
        start = self.printed.get(attempt, 0)
        if not path.exists() or (attempt in self.printed and path.stat().st_size <= start):
            return
        if self.newest not in (None, attempt):
            options.say(f"== {path.name} ==")
        self.newest = attempt
        self.printed[attempt] = _print_from(path, start)


def _ticks(run: Run, follows: bool) -> Iterator[None]:
    """Yields once; to follow a run, repeatedly until it has ended, and then once more."""
    if follows:
        for _ in run.watch():
            yield
    yield


def _print_from(log: Path, start: int) -> int:
    """Copy a file to stdout from a byte on, and give the byte at which it ended."""
    with log.open("rb") as stream:
        stream.seek(start)
        shutil.copyfileobj(stream, sys.stdout.buffer)
        sys.stdout.flush()
        return stream.tell()


def _start_of_last(log: Path, lines: int) -> int:
    """The byte at which a file's last lines begin; it is read from its end."""
    with log.open("rb") as stream:
        position = stream.seek(0, 2)
        if lines == 0:
            return position
        # The newline at the end of the file does not begin another line.
        left = lines
        if position:
            stream.seek(position - 1)
            left += stream.read(1) == b"\n"
        while position > 0:
            size = min(_BLOCK, position)
            position -= size
            stream.seek(position)
            block = stream.read(size)
            count = block.count(b"\n")
            if count >= left:
                return position + _nth_last(block, left) + 1
            left -= count
    return 0


def _nth_last(block: bytes, number: int) -> int:
    """The place of the number-th newline from the end."""
    index = len(block)
    for _ in range(number):
        index = block.rindex(b"\n", 0, index)
    return index


def _count_lines(log: Path, start: int) -> int:
    count = 0
    block = b"\n"
    with log.open("rb") as stream:
        stream.seek(start)
        while read := stream.read(_BLOCK):
            block = read
            count += block.count(b"\n")
    return count + (not block.endswith(b"\n"))
