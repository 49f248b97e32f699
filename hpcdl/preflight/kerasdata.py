"""The files that Keras's own ``load_data()`` reads: there, and the ones that it wants."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl.cache import cached_sha256
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import calls
from hpcdl.staging import how_to_stage
from hpcdl.staging.catalogue import SETS
from hpcdl.usercode.notebook import where

_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"

_PROXIES = ("https_proxy", "all_proxy")  # with one of them a node may have internet


@dataclass(frozen=True)
class _Read:
    """What a call reads.

    Args:
        files: the names that its file may have in Keras's cache, by Keras's version.
        digest: the sha256 or md5 that Keras compares it with; empty where it compares nothing.
        path_at: which argument of the call is ``path``, from 0; None where it has none.
        staged_as: the set's name for ``hpcdl data stage``, or None where hpcdl does not know it.
    """

    files: tuple[str, ...]
    digest: str
    path_at: int | None = None
    staged_as: str | None = None


# Source: https://github.com/keras-team/keras, keras/src/datasets/*.py at v3.15.1, and
# keras/datasets/*.py at v2.11.0 (the same checksums; california_housing came with Keras 3).
# CIFAR's names: https://github.com/keras-team/keras, keras/src/utils/file_utils.py, get_file.
_CIFAR10 = ("cifar-10-batches-py-target_archive", "cifar-10-batches-py.tar.gz")
_CIFAR100 = ("cifar-100-python-target_archive", "cifar-100-python.tar.gz")
_READS = {
    "mnist.load_data": _Read(("mnist.npz",), SETS["mnist"][0].digest, 0, "mnist"),
    "fashion_mnist.load_data": _Read((SETS["fashion_mnist"][0].file,), "", None, "fashion_mnist"),
    "cifar10.load_data": _Read(_CIFAR10, SETS["cifar10"][0].digest, None, "cifar10"),
    "cifar100.load_data": _Read(_CIFAR100, SETS["cifar100"][0].digest, None, "cifar100"),
    "imdb.load_data": _Read(
        ("imdb.npz",), "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f", True
    ),
    "imdb.get_word_index": _Read(("imdb_word_index.json",), "bfafd718b763782e994055a2d397834f", 0),
    "reuters.load_data": _Read(
        ("reuters.npz",), "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916", 0
    ),
    "reuters.get_word_index": _Read(
        ("reuters_word_index.json",), "4d44cc38712099c9e383dc6e5f11a921", True
    ),
    "boston_housing.load_data": _Read(
        ("boston_housing.npz",),
        "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
        0,
    ),
    "california_housing.load_data": _Read(
        ("california_housing.npz",),
        "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
        1,
    ),
}


def keras_data(subject: Subject, file: str, source: str, keras: str) -> Iterator[Finding]:
    """What is wrong with the files of every ``load_data()`` and ``get_word_index()`` of a program.

    Args:
        subject: what is checked.
        file: the program's name.
        source: its text.
        keras: the version of the Keras that it uses, or nothing where that is not known.
    """
    if "KERAS_HOME" in subject.job.env:
        return  # the job has files of its own
    variables = [*subject.job.env, *subject.plan.pass_env]
    has_proxy = any(name.lower() in _PROXIES for name in variables)
    for name, call, at_once in calls(source):
        words = name.split(".")
        read = _READS.get(".".join(words[-2:]))
        if read is None or "datasets" not in words:
            continue
        message, fix = _wrong(subject, call, read, keras)
        if message:
            text = f"{where(file, source, call.lineno)}: {'.'.join(words[-2:])}() {message}"
            yield Finding(text, fix, "job", "script", at_once and not has_proxy)


def _wrong(subject: Subject, call: ast.Call, read: _Read, keras: str) -> tuple[str, str]:
    """What is wrong with a call's file, and the remedy; nothing where it is right or not known."""
    root = Path(subject.cluster.data_root)
    named = _path_argument(call, read.path_at)
    if named is not None and not isinstance(named, str):
        return "", ""
    if named and "/" in named:
        paths = [Path(named)]  # Keras 3 refuses it, which the check of scripts says
        if keras.startswith("3") or not paths[0].is_absolute() or not paths[0].exists():
            return "", ""
    else:
        paths = [root / name for name in ([named] if named else read.files)]
    there = [path for path in paths if path.exists()]
    if not there:
        message = f"reads {paths[0]}, which is not there: it would be fetched"
        return f"{message}, and compute nodes have no internet", _how_to_get(read, root)
    wrong = [path for path in there if not _fits(path, read.digest)]
    if not read.digest or len(wrong) < len(there):
        return "", ""
    message = f"wants Keras's own file, and {wrong[0]} is another one by its checksum"
    fix = f"read it with numpy.load({str(wrong[0])!r}), as jobs/MNIST.py does"
    if read.staged_as:
        fix += f", or let hpcdl train: data: {{name: {read.staged_as}}}"
    message = f"{message}: it would be fetched again, and compute nodes have no internet"
    return message, f"{fix}; or {_how_to_get(read, root)}"


def _path_argument(call: ast.Call, place: int | None) -> Any:
    """The ``path`` of a call: text, None where it has none, or a tree where it is not a constant."""
    given: ast.expr | None = None
    if place is None:
        return None
    if place < len(call.args):
        given = call.args[place]
    for word in call.keywords:
        if word.arg in ("path", None):
            given = word.value
    if isinstance(given, ast.Constant):
        return given.value
    return given


def _how_to_get(read: _Read, root: Path) -> str:
    if read.staged_as:
        return how_to_stage(read.staged_as, str(root))
    return f"fetch {_GOOGLE}/{read.files[0]} on a machine with internet, and put it into {root}"


def _fits(path: Path, digest: str) -> bool:
    """Whether a file has a checksum; one that cannot be read from here is believed."""
    try:
        if len(digest) == 64:
            return cached_sha256(path) == digest
        return hashlib.md5(path.read_bytes()).hexdigest() == digest  # noqa: S324 - Keras's choice
    except OSError:
        return True
