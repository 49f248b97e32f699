"""How staged sets read: their line in `hpcdl data list`, and the command that stages them again."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from hpcdl.formats import several

if TYPE_CHECKING:
    from hpcdl.staging.checksums import Staged


def line(entry: dict[str, Any], width: int) -> str:
    """A line of the list of sets."""
    digest = "no checksums "
    if entry["sha256"]:
        first = next(iter(entry["sha256"].values()))
        digest = f"{first[:12]}…"
    files = several(entry["files"], "file")
    contents = ""
    if entry["images"]:
        contents = f"{entry['images']:,} images, {entry['classes']} classes"
    size = f"{entry['bytes'] / 1e6:8.1f} MB"
    text = f"{entry['name']:<{width}} {size}  {files:<8} {contents:<26} {digest}"
    return f"{text}  {entry['staged'][:10]:<10}  {entry['path']}"


def facts(entry: Staged) -> dict[str, Any]:
    """What ``list`` shows of a set."""
    images, classes = _contents(entry)
    return {
        "name": entry.name,
        "path": str(entry.path),
        "bytes": entry.bytes,
        "files": len(entry.files),
        "images": images,
        "classes": classes,
        "sha256": entry.sums,
        "staged": entry.when,
        "source": entry.source,
    }


def _contents(entry: Staged) -> tuple[int | None, int | None]:
    """How many images and classes a set has; None if it does not say, or is no set of images."""
    from hpcdl.contract.pack_layout import PACK
    from hpcdl.files import read_json
    from hpcdl.staging import WEIGHTS

    if _is_pack(entry):
        pack = read_json(entry.path / PACK) or {}
        images = sum(part["rows"] for part in pack.get("parts", {}).values())
        return images, len(pack.get("classes", []))
    if entry.name.startswith(WEIGHTS):
        return None, None
    return _array_contents(entry.path)


def _array_contents(path: Path) -> tuple[int | None, int | None]:
    """How many images and classes an .npz file or a folder of IDX files has."""
    from hpcdl.contract.array_heads import NAMES
    from hpcdl.preflight.arrays import look

    try:
        arrays = look(path)
    except OSError:
        return None, None
    images = 0
    for name in NAMES:
        array = arrays.get(name, {})
        if name.startswith("y") and "high" not in array:
            return None, None
        if name.startswith("x"):
            images += array["shape"][0] if "shape" in array else 0
    return images, int(arrays["y_train"]["high"]) + 1


def _is_pack(entry: Staged) -> bool:
    from hpcdl.contract.pack_layout import PACK

    return f"{entry.path.name}/{PACK}" in entry.sums


def again(entry: Staged, root: Path) -> str:
    """The command that puts a set there again."""
    from hpcdl.staging import how_to_stage

    if _is_pack(entry):
        packing = f"hpcdl data pack {quote(entry.source)} --to {quote(str(entry.path))}"
        return f"{packing}, with the options of the first time"
    return how_to_stage(entry.name, str(root))
