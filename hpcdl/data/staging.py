"""Brings data sets under data_root, whole or not at all, each with its checksums beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hpcdl.data import staged_path
from hpcdl.errors import HpcdlError, UserError
from hpcdl.files import sha256_file, write_text
from hpcdl.job.checks import NAME

EMBEDDED = {"digits": "1,797 real handwritten digits (8x8 enlarged to 28x28) that scikit-learn ships"}


@dataclass(frozen=True)
class Staged:
    """A staged set: its name, its file or folder, its size, and its sha256 (one, or a line per file)."""

    name: str
    path: Path
    bytes: int
    sha256: str


def stage(name: str, data_root: Path, source: Path | None = None) -> Staged:
    """Stage a set.

    Args:
        name: a name for job files (``data: {name: ...}``).
        data_root: the shared folder of staged sets; made if need be.
        source: an ``.npz`` file or a folder of IDX files to copy; None for an embedded set.

    Raises:
        UserError: the set is not known, or source is not there.
        HpcdlError: it cannot be written.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"a set's name has letters, digits, '.', '_' and '-', at most 100, no space; got {name!r}")
    target = Path(staged_path(str(data_root), name))
    if source is None and name not in EMBEDDED:
        raise UserError(f"{name!r} is not an embedded set ({', '.join(EMBEDDED)}); give its file or folder with --from")
    if source is not None and not source.exists():
        raise UserError(f"there is no {source}")
    if source is not None and source.is_dir() == (target.suffix == ".npz"):
        raise UserError(f"{source}: {name} is staged as {'an .npz file' if target.suffix else 'a folder of IDX files'}")
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=data_root, prefix=f".{name}."))
        try:
            _fill(aside / target.name, source)
            return _move_in(name, aside / target.name, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise HpcdlError(
            f"cannot write {error.filename or data_root}: {error.strerror}; data_root is {data_root}"
        ) from error


def staged(data_root: Path) -> list[Staged]:
    """The sets under data_root that have checksums, by name."""
    found = []
    for sums in sorted(data_root.glob("*.sha256")):
        path = sums.with_suffix("")
        if path.exists():
            files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]
            size = sum(p.stat().st_size for p in files)
            found.append(Staged(path.name.removesuffix(".npz"), path, size, sums.read_text().strip()))
    return found


def _fill(aside: Path, source: Path | None) -> None:
    if source is None:
        write_digits(aside)
    elif source.is_dir():
        aside.mkdir()
        for path in sorted(source.iterdir()):
            if path.is_file():
                shutil.copyfile(path, aside / path.name)
    else:
        shutil.copyfile(source, aside)


def _move_in(name: str, aside: Path, target: Path) -> Staged:
    """Put a set where jobs look, its checksums first: a reader finds both or an old set with the new sums."""
    files = [aside] if aside.is_file() else sorted(aside.iterdir())
    for path in files:
        path.chmod(0o644)
    sums = [f"{sha256_file(path)}  {path.relative_to(aside.parent)}\n" for path in files]
    size = sum(path.stat().st_size for path in files)
    if aside.is_dir():
        aside.chmod(0o755)
        if target.is_dir():
            os.replace(target, aside.parent / "old")
    write_text(target.with_name(f"{target.name}.sha256"), "".join(sums))
    os.replace(aside, target)
    return Staged(name, target, size, "".join(sums).strip())


def write_digits(path: Path, test_rows: int = 360, seed: int = 1) -> None:
    """Write scikit-learn's digits as an MNIST-style ``.npz``: uint8 images of 28x28, integer labels.

    Source: the test part of the UCI "Optical Recognition of Handwritten Digits" set,
    https://archive.ics.uci.edu/dataset/80, as in `sklearn.datasets.load_digits`.
    The same bytes every time: the split is drawn with a fixed seed.

    Args:
        path: the file to write; its name ends in ``.npz``.
        test_rows: how many of the 1,797 rows become the test part.
        seed: of the split.

    Raises:
        UserError: scikit-learn is not installed.
    """
    import numpy as np

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "the digits come with scikit-learn, which is not installed: pip install 'hpcdl[digits]'"
        ) from error
    digits = load_digits()
    # Bilinear, pixel centres aligned: row i of the enlarged image lies at (i + 1/2) * 8/28 - 1/2 of the small one.
    at = np.clip((np.arange(28) + 0.5) * 8 / 28 - 0.5, 0, 7)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(8)[None, :]))
    images = np.einsum("ip,jq,npq->nij", weights, weights, digits.images) * (255 / 16)
    images = np.rint(images).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(labels))
    test, train = order[:test_rows], order[test_rows:]
    with path.open("wb") as stream:
        np.savez_compressed(
            stream, x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test]
        )
