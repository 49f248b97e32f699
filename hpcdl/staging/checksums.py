"""The checksums next to each staged set: written when it is staged, listed, and verified."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hpcdl.files import write_text
from hpcdl.staging import MODELS, WEIGHTS, item_name

_HEAD = re.compile(r"# staged (?P<when>\S+) from (?P<source>.*)")
_ENDING = ".sha256"


@dataclass(frozen=True)
class Staged:
    """Something under data_root.

    Args:
        name: as ``hpcdl data`` calls it: ``mnist``, ``weights/vgg16_….h5``.
        path: its file or folder.
        sums: the sha256 of each file, by its path below the folder of path; empty if the set was
            put there by hand.
        when: when it was staged (UTC), or empty.
        source: where it came from, or empty.
    """

    name: str
    path: Path
    sums: dict[str, str]
    when: str = ""
    source: str = ""

    @property
    def files(self) -> list[Path]:
        """Its files, without those that are links to another of them."""
        if self.sums:
            with_links = [self.path.parent / name for name in self.sums]
            return [file for file in with_links if not file.is_symlink()]
        if self.path.is_file():
            return [self.path]
        return sorted(path for path in self.path.rglob("*") if path.is_file())

    @property
    def bytes(self) -> int:
        """The size of all its files that exist."""
        return sum(file.stat().st_size for file in self.files if file.exists())


def sums_of(path: Path) -> Path:
    """The file with the checksums of a staged file or folder."""
    return path.with_name(f"{path.name}{_ENDING}")


def write_sums(path: Path, sums: dict[str, str], source: str) -> None:
    """Write checksums as ``sha256sum -c`` reads them; lines that begin with # are for people.

    Args:
        path: the staged file or folder.
        sums: the sha256 of each file, by its path below the folder of path.
        source: where the set comes from.
    """
    when = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"# staged {when} from {' '.join(source.split())}"]
    lines += [f"{digest}  {name}" for name, digest in sums.items()]
    write_text(sums_of(path), "".join(f"{line}\n" for line in lines))


def read_sums(path: Path) -> dict[str, str]:
    """The sha256 of each file of a staged path, by its path below the same folder.

    Returns:
        empty if the set has no checksums.
    """
    try:
        text = sums_of(path).read_text(encoding="utf-8")
    except OSError:
        return {}
    sums = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        if name and not line.startswith("#"):
            sums[name] = digest
    return sums


def read_staged(data_root: Path, path: Path) -> Staged:
    """What is known of a file or folder under data_root."""
    name = item_name(data_root, path)
    sums = read_sums(path)
    head = None
    if sums:
        head = _HEAD.match(sums_of(path).read_text(encoding="utf-8"))
    if head is None:
        return Staged(name, path, sums)
    return Staged(name, path, sums, head["when"], head["source"])


def staged(data_root: Path) -> list[Staged]:
    """The sets and weights under data_root, by name; also those that were put there by hand."""
    entries = []
    for path in _candidates(data_root):
        is_there = path.exists() or read_sums(path)
        if is_there and not path.name.startswith("."):
            entries.append(read_staged(data_root, path))
    return sorted(entries, key=lambda entry: (WEIGHTS in entry.name, entry.name))


def _candidates(data_root: Path) -> set[Path]:
    """The paths that look like sets or weights."""
    models = data_root / MODELS
    paths = {*data_root.glob("*.npz"), data_root / "fashion-mnist", *models.glob("*.h5")}
    for folder in (data_root, models):
        for sums in folder.glob(f"*{_ENDING}"):
            paths.add(sums.with_suffix(""))
    return paths


def verify(entry: Staged, tell: Callable[[Path, int], None]) -> dict[str, str]:
    """Hash again what was staged.

    Args:
        entry: what is verified; it has checksums.
        tell: called with a file and how many of its bytes have been read.

    Returns:
        for each file ``ok``, ``changed``, ``missing``, or why it cannot be read.
    """
    states = {}
    for name, digest in entry.sums.items():
        try:
            is_same = _sha256(entry.path.parent / name, tell) == digest
            states[name] = "ok" if is_same else "changed"
        except FileNotFoundError:
            states[name] = "missing"
        except OSError as error:
            states[name] = f"cannot be read: {error.strerror}"
    return states


def _sha256(file: Path, tell: Callable[[Path, int], None]) -> str:
    digest = hashlib.sha256()
    read_bytes = 0
    for block in _blocks(file):
        digest.update(block)
        read_bytes += len(block)
        tell(file, read_bytes)
    return digest.hexdigest()


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            yield block
