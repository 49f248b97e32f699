"""Data sets under data_root: the embedded one, copies of the user's, their checksums; whole or not at all."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest


@pytest.fixture
def stage(cli, tmp_path):
    def run(*argv, root="data"):
        return cli("data", "stage", *argv, "--data-root", tmp_path / root)

    return run


def test_digits_staged_equal_twice(stage, tmp_path):
    pytest.importorskip("sklearn")
    first, second = stage("digits", root="a"), stage("digits", root="b")

    assert first.out == f"{tmp_path}/a/digits.npz\n"
    assert first.err.splitlines()[0].startswith("staged digits: 0.")
    assert (tmp_path / "a" / "digits.npz").read_bytes() == (
        tmp_path / "b" / "digits.npz"
    ).read_bytes()
    assert (first.code, second.code) == (0, 0)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "digits.npz.sha256"], cwd=tmp_path / "a", check=True
    )
    with np.load(tmp_path / "a" / "digits.npz") as data:
        arrays = {name: data[name] for name in data.files}
    assert {name: (array.shape, array.dtype.name) for name, array in arrays.items()} == {
        "x_train": ((1437, 28, 28), "uint8"),
        "y_train": ((1437,), "uint8"),
        "x_test": ((360, 28, 28), "uint8"),
        "y_test": ((360,), "uint8"),
    }
    assert (arrays["x_train"].min(), arrays["x_train"].max()) == (0, 255)
    for part in ("y_train", "y_test"):
        assert np.bincount(arrays[part]).min() >= 20, "every class is in both parts"


def test_npz_copied(stage, cli, tmp_path):
    np.savez(tmp_path / "my.npz", x_train=np.zeros(3))

    answer = stage("mine", "--from", tmp_path / "my.npz")
    listed = cli("data", "list", "--data-root", tmp_path / "data")

    assert answer.out == f"{tmp_path}/data/mine.npz\n"
    assert (tmp_path / "data" / "mine.npz").read_bytes() == (tmp_path / "my.npz").read_bytes()
    assert sorted(os.listdir(tmp_path / "data")) == ["mine.npz", "mine.npz.sha256"]
    assert (tmp_path / "data" / "mine.npz").stat().st_mode & 0o777 == 0o644
    assert listed.out.startswith("mine ")
    assert "not staged: digits" in listed.err


def test_fashion_mnist_folder_is_copied(stage, tmp_path):
    """IDX files are copied to the folder name that Keras looks for, with a checksum file."""
    (tmp_path / "idx").mkdir()
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (tmp_path / "idx" / name).write_text(name)

    for _ in range(2):  # the second takes the place of the first
        answer = stage("fashion_mnist", "--from", tmp_path / "idx")
        assert answer.out == f"{tmp_path}/data/fashion-mnist\n"

    assert sorted(os.listdir(tmp_path / "data")) == ["fashion-mnist", "fashion-mnist.sha256"]
    subprocess.run(
        ["sha256sum", "--check", "--strict", "fashion-mnist.sha256"],
        cwd=tmp_path / "data",
        check=True,
    )


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("nothing",), "'nothing' is not a known set; known are digits, mnist, "),
        (("mine", "--from", "nowhere.npz"), "there is no nowhere.npz"),
        (("mine", "--from", "/etc"), "mine is staged as an .npz file"),
        (("fashion_mnist", "--from", __file__), "fashion_mnist is staged as a folder of IDX files"),
        (("../evil", "--from", __file__), "a set's name has letters"),
        (("a/b", "--from", __file__), "a set's name has letters"),
        (("", "--from", __file__), "a set's name has letters"),
    ],
    ids=["unknown", "missing", "folder", "file", "parent", "slash", "empty"],
)
def test_mistake_stages_nothing(stage, tmp_path, argv, part):
    answer = stage(*argv)

    assert (answer.code, answer.out) == (2, "")
    assert part in answer.err
    assert os.listdir(tmp_path) == []


def test_data_root_below_a_file(stage, tmp_path):
    (tmp_path / "file").write_text("")
    np.savez(tmp_path / "my.npz", x_train=np.zeros(3))

    answer = stage("mine", "--from", tmp_path / "my.npz", root="file/data")

    assert (answer.code, answer.out) == (1, "")
    assert f"data_root is {tmp_path}/file/data" in answer.err


def test_root_of_cluster_used(cli, tmp_path, monkeypatch):
    (tmp_path / "site.yaml").write_text(f"name: site\ndata_root: {tmp_path}/shared\n")
    np.savez(tmp_path / "my.npz", x_train=np.zeros(3))

    answer = cli(
        "data", "stage", "mine", "--from", tmp_path / "my.npz", "--cluster", tmp_path / "site.yaml"
    )

    assert answer.out == f"{tmp_path}/shared/mine.npz\n"
