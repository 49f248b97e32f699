"""Features of a frozen backbone: computed once for every row, kept for later attempts and runs, and trained on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import socket
import time
from dataclasses import asdict
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    cast,
)

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from hpcdl.contract import machine, run_files
from hpcdl.contract.atomic import replacing
from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import BackboneSpec, RunSpec
from hpcdl.trainer.dataset.load import Dataset, Part
from hpcdl.trainer.dataset.source import Source, my_share
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.model import backbone
from hpcdl.trainer.runtime.log import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = run_files.FEATURES
_LARGEST_GRAPH_BYTES = 2**29  # of constants: a graph is one message of protobuf's, at most 2 GiB


class Halves(NamedTuple):
    """A model as two that share its layers: the frozen one makes features of images, the other classes of features."""

    frozen: Any
    head: Any


def halves(run: RunSpec, model: Any, strategy: Any) -> Optional[Halves]:
    """The halves of a run's model, where its features are the same in each epoch; else None: it trains as a whole."""
    if not isinstance(run.model, BackboneSpec) or run.model.features == "off" or run.data.augment:
        return None
    with strategy.scope():
        found = backbone.split(model)
    return None if found is None else Halves(*found)


class Features:
    """Takes items of a source of images and gives their features: each batch goes through the frozen half."""

    def __init__(self, source: Source, frozen: Callable[[Any], Any]) -> None:
        self.rows = source.rows
        self.feed, self.pull, self.each, self.blaming = (
            source.feed,
            source.pull,
            source.each,
            source.blaming,
        )
        self._source, self._frozen = source, frozen

    def take(self, item: Any) -> Tuple[Any, Any]:
        """An item's float32 features (rows, ...), and its int32 labels."""
        images, labels = self._source.take(item)
        return self._frozen(images), labels


def sources(
    run: RunSpec,
    run_dir: RunDir,
    dataset: Dataset,
    strategy: Any,
    frozen: Any,
    train: Source,
    test: Source,
    one_hot: int,
) -> Tuple[Any, Any]:
    """Sources of features in place of those of images, with the same rows: held in memory, where they fit.

    What was computed stays in the run folder until the run is done, or in ``model.features_cache``.

    Args:
        train, test: the sources of the images; the caller may let go of them.
        one_hot: as `Source` takes it.

    Raises:
        Stopped: the stop file appeared; what was computed is saved.
    """
    shape = tuple(frozen.output_shape[1:])
    rows = train.rows + test.rows
    size = 4 * rows * int(np.prod(shape))
    if not machine.fits(2 * size):  # twice, while TensorFlow takes its own copy
        say(
            "features: {:,.0f} MB for {:,} images do not fit into memory ({:.1f} GB for this run): "
            "computed anew in each epoch".format(size / 1e6, rows, machine.limit_bytes() / 1024**3)
        )
        return _through(frozen, strategy, train, test)
    kept = _Kept(
        run_dir,
        cast(BackboneSpec, run.model).features_cache,
        _key(run, dataset, frozen, train, test),
    )
    values = np.empty((rows, *shape), np.float32)
    done = kept.read(values)
    if done < rows:
        _compute(
            run, run_dir, strategy, _through(frozen, strategy, train, test), values, done, kept
        )
        kept.write(values, rows)
    parts = (
        Part(values[: train.rows], dataset.train.labels, 1.0),
        Part(values[train.rows :], dataset.test.labels, 1.0),
    )
    del values
    return Source(parts[0], one_hot), Source(parts[1], one_hot)


def _through(frozen: Any, strategy: Any, train: Source, test: Source) -> Tuple[Features, Features]:
    """Both sources, through the frozen half."""
    call = (
        functools.partial(_plain, frozen) if strategy.num_replicas_in_sync > 1 else _quick(frozen)
    )
    return Features(train, call), Features(test, call)


def _plain(frozen: Any, images: Any) -> Any:
    return tf.cast(frozen(images, training=False), tf.float32)


def _quick(frozen: Any) -> Callable[[Any], Any]:
    """The frozen half as one graph for batches of all lengths, with its weights as constants where it can hold them.

    TensorFlow then folds batch normalisation into the convolutions: MobileNetV2 takes 0.7 times the processor time
    per image (2.5 ms, not 3.6).
    """
    plain = tf.function(functools.partial(_plain, frozen), autograph=False)
    graph = plain.get_concrete_function(tf.TensorSpec(frozen.input_shape, tf.float32))
    if sum(weight.nbytes for weight in frozen.get_weights()) <= _LARGEST_GRAPH_BYTES:
        graph = convert_variables_to_constants_v2(graph)

    def quick(images: Any) -> Any:
        return tf.ensure_shape(
            tf.nest.flatten(graph(images))[0], [images.shape[0], *frozen.output_shape[1:]]
        )

    return quick


def forget(run_dir: RunDir) -> None:
    """Remove the features of a run that is done from its folder."""
    with contextlib.suppress(OSError):
        os.remove(run_dir.path(FILE))


def _compute(
    run: RunSpec,
    run_dir: RunDir,
    strategy: Any,
    given: Tuple[Features, Features],
    values: NDArray[Any],
    done: int,
    kept: _Kept,
) -> None:
    """Fill the rows of `values` from `done` on: the train part's, then the test part's."""
    run_dir.heartbeat(phase="features", images=done, of_images=len(values), saved_images=done)
    started = saved = time.perf_counter()
    first = saved_rows = done
    for part in _batches(given, strategy, done, 2 * run.train.batch_size):
        values[done : done + len(part)] = part
        done += len(part)
        run_dir.heartbeat(images=done)
        if run_dir.stop_requested():
            stopped = "stopped on request with the features of {:,} of {:,} images".format(
                done, len(values)
            )
            if kept.write(values, done):
                run_dir.heartbeat(phase="stopped", saved_images=done)
                raise Stopped("{}; they are saved, run me again to go on".format(stopped))
            run_dir.heartbeat(phase="stopped", saved_images=saved_rows)
            raise Stopped(
                "{}; they could not be saved, as said above: run again, I go on from {:,}".format(
                    stopped, saved_rows
                )
            )
        if time.perf_counter() - saved >= run.saving.every_s:
            if kept.write(values, done):
                saved_rows = done
                run_dir.heartbeat(saved_images=done)
            saved = time.perf_counter()
    seconds = time.perf_counter() - started
    say(
        "features: {:,} images through {} in {:.1f} s ({:,.0f} images/s), {} values each, {:,.0f} MB".format(
            done - first,
            cast(BackboneSpec, run.model).backbone,
            seconds,
            (done - first) / seconds,
            "x".join(str(length) for length in values.shape[1:]),
            values.nbytes / 1e6,
        )
    )


def _batches(
    given: Tuple[Features, Features], strategy: Any, first: int, batch_rows: int
) -> Iterator[Any]:
    """The features of all rows from `first` on, a batch at a time, float32."""
    for source in given:
        if first < source.rows:
            step = tf.function(
                lambda item, of=source: strategy.run(
                    lambda it: of.take(my_share(it)[0])[0], args=(item,)
                )
            )
            for item in source.each(np.arange(first, source.rows, dtype=np.int32), batch_rows):
                if strategy.num_replicas_in_sync == 1:
                    yield source.take(item)[0].numpy()
                else:
                    yield np.concatenate(
                        [part.numpy() for part in strategy.experimental_local_results(step(item))]
                    )
        first = max(0, first - source.rows)


class _Kept:
    """The file that features stay in: the cache folder's, by their key, or the run's own, where half of them may be."""

    def __init__(self, run_dir: RunDir, cache: Optional[str], key: str) -> None:
        self._own = run_dir.path(FILE)
        self._cached = os.path.join(run_dir.path(cache), key + ".npz") if cache else None
        self._key = key

    def read(self, values: NDArray[Any]) -> int:
        """Fill the first rows of `values` with what is kept of them; returns how many."""
        for path in [self._cached, self._own]:
            if path is None or not os.path.exists(path):
                continue
            try:
                done = _read(path, self._key, values)
            except (
                Exception
            ) as error:  # a torn file fails in many ways, and computing again is as good
                say("features: {} is not used: {}: {}".format(path, type(error).__name__, error))
                continue
            if done:
                say(
                    "features: those of {:,} of {:,} images come from {}".format(
                        done, len(values), path
                    )
                )
                return done
        return 0

    def write(self, values: NDArray[Any], done: int) -> bool:
        """Keep the first `done` rows; where that cannot be, the log says so, the run goes on, and False comes back."""
        whole = done == len(values)
        for path in [self._cached if whole else None, self._own]:
            if path is None:
                continue
            try:
                _write(path, self._key, values[:done])
            except OSError as error:
                say("features: cannot be kept in {}: {}".format(path, error))
                continue
            if path != self._own:
                with contextlib.suppress(OSError):
                    os.remove(self._own)
            return True
        return False


def _write(path: str, key: str, values: NDArray[Any]) -> None:
    aside = "{}.{}.{}.tmp".format(path, socket.gethostname(), os.getpid())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with replacing(path, aside) as file:
        np.savez(file, values=values, key=np.array(key), sha256=np.array(_digest(key, values)))


def _read(path: str, key: str, values: NDArray[Any]) -> int:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        if str(archive["key"]) != key:
            raise ValueError("it holds features of other data, or of another network")
        found = archive["values"]
        if str(archive["sha256"]) != _digest(key, found):
            raise ValueError("its content does not have the hash stored with it")
    values[: len(found)] = found
    return len(found)


def _digest(key: str, values: NDArray[Any]) -> str:
    digest = hashlib.sha256("{} {}".format(key, values.shape).encode("ascii"))
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _key(run: RunSpec, dataset: Dataset, frozen: Any, train: Source, test: Source) -> str:
    """A hash of all that the features are a function of: the images and their order, and the frozen half."""
    model, data = cast(BackboneSpec, run.model), run.data
    weights = hashlib.sha256()
    for array in frozen.get_weights():
        weights.update(np.ascontiguousarray(array).data)
    about: Dict[str, Any] = {
        "images": [source.digest() for source in (train, test)],
        "image_shape": dataset.image_shape,
        "network": [model.backbone, model.pooling, weights.hexdigest()],
        "preprocessing": [
            layer.get_config() for layer in frozen.layers if layer.name == "preprocessing"
        ],
        "dtype": str(frozen.output.dtype),
        "tensorflow": str(tf.__version__),
    }
    if None in about["images"]:  # read from files on the way
        about["files"] = _files(dataset.path)
        about["labels"] = [
            hashlib.sha256(part.labels.tobytes()).hexdigest()
            for part in (dataset.train, dataset.test)
        ]
        about["data"] = {name: asdict(data)[name] for name in ("image_size", "color", "test_split")}
    return hashlib.sha256(
        json.dumps(about, sort_keys=True, default=str).encode("utf-8")
    ).hexdigest()


def _files(path: str) -> List[Tuple[str, int, int]]:
    """The files of a data set: name, size in bytes, and when they were changed."""
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            stat = os.stat(os.path.join(folder, name))
            found.append(
                (os.path.relpath(os.path.join(folder, name), path), stat.st_size, stat.st_mtime_ns)
            )
    return sorted(found)
