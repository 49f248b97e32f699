"""Makes small wheels, so that no test of packages needs an index."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path


def wheel(
    folder: Path, name: str, version: str = "1.0", requires: Sequence[str] = (), **files: str
) -> Path:
    """A pure-Python wheel: by default of one package of that name; ``files`` are the texts of others' __init__.py."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    with zipfile.ZipFile(path, "w") as archive:
        for package, text in (files or {name: f"VERSION = {version!r}\n"}).items():
            archive.writestr(f"{package}/__init__.py", text)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path
