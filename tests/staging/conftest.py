"""A real HTTP server that misbehaves on request, sets and CIFAR archives small enough to make here."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import re
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from hpcdl.staging import fetch

HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass
class Site:
    """What is served, and how badly.

    cut: bytes after which each of the next answers ends; ranges: whether Range is understood; statuses: of the next
    answers, instead of 200; pause: what an answer waits for in its middle.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    pause: threading.Event | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, name = self.site, self.path.rpartition("/")[2]
        wanted = self.headers.get("Range", "")
        site.asked.append((name, wanted))
        content = site.files.get(name)
        status = site.statuses.pop(0) if site.statuses else 200 if content is not None else 404
        if status != 200 or content is None:
            self.send_error(status)
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        begin = 0
        if site.ranges and wanted and self.headers.get("If-Range", etag) == etag:
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert match, wanted
            begin = int(match[1])
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", etag)
        self.end_headers()
        body = content[begin:]
        if site.cut:
            body = body[: site.cut.pop(0)]
        if site.pause is not None:
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.wfile.flush()
            site.pause.wait(30)
            site.pause, body = None, body[half:]
        self.close_connection = True
        with contextlib.suppress(ConnectionError):  # of a client that was killed
            self.wfile.write(body)
            site.sent.append(len(body))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    """A server of ``site.files`` by name, below any path."""
    served = Site()
    handler = type("OneHandler", (Handler,), {"site": served})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_port}/sets"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield served
        server.shutdown()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PAUSES_S", (0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def as_python_2(name: bytes, pixels: np.ndarray, labels: list[int]) -> bytes:
    """A part as CIFAR's authors pickled theirs with Python 2, where text is bytes: Python 3 cannot write it so."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    rows, columns = (b"J" + struct.pack("<i", size) for size in pixels.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        b"(K\x01(" + rows + columns + b"tcnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"
        b"(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + text(pixels.tobytes())
        + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    filled = text(b"batch_label") + text(name) + text(b"labels") + numbers + text(b"data") + array
    return b"\x80\x02}(" + filled + text(b"filenames") + b"]u."


def cifar10_members(rows: int = 2) -> dict[str, bytes]:
    """The members of CIFAR-10's archive that matter, as it has them: each picture of one grey, its number."""
    members = {}
    for part, name in enumerate(
        [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    ):
        grey = np.arange(part * rows, (part + 1) * rows) % 256
        pixels = np.repeat(grey.astype(np.uint8)[:, None], 3072, axis=1)
        members[f"cifar-10-batches-py/{name}"] = as_python_2(
            name.encode(), pixels, (grey % 10).tolist()
        )
    return members


def archive_of(members: dict[str, bytes]) -> bytes:
    """A .tar.gz of these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden or not."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
