"""Checkpoints: all that training changes, in one file that is whole or recognised as torn."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from hpcdl.contract.atomic import replacing
from hpcdl.trainer.runtime.log import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.trainer.compat import Variable


class Snapshot(NamedTuple):
    """A copy of everything that training changes, in the host's memory."""

    step: int
    text: bytes  # the state and what the arrays are, as JSON
    arrays: List[NDArray[Any]]


class Checkpoints:
    """The checkpoints of one run: ``<folder>/<step, 8 digits>.npz``.

    Each holds the model of the best epoch so far as well. So a checkpoint needs no other file, and
    a damaged one costs nothing but itself.

    Args:
        folder: made when the first checkpoint is saved.
        variables: in a fixed order; of an own one, each replica's value is stored.
        strategy: the tf.distribute strategy of the variables.
        fingerprint: hash of the run's settings; a checkpoint of another run is not used.
        keep: how many of the newest stay; the older ones are needed if the last one is torn.
    """

    def __init__(
        self, folder: str, variables: List[Variable], strategy: Any, fingerprint: str, keep: int
    ) -> None:
        self._folder = folder
        self._variables = variables
        self._of_model = [variable for variable in variables if variable.of_model]
        # Never changed in place: the saving thread may be writing them
        self._best: List[NDArray[Any]] = []
        self._strategy = strategy
        self._fingerprint = fingerprint
        self._keep = keep

    def copy(self, step: int, state: Dict[str, Any]) -> Snapshot:
        """Copy all variables, with `state` (JSON) after `step` steps; then training may go on."""
        arrays = self._values(self._variables) + self._best
        shapes = []
        for array in arrays:
            shapes.append({"shape": list(array.shape), "dtype": str(array.dtype)})
        names = [name for name, _ in self._expected(bool(self._best))]
        about = dict(state, step=step, fingerprint=self._fingerprint, names=names, arrays=shapes)
        return Snapshot(step, json.dumps(about).encode("utf-8"), arrays)

    def write(self, snapshot: Snapshot) -> str:
        """Write a copy; returns its path. Another thread may do it than the one of `copy`.

        On return the file is on disk under its name, and all but the newest files are removed.

        Raises:
            OSError: it cannot be written; nothing is left of it, and the older files are untouched.
        """
        step, text, arrays = snapshot
        entries: Dict[str, Any] = {}
        for place, array in enumerate(arrays):
            entries[_entry(place)] = array
        entries["about"] = np.frombuffer(text, np.uint8)
        entries["sha256"] = np.frombuffer(_digest(text, arrays), np.uint8)
        os.makedirs(self._folder, exist_ok=True)
        path = os.path.join(self._folder, "{:08d}.npz".format(step))
        with replacing(path, path + ".tmp") as file:
            np.savez(file, **entries)
        _sync_folder(self._folder)
        # Later ones than this are torn, or of another run: they do not count.
        earlier = [file for file in self._newest_first() if _step(file) <= step]
        for old in earlier[self._keep :]:
            os.remove(old)
        return path

    def restore(self) -> Optional[Dict[str, Any]]:
        """Set all variables from the run's newest whole checkpoint; returns its state, or None."""
        for path in self._newest_first():
            try:
                about, arrays = _read(path)
                self._check(about, arrays)
            except Exception as error:  # a torn file fails in many ways; the one before is good
                say("checkpoint {} is not used: {}: {}".format(path, type(error).__name__, error))
                continue
            self._best = arrays[len(self._expected(False)) :]
            self._assign(self._variables, arrays)
            say("resuming from {} (step {:,})".format(path, about["step"]))
            return about
        return None

    def keep_best(self) -> None:
        """Copy the model as it is now: later checkpoints hold it as the best one."""
        self._best = self._values(self._of_model)

    def assign_best(self) -> None:
        """Give the model the weights of the last `keep_best`, also of one in an earlier process."""
        self._assign(self._of_model, self._best)

    def _newest_first(self) -> List[str]:
        if not os.path.isdir(self._folder):
            return []
        paths = []
        for name in os.listdir(self._folder):
            if name.endswith(".npz") and name[:-4].isdigit():
                paths.append(os.path.join(self._folder, name))
        return sorted(paths, key=_step, reverse=True)

    def _check(self, about: Dict[str, Any], arrays: List[NDArray[Any]]) -> None:
        if about["fingerprint"] != self._fingerprint:
            raise ValueError("it belongs to a run with other settings")
        expected = self._expected(len(arrays) > len(self._expected(False)))
        stored = [(name, array.shape) for name, array in zip(about["names"], arrays)]
        if stored != expected:
            raise ValueError("its variables are not those of this model")

    def _expected(self, best: bool) -> List[Tuple[str, Tuple[int, ...]]]:
        """The names and shapes of a checkpoint's arrays.

        Args:
            best: whether those of the best epoch's model follow.
        """
        parts = self._parts(self._variables)
        if best:
            parts += [("best/" + name, part) for name, part in self._parts(self._of_model)]
        return [(name, tuple(part.shape)) for name, part in parts]

    def _parts(self, variables: List[Variable]) -> List[Tuple[str, Any]]:
        """What is stored of the variables: all copies of an own one, else the first replica's."""
        parts = []
        for name, variable, own, _ in variables:
            copies = self._strategy.experimental_local_results(variable)
            if not own:
                copies = copies[:1]
            for copy in copies:
                parts.append((name, copy))
        return parts

    def _values(self, variables: List[Variable]) -> List[NDArray[Any]]:
        return [part.numpy() for _, part in self._parts(variables)]  # a copy on the CPU too

    def _assign(self, variables: List[Variable], arrays: List[NDArray[Any]]) -> None:
        remaining = iter(arrays)
        for _, variable, own, _ in variables:
            targets = [variable]  # a shared one hands its value on to all replicas
            if own:
                targets = self._strategy.experimental_local_results(variable)
            for target in targets:
                array = next(remaining)
                if array.dtype.kind == "V":  # bfloat16 and such, which numpy stores as bare bytes
                    array = array.view(variable.dtype.as_numpy_dtype)
                target.assign(array)


def _read(path: str) -> Tuple[Dict[str, Any], List[NDArray[Any]]]:
    with np.load(path, allow_pickle=False) as archive:
        text = archive["about"].tobytes()
        about = json.loads(text.decode("utf-8"))
        arrays = [archive[_entry(place)] for place in range(len(about["arrays"]))]
        if archive["sha256"].tobytes() != _digest(text, arrays):
            raise ValueError("its content does not have the hash stored with it")
    return about, arrays


def _entry(place: int) -> str:
    """The name of an array in the file."""
    return "v{:04d}".format(place)


def _digest(text: bytes, arrays: List[NDArray[Any]]) -> bytes:
    digest = hashlib.sha256(text)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()


def _step(path: str) -> int:
    """The number of steps in a file's name."""
    return int(os.path.basename(path)[:-4])


def _sync_folder(folder: str) -> None:
    """Make a rename in `folder` survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
