"""Fetches a file over HTTP: goes on where an earlier attempt ended, tries several times, checks what came."""

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

import hpcdl
from hpcdl.errors import HpcdlError
from hpcdl.staging.catalogue import Source

PAUSES_S = (1.0, 3.0, 10.0, 30.0)  # between attempts that brought nothing
_TIMEOUT_S = 30  # without a byte
_BLOCK = 1 << 18  # bytes
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that another attempt may not meet
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)

Tell = Callable[[int, "int | None"], None]


def fetch(source: Source, url: str, target: Path, tell: Tell, say: Callable[[str], None]) -> None:
    """Fetch a file; until it is whole and checked, it is called ``<target>.part``.

    Proxies are taken from the environment (``https_proxy``, ``no_proxy``), as urllib does.

    Args:
        source: what to fetch, with the published checksum.
        url: where from.
        target: the file to make; its folder is there.
        tell: called with the bytes that are there and, where the server tells it, how many there will be.
        say: called with a line when something is tried again.

    Raises:
        ConnectionError: the server cannot be reached, or not to the end; what came is kept.
        HpcdlError: the server has no such file, or another one than Keras expects; there is no room for it.
        OSError: it cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    came, failures = False, 0
    goes_on = part.exists()
    while True:
        before, patience = _size(part), len(PAUSES_S)
        try:
            _get(url, part, tell)
            wrong = mismatch(part, source.digest)
            if wrong is None:
                break
            _drop(part)
            if not goes_on:
                raise HpcdlError(f"{url} gave another file than Keras expects: {wrong}")
            say(f"{target.name}: what came does not fit to what was there; from the start")
            goes_on = False
            continue
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"{error.code} {error.reason}"
            if error.code not in _PASSING:
                raise HpcdlError(f"{url}: the server answers {reason}") from error
        except _NETWORK as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            if (
                isinstance(error, urllib.error.URLError) and not came
            ):  # as on every machine without internet
                patience = 1
        if _size(part) > before:
            came, failures = True, 0
        else:
            failures += 1
        if failures > patience:
            raise ConnectionError(f"cannot fetch {url}: {reason}")
        say(f"{target.name}: {reason}; another attempt")
        goes_on = _size(part) > 0
        time.sleep(PAUSES_S[max(failures - 1, 0)])
    os.replace(part, target)
    _drop(part)


def mismatch(path: Path, digest: str) -> str | None:
    """What is wrong with a file by its published checksum, or None; also where none is published."""
    if not digest:
        return None
    name = "sha256" if len(digest) == 64 else "md5"
    found = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    if found.hexdigest() == digest:
        return None
    return f"{path.stat().st_size:,} bytes with {name} {found.hexdigest()}; expected {digest}"


def _etag_of(part: Path) -> Path:
    """Where the server's name for the file's version is kept, so that no two versions are mixed."""
    return part.with_name(f"{part.name}.etag")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_of(part).unlink(missing_ok=True)


def _get(url: str, part: Path, tell: Tell) -> None:
    """One attempt: adds to part what is missing.

    Raises:
        OSError, http.client.HTTPException: as urllib does, also where the answer ended early.
    """
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": f"hpcdl/{hpcdl.__version__}"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
        if _etag_of(part).exists():
            request.add_header("If-Range", _etag_of(part).read_text(encoding="utf-8"))
    try:
        answer = urllib.request.build_opener().open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # it was whole
        _drop(part)
        raise ConnectionError("the file on the server is shorter than what is here") from error
    with answer:
        begin = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if answer.status == http.client.PARTIAL_CONTENT and (
            begin is None or int(begin[1]) != have
        ):
            raise ConnectionError(
                f"the server sent {answer.headers.get('Content-Range')}, not from byte {have} on"
            )
        have = have if answer.status == http.client.PARTIAL_CONTENT else 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        _check_room(part, have, total)
        etag = answer.headers.get("ETag", "")
        if etag.startswith('"'):  # a strong one
            _etag_of(part).write_text(etag, encoding="utf-8")
        with part.open("ab" if have else "wb") as stream:
            tell(have, total)
            while block := answer.read(_BLOCK):
                stream.write(block)
                have += len(block)
                tell(have, total)
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and have != total:
        raise ConnectionError(f"the connection ended after {have:,} of {total:,} bytes")


def _check_room(part: Path, have: int, total: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        needed = (
            f"{(total - have) / 1e6:.1f} MB are still to come, and {free / 1e6:.1f} MB are free"
        )
        raise HpcdlError(
            f"no room for {part.name.removesuffix('.part')} in {part.parent.parent}: {needed}"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
