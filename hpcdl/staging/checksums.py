"""The checksums beside each staged set: written when it is staged, listed, and compared with what is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hpcdl.files import write_text
from hpcdl.staging import MODELS, WEIGHTS, item_name

_HEAD = re.compile(r"# staged (?P<when>\S+) from (?P<source>.*)")


@dataclass(frozen=True)
class Staged:
    """Something under data_root.

    Args:
        name: as ``hpcdl data`` calls it: ``mnist``, ``weights/vgg16_….h5``.
        path: its file or folder.
        sums: the sha256 of each file, by its path below the folder of path; empty where it was put there by hand.
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
        """Its files; those that are links to another of them are left out."""
        if self.sums:
            return [
                file
                for file in (self.path.parent / name for name in self.sums)
                if not file.is_symlink()
            ]
        return (
            [self.path]
            if self.path.is_file()
            else sorted(p for p in self.path.rglob("*") if p.is_file())
        )

    @property
    def bytes(self) -> int:
        """The size of all its files that are there."""
        return sum(file.stat().st_size for file in self.files if file.exists())


def sums_of(path: Path) -> Path:
    """Where the checksums of a staged file or folder lie."""
    return path.with_name(f"{path.name}.sha256")


def write_sums(path: Path, sums: dict[str, str], source: str) -> None:
    """Write checksums as ``sha256sum -c`` reads them; what begins with # is for people."""
    when = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = f"# staged {when} from {' '.join(source.split())}\n"
    write_text(
        sums_of(path), head + "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    )


def read_sums(path: Path) -> dict[str, str]:
    """The sha256 of each file of a staged path, by its path below the same folder; empty where there are none."""
    try:
        text = sums_of(path).read_text(encoding="utf-8")
    except OSError:
        return {}
    rows = [line.partition("  ") for line in text.splitlines() if not line.startswith("#")]
    return {name: digest for digest, _, name in rows if name}


def read_staged(data_root: Path, path: Path) -> Staged:
    """What is known of a file or folder under data_root."""
    head = None
    sums = read_sums(path)
    if sums:
        head = _HEAD.match(sums_of(path).read_text(encoding="utf-8"))
    return Staged(
        item_name(data_root, path),
        path,
        sums,
        head["when"] if head else "",
        head["source"] if head else "",
    )


def staged(data_root: Path) -> list[Staged]:
    """The sets and weights under data_root, by name; also those that were put there by hand."""
    models = data_root / MODELS
    paths = {*data_root.glob("*.npz"), data_root / "fashion-mnist", *models.glob("*.h5")}
    paths |= {
        sums.with_suffix("") for folder in (data_root, models) for sums in folder.glob("*.sha256")
    }
    found = [read_staged(data_root, path) for path in paths if path.exists() or read_sums(path)]
    return sorted(
        (one for one in found if not one.path.name.startswith(".")),
        key=lambda one: (WEIGHTS in one.name, one.name),
    )


def verify(one: Staged, tell: Callable[[Path, int], None]) -> dict[str, str]:
    """Hash what was staged again.

    Args:
        one: what is looked at; it has checksums.
        tell: called with a file and the bytes of it that are read.

    Returns:
        for each file ``ok``, ``changed``, ``missing``, or why it cannot be read.
    """
    states = {}
    for name, digest in one.sums.items():
        file = one.path.parent / name
        try:
            states[name] = "ok" if _sha256(file, tell) == digest else "changed"
        except FileNotFoundError:
            states[name] = "missing"
        except OSError as error:
            states[name] = f"cannot be read: {error.strerror}"
    return states


def _sha256(file: Path, tell: Callable[[Path, int], None]) -> str:
    import hashlib

    digest, done = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            done += len(block)
            tell(file, done)
    return digest.hexdigest()
