"""CIFAR's archives hold pickles: they become arrays, and whatever else is in them is refused and never run."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcdl.errors import UserError
from hpcdl.staging.cifar import convert
from tests.staging.conftest import archive_of, as_python_2, cifar10_members, names

TEST = "cifar-10-batches-py/test_batch"


class Calls:
    """Pickled, it asks for a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def batch(**changes: Any) -> bytes:
    """A part of two pictures, changed."""
    good = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
    return pickle.dumps(
        {key.encode(): value for key, value in {**good, **changes}.items()}, protocol=4
    )


def converted(folder: Path, members: dict[str, bytes], name: str = "cifar10") -> dict[str, Any]:
    (folder / "archive.tar.gz").write_bytes(archive_of(members))
    convert(name, folder / "archive.tar.gz", folder / "out.npz")
    with np.load(folder / "out.npz", allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


@pytest.mark.parametrize("order", ["C", "F"])
def test_cifar_pixels_have_right_places(tmp_path, order):
    """As numpy itself reads them: red, green and blue planes of 32 rows of 32."""
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3072), np.uint8)
    arrays = converted(
        tmp_path, {**cifar10_members(), TEST: batch(data=np.array(pixels, order=order))}
    )

    assert (arrays["x_test"] == pixels.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)).all()
    assert {name: (array.shape, array.dtype.name) for name, array in arrays.items()} == {
        "x_train": ((10, 32, 32, 3), "uint8"),
        "y_train": ((10,), "uint8"),
        "x_test": ((2, 32, 32, 3), "uint8"),
        "y_test": ((2,), "uint8"),
    }


def test_cifar_reads_python_2_pickles(tmp_path):
    """The published archives were written by Python 2."""
    pixels = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    arrays = converted(tmp_path, {**cifar10_members(), TEST: as_python_2(b"test", pixels, [3, 7])})

    assert (arrays["x_test"][:, 0, 1, 2] == pixels[:, 2 * 1024 + 1]).all()
    assert arrays["y_test"].tolist() == [3, 7]


def test_cifar100_uses_fine_labels(tmp_path):
    part = {
        b"data": np.zeros((2, 3072), np.uint8),
        b"fine_labels": [99, 0],
        b"coarse_labels": [1, 2],
    }
    content = pickle.dumps(part, protocol=4)

    arrays = converted(
        tmp_path, {"cifar-100-python/train": content, "cifar-100-python/test": content}, "cifar100"
    )

    assert arrays["y_train"].tolist() == [99, 0]


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Calls(os.system, "touch pwned"), protocol=4),
        batch(labels=Calls(os.system, "touch pwned")),
        batch(data=Calls(eval, "open('pwned', 'w')")),
        batch(filenames=Calls(os.mkdir, "pwned")),
        pickle.dumps(Calls(getattr, 1, "real"), protocol=4),
        b"cos\nsystem\n(S'touch pwned'\ntR.",
        b"cnumpy\nload\n(S'pwned'\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"cnumpy\ndtype\n}S'__class__'\ncos\nsystem\nsb.",
    ],
    ids=["all", "labels", "data", "aside", "getattr", "text", "load", "dotted", "build"],
)
def test_hostile_pickle_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        UserError,
        match=r"test_batch is not as CIFAR's are, and was not used: UnpicklingError: it asks",
    ):
        converted(tmp_path, {**cifar10_members(), TEST: content})

    assert names(tmp_path) == ["archive.tar.gz"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "EOFError"),
        (b"\x80\x04", "was not used"),
        (batch()[:-40], "was not used"),
        (pickle.dumps([1]), "TypeError"),
        (batch(data=[1, 2]), "AttributeError"),
        (batch(data=np.zeros((2, 3072), np.float32)), "not one of 3072 unsigned bytes a row"),
        (batch(data=np.zeros((2, 3071), np.uint8)), "not one of 3072 unsigned bytes a row"),
        (batch(data=np.array([None, None])), "was not used"),
        (batch(labels=[0]), "expected a list of 2 labels"),
        (batch(labels=[0, 10]), "a label is not a number from 0 to 9"),
        (batch(labels=[0, -1]), "a label is not a number from 0 to 9"),
        (batch(labels=[0, True]), "a label is not a number from 0 to 9"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}, protocol=4), "KeyError: b'labels'"),
    ],
    ids=[
        "empty", "header", "cut", "list", "no-array", "floats", "narrow", "objects", "few", "high", "low", "bool",
        "none",
    ],
)  # fmt: skip
def test_malformed_cifar_part_is_refused(tmp_path, content, part):
    """The message names the archive, its member and the fault."""
    with pytest.raises(UserError) as refused:
        converted(tmp_path, {**cifar10_members(), TEST: content})

    assert part in str(refused.value)
    assert f"archive.tar.gz: {TEST}" in str(refused.value)


def test_cifar_array_with_huge_shape(tmp_path):
    """A pickled array that claims a huge shape is refused."""
    content = batch().replace(b"K\x02M\x00\x0c\x86", b"J\x00\x00\x00\x40M\x00\x0c\x86")
    assert content != batch()

    with pytest.raises(UserError, match="cannot reshape"):
        converted(tmp_path, {**cifar10_members(), TEST: content})


def test_cifar_member_with_huge_size(tmp_path):
    """A member that claims a terabyte is refused before it is read."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo(TEST)
        info.size = 1 << 40
        tar.addfile(info)
    (tmp_path / "archive.tar.gz").write_bytes(out.getvalue())

    with pytest.raises(UserError, match="test_batch has 1,099,511,627,776 bytes; expected fewer"):
        convert("cifar10", tmp_path / "archive.tar.gz", tmp_path / "out.npz")


def test_cifar_archive_cannot_escape_folder(tmp_path):
    """Members with '..' or absolute names write nothing outside the data folder."""
    (tmp_path / "in").mkdir()
    evil = {"../evil": b"x", f"{tmp_path}/evil": b"x", "cifar-10-batches-py/../../evil": b"x"}

    converted(tmp_path / "in", {**evil, **cifar10_members()})

    assert names(tmp_path) == ["in", "in/archive.tar.gz", "in/out.npz"]


def test_cifar_link_member_is_not_followed(tmp_path):
    """A link in the place of a batch counts as a missing batch."""
    out = io.BytesIO(
        archive_of({name: content for name, content in cifar10_members().items() if name != TEST})
    )
    (tmp_path / "plain.tar").write_bytes(b"")
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as tar, tarfile.open(fileobj=out) as old:
        for member in old:
            tar.addfile(member, old.extractfile(member))
        link = tarfile.TarInfo(TEST)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    with pytest.raises(
        UserError,
        match=r"archive\.tar\.gz has no cifar-10-batches-py/test_batch; expected the archive",
    ):
        convert("cifar10", tmp_path / "archive.tar.gz", tmp_path / "out.npz")


@pytest.mark.parametrize("harm", ["cut", "zip", "empty"])
def test_damaged_archive(tmp_path, harm):
    good = archive_of(cifar10_members())
    content = {"cut": good[: len(good) // 2], "zip": b"PK\x03\x04" + good, "empty": b""}[harm]
    (tmp_path / "archive.tar.gz").write_bytes(content)

    with pytest.raises(UserError, match=r"archive\.tar\.gz (cannot be read as|has no)"):
        convert("cifar10", tmp_path / "archive.tar.gz", tmp_path / "out.npz")
