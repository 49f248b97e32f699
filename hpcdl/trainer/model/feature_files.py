"""Files of what a network gives for each image, in the run folder or in a cache for other runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple, cast

import numpy as np
import tensorflow as tf

from hpcdl.contract import run_files
from hpcdl.contract.atomic import replacing
from hpcdl.contract.spec import BackboneSpec
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DATA_SETTINGS = ("image_size", "color", "test_split")  # what images depend on, read from files


def remove_features(run_dir: RunDir) -> None:
    """Remove the features of a run that is done from its folder, and its teacher's answers."""
    for name in (run_files.FEATURES, run_files.TEACHER):
        with contextlib.suppress(OSError):
            os.remove(run_dir.path(name))


class FeatureFiles:
    """The features of one data set on disk, complete or only the first rows.

    Only complete ones are written to the cache folder, where other runs read them.

    Args:
        run_dir: the run folder.
        cache: model.features_cache; None if only this run uses the features.
        key: the hash of what the features depend on.
        name: of the file in the run folder.
    """

    def __init__(
        self, run_dir: RunDir, cache: Optional[str], key: str, name: str = run_files.FEATURES
    ) -> None:
        self._in_run_folder = run_dir.path(name)
        self._in_cache = os.path.join(run_dir.path(cache), key + ".npz") if cache else None
        self._key = key

    def read(self, values: NDArray[Any]) -> int:
        """Fill the first rows of `values` with the stored features; returns how many rows."""
        for path in (self._in_cache, self._in_run_folder):
            if path is None or not os.path.exists(path):
                continue
            try:
                rows = _read(path, self._key, values)
            except (
                Exception
            ) as error:  # a torn file fails in many ways; the features can be computed
                say("features: {} is not used: {}: {}".format(path, type(error).__name__, error))
                continue
            if rows:
                message = "features: those of {:,} of {:,} images come from {}"
                say(message.format(rows, len(values), path))
                return rows
        return 0

    def write(self, values: NDArray[Any], rows: int) -> bool:
        """Write the first `rows` rows; a failure is written to the log, and the run goes on.

        Returns:
            whether they are on disk.
        """
        complete = rows == len(values)
        if complete and self._in_cache is not None and self._write(self._in_cache, values):
            with contextlib.suppress(OSError):
                os.remove(self._in_run_folder)
            return True
        return self._write(self._in_run_folder, values[:rows])

    def _write(self, path: str, values: NDArray[Any]) -> bool:
        try:
            _write_aside(path, self._key, values)
        except OSError as error:
            say("features: cannot be kept in {}: {}".format(path, error))
            return False
        return True


def _write_aside(path: str, key: str, values: NDArray[Any]) -> None:
    aside = "{}.{}.{}.tmp".format(path, socket.gethostname(), os.getpid())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with replacing(path, aside) as file:
        np.savez(file, values=values, key=np.array(key), sha256=np.array(_digest(key, values)))


def _read(path: str, key: str, values: NDArray[Any]) -> int:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        if str(archive["key"]) != key:
            raise ValueError("it holds features of other data, or of another network")
        stored = archive["values"]
        if str(archive["sha256"]) != _digest(key, stored):
            raise ValueError("its content does not have the hash stored with it")
    values[: len(stored)] = stored
    return len(stored)


def _digest(key: str, values: NDArray[Any]) -> str:
    digest = hashlib.sha256("{} {}".format(key, values.shape).encode("ascii"))
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def features_key(session: Session, frozen: Any, train: Source, test: Source) -> str:
    """A hash of all that features depend on: the images and their order, and the frozen half."""
    spec = cast(BackboneSpec, session.run.model)
    preprocessing = []
    for layer in frozen.layers:
        if layer.name == "preprocessing":
            preprocessing.append(layer.get_config())
    network = {
        "network": [spec.backbone, spec.pooling, _hash_of(frozen.get_weights())],
        "preprocessing": preprocessing,
        "dtype": str(frozen.output.dtype),
    }
    return key_of(session, (train, test), network)


def key_of(session: Session, sources: Sequence[Source], network: Dict[str, Any]) -> str:
    """A hash of images, their order, and what they pass through.

    Args:
        session: the training.
        sources: the images: of the train part, or of this and the test part.
        network: what else the values depend on, as JSON.
    """
    dataset = session.dataset
    content: Dict[str, Any] = {
        "images": [source.digest() for source in sources],
        "image_shape": dataset.image_shape,
        "tensorflow": str(tf.__version__),
        **network,
    }
    if None in content["images"]:  # they are read from files during the training
        data = asdict(session.run.data)
        content["files"] = _files(dataset.path)
        content["labels"] = [_hash_of([part.labels]) for part in (dataset.train, dataset.test)]
        content["data"] = {name: data[name] for name in _DATA_SETTINGS}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _hash_of(arrays: List[NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _files(path: str) -> List[Tuple[str, int, int]]:
    """The files of a data set: name, size in bytes, and when they were changed, in nanoseconds."""
    files = []
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            status = os.stat(file)
            files.append((os.path.relpath(file, path), status.st_size, status.st_mtime_ns))
    return sorted(files)
