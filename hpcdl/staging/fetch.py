"""Fetches a file over HTTP: resumes, tries several times, and compares the checksum."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hpcdl.contract.version import __version__
from hpcdl.errors import HpcdlError
from hpcdl.staging.catalogue import Source

PAUSES_S = (1.0, 3.0, 10.0, 30.0)  # after attempts in a row that brought nothing
_TIMEOUT_S = 30  # without a byte
_BLOCK_BYTES = 1 << 18
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that another attempt may not meet
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)

Tell = Callable[[int, "int | None"], None]
Say = Callable[[str], None]


def fetch(source: Source, url: str, target: Path, tell: Tell, say: Say) -> None:
    """Fetch a file; until it is complete and checked, it is called ``<target>.part``.

    Proxies are taken from the environment (``https_proxy``, ``no_proxy``), as urllib does.

    Args:
        source: what to fetch, with the published checksum.
        url: where from.
        target: the file to make; its folder exists.
        tell: called with the bytes that have arrived and, if the server tells, how many there
            will be.
        say: called with a line when something is tried again.

    Raises:
        ConnectionError: the server cannot be reached, or stops answering; the part stays.
        HpcdlError: the server has no such file, or another one than Keras expects; there is no
            room for it.
        OSError: it cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    download = _Download(url, part, source.digest, tell, say)
    while not download.attempt():
        download.wait()
    os.replace(part, target)
    _drop(part)


class _Download:
    """One file, over the attempts that it takes.

    Args:
        url: where from.
        part: where the file grows.
        digest: the published checksum, or empty.
        tell, say: as `fetch` takes them.
    """

    def __init__(self, url: str, part: Path, digest: str, tell: Tell, say: Say) -> None:
        self._url, self._part, self._digest = url, part, digest
        self._tell, self._say = tell, say
        self._name = part.name.removesuffix(".part")
        self._resumed = part.exists()  # the part began in an earlier attempt
        self._brought_anything = False
        self._failures = 0  # attempts in a row that brought nothing
        self._reason = ""  # why the last one failed

    def attempt(self) -> bool:
        """Make one attempt.

        Returns:
            whether the file is complete and right; if not, another attempt may help.

        Raises:
            ConnectionError: enough attempts brought nothing.
            HpcdlError: no other attempt can help.
        """
        bytes_before = _size(self._part)
        most_failures = len(PAUSES_S)
        try:
            _get(self._url, self._part, self._tell)
        except urllib.error.HTTPError as error:
            error.close()
            self._reason = f"{error.code} {error.reason}"
            if error.code not in _PASSING:
                raise HpcdlError(f"{self._url}: the server answers {self._reason}") from error
        except _NETWORK as error:
            self._reason = str(getattr(error, "reason", error)) or type(error).__name__
            if isinstance(error, urllib.error.URLError) and not self._brought_anything:
                most_failures = 1  # probably a machine without internet
        else:
            return self._is_right()
        self._count(bytes_before)
        if self._failures > most_failures:
            raise ConnectionError(f"cannot fetch {self._url}: {self._reason}")
        return False

    def _is_right(self) -> bool:
        """Compare the checksum. A part of an earlier attempt may be of another version."""
        problem = mismatch(self._part, self._digest)
        if problem is None:
            return True
        _drop(self._part)
        if not self._resumed:
            raise HpcdlError(f"{self._url} gave another file than Keras expects: {problem}")
        self._say(f"{self._name}: what arrived does not fit what was kept; starting again")
        self._resumed = False
        return self.attempt()

    def _count(self, bytes_before: int) -> None:
        if _size(self._part) > bytes_before:
            self._brought_anything = True
            self._failures = 0
        else:
            self._failures += 1

    def wait(self) -> None:
        """Say why the last attempt failed, and pause before the next one."""
        self._say(f"{self._name}: {self._reason}; another attempt")
        self._resumed = _size(self._part) > 0
        time.sleep(PAUSES_S[max(self._failures - 1, 0)])


def mismatch(path: Path, digest: str) -> str | None:
    """What is wrong with a file by its published checksum.

    Args:
        path: the file.
        digest: its published sha256 or md5; empty if none is published.

    Returns:
        None if the checksum is right, or if none is published.
    """
    if not digest:
        return None
    name = "sha256" if len(digest) == 64 else "md5"
    hashed = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hashed.update(block)
    if hashed.hexdigest() == digest:
        return None
    return f"{path.stat().st_size:,} bytes with {name} {hashed.hexdigest()}; expected {digest}"


def _etag_of(part: Path) -> Path:
    """The file with the server's name for the version, so that no two versions are mixed."""
    return part.with_name(f"{part.name}.etag")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_of(part).unlink(missing_ok=True)


def _get(url: str, part: Path, tell: Tell) -> None:
    """Make one request: add to part what is missing.

    Raises:
        OSError, http.client.HTTPException: as urllib does, also if the answer ends early.
    """
    have_bytes = _size(part)
    try:
        answer = _ask(url, part, have_bytes)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{have_bytes}":
            return  # it is complete
        _drop(part)
        raise ConnectionError("the file on the server is shorter than what is here") from error
    with answer:
        _receive(answer, part, have_bytes, tell)


def _ask(url: str, part: Path, have_bytes: int) -> http.client.HTTPResponse:
    """Send the request, for the rest of the file if a part exists."""
    headers = {"User-Agent": f"hpcdl/{__version__}"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    if have_bytes:
        request.add_header("Range", f"bytes={have_bytes}-")
        if _etag_of(part).exists():
            request.add_header("If-Range", _etag_of(part).read_text(encoding="utf-8"))
    opener = urllib.request.build_opener()
    answer: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    return answer


def _receive(answer: http.client.HTTPResponse, part: Path, have_bytes: int, tell: Tell) -> None:
    """Write an answer to part: at its end, or from the start if the server sends all."""
    if answer.status == http.client.PARTIAL_CONTENT:
        content_range = answer.headers.get("Content-Range", "")
        begin = re.match(r"bytes (\d+)-", content_range)
        if begin is None or int(begin[1]) != have_bytes:
            raise ConnectionError(
                f"the server sent {content_range or None}, not from byte {have_bytes} on"
            )
    else:
        have_bytes = 0
    total_bytes = None
    length = answer.headers.get("Content-Length", "")
    if length.isdigit():
        total_bytes = have_bytes + int(length)
        _check_room(part, total_bytes - have_bytes)
    etag = answer.headers.get("ETag", "")
    if etag.startswith('"'):  # a strong one
        _etag_of(part).write_text(etag, encoding="utf-8")
    with part.open("ab" if have_bytes else "wb") as stream:
        tell(have_bytes, total_bytes)
        while block := answer.read(_BLOCK_BYTES):
            stream.write(block)
            have_bytes += len(block)
            tell(have_bytes, total_bytes)
        stream.flush()
        os.fsync(stream.fileno())
    if total_bytes is not None and have_bytes != total_bytes:
        raise ConnectionError(f"the connection ended after {have_bytes:,} of {total_bytes:,} bytes")


def _check_room(part: Path, missing_bytes: int) -> None:
    free_bytes = shutil.disk_usage(part.parent).free
    if missing_bytes > free_bytes:
        name, data_root = part.name.removesuffix(".part"), part.parent.parent
        missing, free = f"{missing_bytes / 1e6:.1f} MB", f"{free_bytes / 1e6:.1f} MB"
        raise HpcdlError(
            f"no room for {name} in {data_root}: {missing} are still to come, and {free} are free"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
