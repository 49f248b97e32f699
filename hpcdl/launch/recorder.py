"""Reads a script's output while it runs, and writes it to the logs of its attempt."""

from __future__ import annotations

import errno
import functools
import os
import select
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from hpcdl.launch.bars import Thinner
from hpcdl.launch.noise import IDLE_S, NoiseFilter
from hpcdl.launch.retry import OutOfPatienceError, RunRemovedError, keep_trying, say
from hpcdl.run.logs import END_BYTES
from hpcdl.run.paths import RunPaths

_BLOCK = 65536
_LAST_WORDS_S = 2.0  # after the script's end, for the output of processes that it left behind
_AT_MOST_S = 10.0  # the same, if they do not stop printing


class _Log:
    """A log file, made when there is something to write. A full disk does not end the script.

    Output that `keep_trying` cannot write is dropped, and the log says how many bytes.
    """

    def __init__(self, path: Path, run: RunPaths) -> None:
        self.path = path
        self._run = run
        self._handle: int | None = None
        self._dropped = 0

    def write(self, data: bytes) -> None:
        """Add to the file."""
        if not data:
            return
        try:
            if self._dropped:
                note = f"\n(hpcdl: {self._dropped:,} bytes of output could not be written here)\n"
                self._append(note.encode())
                self._dropped = 0
            self._rest = data
            keep_trying(f"logs/{self.path.name}", self._write_rest, self._run)
        except (OSError, OutOfPatienceError, RunRemovedError):
            self._dropped += len(data)

    def _write_rest(self) -> None:
        while self._rest:
            self._rest = self._rest[self._append(self._rest) :]

    def open(self) -> int:
        """The file's descriptor; the file is made if it is missing."""
        if self._handle is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self.path.parent.mkdir(exist_ok=True)  # somebody may have tidied up
            self._handle = os.open(self.path, flags, 0o666)
        return self._handle

    def _append(self, data: bytes) -> int:
        written = os.write(self.open(), data)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def copy_to(self, other: Path) -> None:
        """Start another log with this one's content."""
        if not self.path.exists():
            return
        aside = other.with_name(f".{other.name}")
        shutil.copyfile(self.path, aside)
        os.replace(aside, other)

    def close(self) -> None:
        """Close the file, if it was made."""
        if self._handle is not None:
            os.close(self._handle)


class _Stream:
    """One of the program's two streams, and where its text goes."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.noise: NoiseFilter | None = None
        self.bars = Thinner()
        self.open_line = b""  # not in the log of both streams yet
        self.open_since = 0.0

    def whole_lines(self, text: bytes, now: float) -> bytes:
        """The lines that are complete with this text; the start of the next one waits."""
        if not self.open_line:
            self.open_since = now
        text = self.open_line + text
        end = text.rfind(b"\n") + 1
        if len(text) - end > _BLOCK:
            end = len(text)
        if end:
            self.open_since = now
        self.open_line = text[end:]
        return text[:end]

    def overdue_line(self, now: float) -> bytes:
        """A line that waited too long for its end."""
        if now - self.open_since < IDLE_S:
            return b""
        line, self.open_line = self.open_line, b""
        return line


class Recorder:
    """The logs of a script's attempt: a context in which the script runs.

    ``N.log`` gets both streams, in the order in which they come, without progress bars that were
    drawn over, and without TensorFlow's own messages. These go to ``N.tensorflow.log``. Once there
    is text on stderr, ``N.stdout.log`` and ``N.stderr.log`` have one stream each. A file that would
    be empty is not made.

    A process that the script leaves behind is read for two more seconds. After that nobody reads
    its output.

    Args:
        paths: the run.
        attempt: its number.
        now: a clock, for tests.

    Raises:
        OutOfPatienceError: the log cannot be made.
        RunRemovedError: the run was removed.
    """

    def __init__(
        self, paths: RunPaths, attempt: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._run_paths = paths
        self._log = _Log(paths.log(attempt), paths)
        keep_trying("the log", self._log.open, paths)
        self._stdout_log = _Log(paths.stdout_log(attempt), paths)
        self._stderr_log = _Log(paths.stderr_log(attempt), paths)
        self._noise_log = _Log(paths.noise_log(attempt), paths)
        self._is_split = False
        self._now = now
        self._end = bytearray()
        self._script_ended: float | None = None
        self._out, self._err = _Stream(), _Stream()
        self._err.noise = NoiseFilter()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def stdout(self) -> int:
        """The file descriptor for the script's stdout."""
        return self._out.write_end

    @property
    def stderr(self) -> int:
        """The file descriptor for the script's stderr."""
        return self._err.write_end

    def __enter__(self) -> Recorder:
        return self

    def start(self) -> None:
        """Start to read: the script has been started, and has its ends of the pipes."""
        self._close_write_ends()
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._thread.ident is not None:
            self._script_ended = self._now()
            self._thread.join()
        else:  # the script was not started
            self._close_read_ends()
        self._close_write_ends()
        for log in (self._log, self._stdout_log, self._stderr_log, self._noise_log):
            log.close()

    def write(self, text: str) -> None:
        """Add one of hpcdl's own lines to the log."""
        self._log.write(text.encode())

    def end_of_output(self) -> str:
        """The last part of the output, with TensorFlow's messages."""
        return self._end.decode("utf-8", "replace")

    def _close_write_ends(self) -> None:
        for stream in (self._out, self._err):
            if stream.write_end >= 0:
                os.close(stream.write_end)
                stream.write_end = -1

    def _close_read_ends(self) -> None:
        for stream in (self._out, self._err):
            os.close(stream.read_end)

    def _run(self) -> None:
        try:
            self._read()
        finally:  # whatever happens: a script must not wait for ever
            self._close_read_ends()

    def _read(self) -> None:
        """Read until both streams have ended, or the script has and its processes are silent."""
        streams = {self._out.read_end: self._out, self._err.read_end: self._err}
        poll = select.poll()
        for handle in streams:
            poll.register(handle, select.POLLIN)
        heard_at = self._now()
        while streams and not self._is_over(heard_at):
            ready = {handle for handle, _ in poll.poll(int(IDLE_S * 1000))}
            # stdout first: what a script printed before its traceback stands before it.
            for handle in list(streams):
                if handle not in ready:
                    continue
                data = os.read(handle, _BLOCK)
                if data:
                    heard_at = self._now()
                    self._take(streams[handle], data)
                else:
                    poll.unregister(handle)
                    self._finish(streams.pop(handle))
            self._look(list(streams.values()), ready=bool(ready))
        for stream in streams.values():
            self._finish(stream)
        if streams:
            say("the script has ended; a process that it left behind is not listened to any more")

    def _is_over(self, heard_at: float) -> bool:
        if self._script_ended is None:
            return False
        now = self._now()
        quiet_s = now - max(heard_at, self._script_ended)
        return quiet_s >= _LAST_WORDS_S or now - self._script_ended >= _AT_MOST_S

    def _take(self, stream: _Stream, data: bytes) -> None:
        if stream.noise is None:
            self._write(stream, data)
            return
        for is_noise, part in stream.noise.feed(data):
            self._put(stream, is_noise, part)

    def _put(self, stream: _Stream, is_noise: bool, data: bytes) -> None:
        if is_noise:
            self._remember(data)
            self._noise_log.write(data)
        else:
            self._write(stream, data)

    def _look(self, streams: list[_Stream], ready: bool) -> None:
        """What is due because time has passed."""
        for stream in streams:
            if stream.noise is not None and stream.noise.waits and not ready:
                for is_noise, part in stream.noise.flush():
                    self._put(stream, is_noise, part)
            self._write_text(stream, stream.bars.tick(self._now()))
            self._write_both(stream.overdue_line(self._now()))

    def _finish(self, stream: _Stream) -> None:
        if stream.noise is not None:
            for is_noise, part in stream.noise.flush():
                self._put(stream, is_noise, part)
        self._write_text(stream, stream.bars.close())
        self._write_both(stream.open_line)
        stream.open_line = b""

    def _write(self, stream: _Stream, data: bytes) -> None:
        self._write_text(stream, stream.bars.feed(data, self._now()))

    def _write_text(self, stream: _Stream, text: bytes) -> None:
        if not text:
            return
        if stream is self._err and not self._is_split:
            self._split()
        # Python sends the text of a line and its end one after the other: lines of the other stream
        # must not come between them.
        self._write_both(stream.whole_lines(text, self._now()))
        if self._is_split:
            own = self._stderr_log if stream is self._err else self._stdout_log
            own.write(text)

    def _write_both(self, text: bytes) -> None:
        """Add to the log of both streams."""
        self._remember(text)
        self._log.write(text)

    def _split(self) -> None:
        """From here on each stream has its own log; so far all text was stdout's."""
        self._is_split = True
        try:
            copy = functools.partial(self._log.copy_to, self._stdout_log.path)
            keep_trying(f"logs/{self._stdout_log.path.name}", copy, self._run_paths)
        except (OutOfPatienceError, RunRemovedError) as error:
            say(str(error))
        self._stdout_log.write(self._out.open_line)

    def _remember(self, text: bytes) -> None:
        self._end += text
        if len(self._end) > 2 * END_BYTES:
            del self._end[:-END_BYTES]
