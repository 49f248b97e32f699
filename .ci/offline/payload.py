"""Packs wheels of several Pythons so that each file in them is kept once.

The packed form is one xz stream: the length of an index (8 bytes), the index (JSON), the files.
install.py reads it: it writes the wheels of its Python again, uncompressed, with their names,
contents and modes. A wheel's RECORD names the sums of its contents, so it holds.
"""

import hashlib
import json
import lzma
import re
import zipfile
from pathlib import Path
from typing import Any

# The five Pythons' files are alike but lie far apart: the dictionary spans most of them. To unpack
# takes as much memory as it has.
DICTIONARY_BYTES = 128 << 20
# Wheels written, unpacked and compiled; measured: 2.4 to 2.6 times the size of the files in them
DISK_FACTOR = 3


class Files:
    """The contents of all wheels, each once."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.places: dict[bytes, tuple[bool, str, str]] = {}

    def add(self, member: str, content: bytes) -> bytes:
        """Take a file of a wheel; its sum, which stands for it."""
        key = hashlib.sha256(content).digest()
        name = member.rpartition("/")[2]
        self.contents[key] = content
        self.places.setdefault(key, (".so" in name, name, member))
        return key

    def order(self) -> list[bytes]:
        """Files of one name lie side by side: they are the same file of two Pythons."""
        return sorted(self.contents, key=lambda key: (self.places[key], key))


def pack(version: str, wheels: dict[str, list[Path]], preset: int) -> bytes:
    """The wheels of each Python as one stream."""
    files = Files()
    read = {python: read_wheels(paths, files) for python, paths in wheels.items()}
    order = files.order()
    numbers = {key: number for number, key in enumerate(order)}
    index: dict[str, Any] = {"version": version, "pythons": {}}
    index["sizes"] = [len(files.contents[key]) for key in order]
    for python, archives in read.items():
        keys = [key for members in archives.values() for _, key, _ in members]
        index["pythons"][python] = {
            "glibc": glibc_of([path.name for path in wheels[python]]),
            "disk_bytes": DISK_FACTOR * sum(len(files.contents[key]) for key in keys),
            "wheels": {
                name: [[member, numbers[key], mode] for member, key, mode in members]
                for name, members in archives.items()
            },
        }
    head = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
    stream = [len(head).to_bytes(8, "big"), head, *(files.contents[key] for key in order)]
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": DICTIONARY_BYTES}
    return lzma.compress(b"".join(stream), format=lzma.FORMAT_XZ, filters=[lzma2])


def read_wheels(paths: list[Path], files: Files) -> dict[str, list[tuple[str, bytes, int]]]:
    """Each wheel's members in their order: name, sum of the content, mode."""
    archives = {}
    for path in sorted(paths):
        with zipfile.ZipFile(path) as archive:
            archives[path.name] = [
                (info.filename, files.add(info.filename, archive.read(info)), info.external_attr)
                for info in archive.infolist()
                if not info.is_dir()
            ]
    return archives


def glibc_of(names: list[str]) -> str:
    """The oldest C library that all the wheels run with: a wheel's name has what it runs with."""
    needed = [(2, 17)]
    for name in names:
        versions = [(int(a), int(b)) for a, b in re.findall(r"manylinux_(\d+)_(\d+)_", name)]
        versions += [(2, 17)] if "manylinux2014_" in name else []
        if versions:
            needed.append(min(versions))
    return "{}.{}".format(*max(needed))
