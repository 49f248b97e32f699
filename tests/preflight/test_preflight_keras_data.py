"""What Keras's load_data() would fetch on the node is found before."""

from __future__ import annotations

import hashlib

import pytest

from hpcdl.preflight import kerasdata

pytestmark = pytest.mark.cases("F11")

MNIST = "from tensorflow.keras.datasets import mnist\n"


@pytest.fixture
def check(world):
    def make(program, *sets):
        world.write("program.py", program)
        report = world.check("script.yaml", *sets, only="script")
        assert not report.skipped, report.skipped
        return [finding for _, finding in report.findings]

    return make


@pytest.mark.parametrize(
    ("call", "file"),
    [
        ("mnist.load_data()", "mnist.npz"),
        ("mnist.load_data('other.npz')", "other.npz"),
        ("mnist.load_data(path='other.npz')", "other.npz"),
        ("imdb.load_data(num_words=10)", "imdb.npz"),
        ("imdb.load_data('other.npz', 10)", "other.npz"),
        ("imdb.get_word_index()", "imdb_word_index.json"),
        ("reuters.load_data()", "reuters.npz"),
        ("reuters.get_word_index()", "reuters_word_index.json"),
        ("boston_housing.load_data()", "boston_housing.npz"),
        ("california_housing.load_data('small')", "california_housing.npz"),
        ("cifar10.load_data()", "cifar-10-batches-py-target_archive"),
        ("cifar100.load_data()", "cifar-100-python-target_archive"),
    ],
)
def test_other_file_is_found(check, world, call, file):
    """The staged file is not the one whose checksum Keras compares."""
    (world.data / file).write_bytes(b"rebuilt")

    found = check(f"import tensorflow as tf\nx = tf.keras.datasets.{call}\n")

    assert len(found) == 1
    assert found[0].blocks
    assert found[0].cause.startswith("program.py:2: ")
    assert f"{world.data / file} is another one by its checksum" in found[0].cause
    assert found[0].fix.startswith("read it with numpy.load(")


def test_keras_own_file_passes(check, world, monkeypatch):
    (world.data / "mnist.npz").write_bytes(b"Keras's")
    digest = hashlib.sha256(b"Keras's").hexdigest()
    read = kerasdata._Read(("mnist.npz",), digest, 0, "mnist")
    monkeypatch.setitem(kerasdata._READS, "mnist.load_data", read)

    assert check(f"{MNIST}mnist.load_data()\n") == []


def test_file_not_staged_is_found(check):
    found = check(f"{MNIST}mnist.load_data()\n")

    assert len(found) == 1
    assert "mnist.npz, which does not exist: it would be fetched" in found[0].cause
    assert "hpcdl data stage mnist" in found[0].fix


def test_path_of_keras_2_is_hashed(check, world):
    """Keras 2 takes a whole path, and compares that file's checksum."""
    world.stub(keras="2.11.0")
    other = world.write("mnist.npz", b"rebuilt")

    found = check(f"{MNIST}mnist.load_data(path='{other}')\n")

    assert [f"{other} is another one by its checksum" in one.cause for one in found] == [True]


@pytest.mark.parametrize(
    ("program", "blocks"),
    [
        (f"{MNIST}def f():\n    mnist.load_data()\n", [False]),
        (f"{MNIST}if new:\n    mnist.load_data()\n", []),
        (f"{MNIST}name = 'x'\nmnist.load_data(path=name)\n", [False]),  # Keras 3 may refuse it
        ("import mnist\nmnist.load_data()\n", []),
        ("from mine.datasets import mnist\nmnist.load_data()\n", []),
    ],
)
def test_unreached_load_data_does_not_block(check, world, program, blocks):
    world.stub(mnist="1")
    world.write("mine.py", "")

    assert [one.blocks for one in check(program) if "load_data" in one.cause] == blocks


@pytest.mark.parametrize("text", ["env.KERAS_HOME=/mine", "env.https_proxy=http://p"])
def test_own_cache_or_proxy(check, text):
    """A job with a cache of its own, or with internet, is not refused."""
    assert not any(one.blocks for one in check(f"{MNIST}mnist.load_data()\n", text))
