"""A Keras callback for plain scripts: saves after each epoch, stops when asked, and goes on there.

It needs TensorFlow, and nothing else of hpcdl: a copy of this one file next to a script is enough.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import math
import os
import pickle
import stat
import sys
import time
from typing import Any, Dict, Iterator, List, NoReturn, Optional, Sequence, Set, Tuple

import numpy as np
import tensorflow as tf

EXIT_STOPPED = 75  # asks hpcdl, or the batch script, to run the script again
_STATES = 2  # that stay: the newest may be torn if the machine went down
_LOOK_S = 1.0  # seconds between two looks for the stop file
_STATE_PREFIX = "epoch-"
_INDEX = ".index"  # the suffix of one file of each state

_used_folders: Set[str] = set()  # by a fit of this process


class SaveAndStop(tf.keras.callbacks.Callback):  # type: ignore[misc]  # its base is Any
    """Brings ``model.fit`` through time limits, preemption and kills, epoch by epoch.

    After each epoch it saves the model, the optimizer and the epoch's number. When the file that
    HPCDL_STOP_FILE names appears, it ends the script with status 75. Run again, ``fit`` goes on
    after the last saved epoch. An interrupted epoch begins again from the state before it, so that
    each counts once. Random numbers (the order of the data, dropout) are other ones after a stop:
    the weights are as good as those of an uninterrupted training, not the same bits.

    Each epoch's loss and metrics also become the run's metrics: see `log_metrics`.

    One epoch must fit into the time limit; ``fit(steps_per_epoch=...)`` makes it shorter. A folder
    is for one ``fit``: give each another one. To train from the start again, remove it.

    Args:
        folder: where the state is stored; by default ``state`` next to the stop file, which is in
            the run folder, or where a script of ``hpcdl render`` was submitted.
        also: the callbacks of this ``fit`` that remember something, such as EarlyStopping and
            ModelCheckpoint. In the list of callbacks they stand before this one.
        every_s: the least seconds between two saves; a stop at an epoch's end always saves.
    """

    def __init__(
        self, folder: Optional[str] = None, also: Sequence[Any] = (), every_s: float = 0.0
    ) -> None:
        super().__init__()
        self.stop_file = os.path.abspath(os.environ.get("HPCDL_STOP_FILE", "stop"))
        if not folder:
            folder = os.path.join(os.path.dirname(self.stop_file), "state")
        self.folder = os.path.abspath(folder)
        self.also = list(also)
        self.every_s = every_s
        self._supports_tf_logs = True  # else Keras 2 waits for the device after each batch
        self._looked_at = 0.0

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        """Restore what was saved, the epoch included."""
        if self.folder in _used_folders:
            message = (
                "{} has served another fit of this script; "
                "give each fit its own SaveAndStop(folder)"
            )
            raise ValueError(message.format(self.folder))
        _used_folders.add(self.folder)
        _warn_of_replicas(self.model)
        self._begin = [dict(vars(callback)) for callback in self.also]
        self._epochs: List[Tuple[int, Dict[str, Any]]] = []
        self._epochs_here = 0
        self._saved_at = time.monotonic()
        self._progress = _Progress()
        try:
            self._checkpoint = tf.train.Checkpoint(
                model=self.model, optimizer=self.model.optimizer, progress=self._progress
            )
        except ValueError as error:  # Keras 3.0
            raise ValueError(
                "SaveAndStop cannot save the variables of this Keras, as TensorFlow's checkpoints "
                "cannot; use an image with Keras 2, or 3.1 and newer"
            ) from error
        path = self._newest()
        if path is not None:
            self._restore(path)

    def on_train_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        """Stop in the middle of an epoch, if asked to."""
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        if os.path.exists(self.stop_file):
            _say("asked to stop: this epoch will begin again")
            if not self._epochs_here:
                remedy = "make epochs shorter: fit(steps_per_epoch=...)"
                _say("no epoch fitted into this attempt; {}".format(remedy))
            _exit()

    on_test_batch_begin = on_train_batch_begin  # validation is a part of the epoch

    def on_epoch_end(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        """Save; stop, if asked to."""
        self._epochs.append((epoch, dict(logs or {})))
        self._epochs_here += 1
        scalars = {name: value for name, value in (logs or {}).items() if np.ndim(value) == 0}
        log_metrics(**dict(scalars, epoch=epoch + 1))
        if self.model.stop_training or epoch + 1 >= self.params["epochs"]:
            return  # on_train_end comes next, and may put the best weights back before
        stop = os.path.exists(self.stop_file)
        if stop or time.monotonic() - self._saved_at >= self.every_s:
            self._save()
        if stop:
            _say("asked to stop: saved after epoch {}".format(epoch + 1))
            _exit()

    def on_train_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        """Save the end; give ``fit`` the history of all attempts."""
        _begin_at(self.model, None)
        history = self.model.history
        history.epoch = [epoch for epoch, _ in self._epochs]
        history.history = {}
        for _, values in self._epochs:
            for name, value in values.items():
                history.history.setdefault(name, []).append(value)
        if self._epochs_here:
            self._save()
            if os.path.exists(self.stop_file):
                _say("asked to stop: the training is over and saved")
                _exit()

    def _save(self) -> None:
        """Write the state; if a later save than the first fails, the training goes on."""
        self._progress.value = {
            "epochs": self._epochs,
            "also": [_changed(*pair) for pair in zip(self.also, self._begin)],
            "ended": bool(self.model.stop_training),
            "input_shape": getattr(self.model, "input_shape", None),
        }
        epoch = self._epochs[-1][0] + 1
        try:
            with _nobody_else_writes():
                os.makedirs(self.folder, exist_ok=True)
                name = "{}{}".format(_STATE_PREFIX, epoch)
                self._checkpoint.write(os.path.join(self.folder, name))
        except (OSError, tf.errors.OpError) as error:
            if not self._states():
                raise
            _say("epoch {} cannot be saved, the one before still is: {}".format(epoch, error))
            return
        self._saved_at = time.monotonic()
        for old in self._states()[_STATES:]:
            for file in glob.glob(glob.escape(old) + ".*"):
                with contextlib.suppress(OSError):
                    os.remove(file)

    def _restore(self, path: str) -> None:
        """Read a state, and let ``fit`` begin after it."""
        self._progress.path = path
        try:
            self._checkpoint.read(path).assert_existing_objects_matched().expect_partial()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                "{} is the state of another model; remove it to train from the start".format(
                    self.folder
                )
            ) from error
        saved = self._progress.value
        self._epochs = saved["epochs"]
        for callback, values in zip(self.also, saved["also"]):
            vars(callback).update(values)
        done, epochs = self._epochs[-1][0] + 1, self.params["epochs"]
        if saved["ended"] or done >= epochs:
            message = "{} says that this training is over; remove it to train from the start"
            _say(message.format(self.folder))
            done = epochs
            # Such a model is built by its first batch, and there will not be one.
            if not self.model.built and saved["input_shape"]:
                self.model.build(saved["input_shape"])
        else:
            _say("goes on after epoch {} of {} ({})".format(done, epochs, self.folder))
        _begin_at(self.model, done)

    def _newest(self) -> Optional[str]:
        """The newest state that can be read to its end."""
        for path in self._states():
            try:
                reader = tf.train.load_checkpoint(path)
                for name in reader.get_variable_to_shape_map():
                    reader.get_tensor(name)  # compares its checksum
                return path
            except Exception as error:  # TensorFlow's C++ raises many kinds
                _say("{} is damaged ({}); using the one before".format(path, error))
        return None

    def _states(self) -> List[str]:
        """The saved states, newest first."""
        pattern = os.path.join(glob.escape(self.folder), _STATE_PREFIX + "*" + _INDEX)
        states = [path[: -len(_INDEX)] for path in glob.glob(pattern)]
        return sorted(states, key=lambda path: int(path.rpartition("-")[2]), reverse=True)


class UnsafeStateError(Exception):
    """A state that is a pickle, and that others could have written."""


class _Progress(tf.train.experimental.PythonState):  # type: ignore[misc]
    """What a checkpoint holds in addition to variables."""

    def __init__(self) -> None:
        super().__init__()
        self.value: Dict[str, Any] = {}
        self.path = ""  # of the state that is read

    def serialize(self) -> bytes:
        return _packed(self.value)

    def deserialize(self, string_value: bytes) -> None:
        if string_value.startswith(_NPZ):
            self.value = _unpacked(string_value)
            return
        # Older versions of this file wrote pickles. Loading one runs what is in it.
        _refuse_what_others_could_write(self.path)
        self.value = pickle.loads(string_value)  # noqa: S301 - the user's own, as was just seen


def _refuse_what_others_could_write(state: str) -> None:
    """Look at the files of a pickled state, and at their folder.

    Raises:
        UnsafeStateError: others could have written it.
    """
    folder = os.path.dirname(state)
    for path in [folder, *glob.glob(glob.escape(state) + ".*")]:
        reason = _others_could_write(path)
        if reason:
            message = (
                "{} {}. The state in it was written by an older SaveAndStop, as a pickle, and "
                "loading a pickle runs what is in it: only you may be able to write there. If "
                "nobody changed it: chmod -R go-w {}. Otherwise remove that folder to train from "
                "the start"
            )
            raise UnsafeStateError(message.format(path, reason, folder))


def _others_could_write(path: str) -> Optional[str]:
    """Why a file or folder may not be this user's own work; None if it is."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "is a link"
    if status.st_uid != os.geteuid():
        return "belongs to user {}, not to {}".format(status.st_uid, os.geteuid())
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by others (mode {:o})".format(stat.S_IMODE(status.st_mode))
    return None


@contextlib.contextmanager
def _nobody_else_writes() -> Iterator[None]:
    """Only the user can write the files that are created inside this block, whatever the umask."""
    usual = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(usual)


_NPZ = b"PK"  # how an npz file begins
_TREE = "tree"


def _packed(value: Any) -> bytes:
    """Numbers, words, arrays, and lists and dicts of them, as an npz file without pickles.

    The tree is JSON. Each thing in it is a pair of its kind and its value; an array's value is its
    name in the file.
    """
    arrays: Dict[str, Any] = {}
    tree = json.dumps(_tree(value, arrays))
    arrays[_TREE] = np.frombuffer(tree.encode("utf-8"), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _tree(value: Any, arrays: Dict[str, Any]) -> List[Any]:
    """A value as a pair of its kind and its content; arrays go to `arrays`."""
    if isinstance(value, (np.generic, np.ndarray)) or hasattr(value, "numpy"):
        name = "array{}".format(len(arrays))
        arrays[name] = np.asarray(value)
        kind = "number" if isinstance(value, np.generic) else "array"
        return [kind, name]
    if isinstance(value, dict):
        pairs = [[_tree(key, arrays), _tree(item, arrays)] for key, item in value.items()]
        return ["dict", pairs]
    if isinstance(value, (list, tuple)):
        items = [_tree(item, arrays) for item in value]
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, items]
    if callable(value):  # how a callback compares; its function depends on the version of Keras
        return ["compares", "less" if value(1.0, 2.0) else "greater"]
    return ["plain", value]


def _unpacked(data: bytes) -> Any:
    """What `_packed` has packed."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return _value(json.loads(arrays[_TREE].tobytes().decode("utf-8")), arrays)


def _value(tree: List[Any], arrays: Any) -> Any:
    """The value of a tree that `_tree` has made."""
    kind, value = tree
    if kind == "dict":
        return {_value(key, arrays): _value(item, arrays) for key, item in value}
    if kind in ("list", "tuple"):
        items = [_value(item, arrays) for item in value]
        return items if kind == "list" else tuple(items)
    if kind == "compares":
        return np.less if value == "less" else np.greater
    if kind == "array":
        return arrays[value]
    if kind == "number":
        return arrays[value][()]
    return value


def log_metrics(**values: Any) -> None:
    """Add a line to the run's metrics, which ``hpcdl status``, ``result`` and ``report`` show.

    HPCDL_METRICS_FILE names the file; without that variable nothing happens.

    Args:
        values: numbers by name. ``epoch`` or ``step`` says what they belong to. After a restart, a
            line of the same epoch or step replaces the one before.
    """
    path = os.environ.get("HPCDL_METRICS_FILE")
    if not path:
        return
    numbers = {name: _number(value) for name, value in values.items()}
    line = json.dumps(numbers) + "\n"
    try:
        with open(path, "ab+", buffering=0) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            if file.read(1) not in (b"", b"\n"):  # a kill left half a line
                line = "\n" + line
            file.write(line.encode("utf-8"))
    except OSError as error:
        _say("the metrics cannot be written: {}".format(error))


def _number(value: Any) -> Any:
    """A value as JSON has it, which does not have NaN."""
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)  # hpcdl says that it is not a number
    return number if math.isfinite(number) else None


def _changed(callback: Any, begin: Dict[str, Any]) -> Dict[str, Any]:
    """What another callback has noted since the training began: numbers, words and lists of arrays.

    Also how it compares: Keras 3.3 forgets the best value when it finds that out again.
    """
    changed = {}
    for name, value in vars(callback).items():
        if value is begin.get(name):
            continue
        if name == "monitor_op" or _is_simple(value):
            changed[name] = value
    return changed


def _is_simple(value: Any) -> bool:
    """Whether a state can hold a value: a number, a word, an array, or a list of them."""
    items = value if isinstance(value, list) else [value]
    simple = (bool, int, float, str, np.generic, np.ndarray)
    return all(isinstance(item, simple) for item in items)


class _Counters:
    """Stands where Keras 2 looks for the epoch and the step to begin at."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def maybe_load_initial_counters_from_ckpt(self, *_: Any, **__: Any) -> Tuple[int, int]:
        return self.epoch, 0


def _begin_at(model: Any, epoch: Optional[int]) -> None:
    """Let ``fit`` begin at an epoch, as Keras's BackupAndRestore does in Keras 2 and in Keras 3."""
    if hasattr(model, "_training_state"):
        model._training_state = None if epoch is None else _Counters(epoch)
    else:
        model._initial_epoch = epoch


def _warn_of_replicas(model: Any) -> None:
    """Say so if this Keras trains or counts wrongly on several replicas, and there are several."""
    strategy = getattr(model, "distribute_strategy", None)
    version = getattr(tf.keras, "__version__", None) or "2"  # tf_keras does not say it
    release = tuple(int(part) for part in version.split(".")[:2])
    if getattr(strategy, "num_replicas_in_sync", 1) > 1 and (3, 0) <= release < (3, 10):
        message = (
            "Keras {} trains or counts wrongly on several GPUs, see hpcdl's docs/compatibility.md; "
            "use one GPU, or an image with Keras 2, or 3.10 and newer"
        )
        _say(message.format(version))


def _say(text: str) -> None:
    print("\nSaveAndStop: {}".format(text), flush=True)  # Keras's progress bar leaves its line open


def _exit() -> NoReturn:
    sys.exit(EXIT_STOPPED)
