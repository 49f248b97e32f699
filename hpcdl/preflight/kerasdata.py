"""The files that Keras's own ``load_data()`` reads exist, and are those that Keras expects."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcdl.cache import cached_sha256
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import calls
from hpcdl.staging import how_to_stage
from hpcdl.staging.catalogue import SETS
from hpcdl.usercode.notebook import where

_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_PROXIES = ("https_proxy", "all_proxy")  # with one of them a node may have internet
_NO_INTERNET = "compute nodes have no internet"


@dataclass(frozen=True)
class _Read:
    """What a call reads.

    Args:
        files: the names that its file may have in Keras's cache, depending on Keras's version.
        digest: the sha256 or md5 that Keras expects; "" if it does not compare any.
        path_position: the position of the argument ``path``, from 0; None if there is none.
        staged_as: the set's name for ``hpcdl data stage``; None if hpcdl does not know it.
    """

    files: tuple[str, ...]
    digest: str
    path_position: int | None = None
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
        ("imdb.npz",), "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f", 0
    ),
    "imdb.get_word_index": _Read(("imdb_word_index.json",), "bfafd718b763782e994055a2d397834f", 0),
    "reuters.load_data": _Read(
        ("reuters.npz",), "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916", 0
    ),
    "reuters.get_word_index": _Read(
        ("reuters_word_index.json",), "4d44cc38712099c9e383dc6e5f11a921", 0
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
    """The calls of ``load_data()`` and ``get_word_index()`` whose files would be fetched.

    Args:
        subject: what is checked.
        file: the program's name.
        source: its text.
        keras: the version of the Keras that it uses; "" if it is unknown.
    """
    if "KERAS_HOME" in subject.job.env:
        return  # the job has other files
    variables = [*subject.job.env, *subject.plan.environment.pass_env]
    has_proxy = any(name.lower() in _PROXIES for name in variables)
    for name, call, at_once in calls(source):
        words = name.split(".")
        function = ".".join(words[-2:])
        read = _READS.get(function)
        if read is None or "datasets" not in words:
            continue
        paths = _paths(call, read, keras, Path(subject.cluster.data_root))
        problem = _problem(paths, read, Path(subject.cluster.data_root))
        if problem:
            message, fix = problem
            cause = f"{where(file, source, call.lineno)}: {function}() {message}"
            yield Finding(cause, fix, "job", "script", at_once and not has_proxy)


def _paths(call: ast.Call, read: _Read, keras: str, root: Path) -> list[Path]:
    """The files that a call may read, of which one is enough; none if that is not known."""
    argument = _path_argument(call, read.path_position)
    if argument is not None and not isinstance(argument, ast.Constant):
        return []
    value = None if argument is None else argument.value
    if value in (None, ""):
        return [root / name for name in read.files]
    if not isinstance(value, str):
        return []
    if "/" not in value:
        return [root / value]
    # Keras 3 refuses such a path: the check of scripts reports that.
    path = Path(value)
    is_read = not keras.startswith("3") and path.is_absolute() and path.exists()
    return [path] if is_read else []


def _problem(paths: list[Path], read: _Read, root: Path) -> tuple[str, str] | None:
    """What is wrong with the files that a call reads, and the remedy; None if nothing is.

    Args:
        paths: from `_paths`.
        read: what the call reads.
        root: the folder of the staged sets.
    """
    if not paths:
        return None
    existing = [path for path in paths if path.exists()]
    if not existing:
        message = f"reads {paths[0]}, which does not exist: it would be fetched"
        return f"{message}, and {_NO_INTERNET}", _how_to_get(read, root)
    others = [path for path in existing if not _has_digest(path, read.digest)]
    if not read.digest or len(others) < len(existing):
        return None
    fix = f"read it with numpy.load({str(others[0])!r}), as jobs/MNIST.py does"
    if read.staged_as:
        fix += f", or let hpcdl train: data: {{name: {read.staged_as}}}"
    message = f"expects Keras's own file, and {others[0]} is another one by its checksum"
    message = f"{message}: it would be fetched again, and {_NO_INTERNET}"
    return message, f"{fix}; or {_how_to_get(read, root)}"


def _path_argument(call: ast.Call, position: int | None) -> ast.expr | None:
    """The argument ``path`` of a call, or a ``**`` that may have it; None if there is none."""
    if position is None:
        return None
    for word in reversed(call.keywords):
        if word.arg in ("path", None):
            return word.value
    return call.args[position] if position < len(call.args) else None


def _how_to_get(read: _Read, root: Path) -> str:
    if read.staged_as:
        return how_to_stage(read.staged_as, str(root))
    return f"fetch {_GOOGLE}/{read.files[0]} on a machine with internet, and put it into {root}"


def _has_digest(path: Path, digest: str) -> bool:
    """Whether a file has a checksum. A file that cannot be read here counts as right."""
    try:
        if len(digest) == 64:
            return cached_sha256(path) == digest
        return hashlib.md5(path.read_bytes()).hexdigest() == digest  # noqa: S324 - Keras's choice
    except OSError:
        return True
