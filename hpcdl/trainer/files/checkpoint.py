"""Checkpoints: all that training changes, in one file that is either whole or recognised as torn."""

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

    Each holds the model of the best epoch so far as well: it needs no other file, so that nothing can
    be missing of the newest one, and a damaged one costs itself alone.

    Args:
        folder: made when the first checkpoint is saved.
        variables: in a fixed order; of an own one, each replica's value is kept.
        strategy: the strategy that the variables live under.
        fingerprint: hash of what was asked for; a checkpoint of another run is not used.
        keep: how many of the newest stay; the ones before the last are for the case that it is torn.
    """

    def __init__(
        self, folder: str, variables: List[Variable], strategy: Any, fingerprint: str, keep: int
    ) -> None:
        self._folder = folder
        self._variables = variables
        self._of_model = [variable for variable in variables if variable.of_model]
        self._best: List[
            NDArray[Any]
        ] = []  # never changed in place: the saving thread may be writing them
        self._strategy = strategy
        self._fingerprint = fingerprint
        self._keep = keep

    def copy(self, step: int, state: Dict[str, Any]) -> Snapshot:
        """Copy all variables, with `state` (JSON) after `step` steps. Training may go on with the variables."""
        arrays = self._values(self._variables) + self._best
        shapes = [{"shape": list(array.shape), "dtype": str(array.dtype)} for array in arrays]
        names = [name for name, _ in self._expected(bool(self._best))]
        about = dict(state, step=step, fingerprint=self._fingerprint, names=names, arrays=shapes)
        return Snapshot(step, json.dumps(about).encode("utf-8"), arrays)

    def write(self, snapshot: Snapshot) -> str:
        """Write a copy; returns its path. Can be done in another thread than `copy`.

        On return the file is on disk under its name, and files older than the newest few are removed.

        Raises:
            OSError: it cannot be written; nothing is left of it, and the older files are untouched.
        """
        step, text, arrays = snapshot
        entries: Dict[str, Any] = {
            "v{:04d}".format(place): array for place, array in enumerate(arrays)
        }
        entries["about"] = np.frombuffer(text, np.uint8)
        entries["sha256"] = np.frombuffer(_digest(text, arrays), np.uint8)
        os.makedirs(self._folder, exist_ok=True)
        path = os.path.join(self._folder, "{:08d}.npz".format(step))
        with replacing(path, path + ".tmp") as file:
            np.savez(file, **entries)
        _sync_folder(self._folder)
        earlier = [file for file in self._newest_first() if _step(os.path.basename(file)) <= step]
        for old in earlier[
            self._keep :
        ]:  # later ones are torn or another run's: they count for nothing
            os.remove(old)
        return path

    def restore(self) -> Optional[Dict[str, Any]]:
        """Set all variables from the newest whole checkpoint of this run; returns its state, or None."""
        for path in self._newest_first():
            try:
                about, arrays = _read(path)
                self._check(about, arrays)
            except (
                Exception
            ) as error:  # a torn file fails in many ways, and the one before it is as good
                say("checkpoint {} is not used: {}: {}".format(path, type(error).__name__, error))
                continue
            self._best = arrays[len(self._expected(False)) :]
            self._assign(self._variables, arrays)
            say("resuming from {} (step {:,})".format(path, about["step"]))
            return about
        return None

    def keep_best(self) -> None:
        """Copy the model as it is now: the checkpoints from here on hold it as the best one."""
        self._best = self._values(self._of_model)

    def assign_best(self) -> None:
        """Give the model the weights of the last `keep_best`, which may have been in an earlier process."""
        self._assign(self._of_model, self._best)

    def _newest_first(self) -> List[str]:
        names = os.listdir(self._folder) if os.path.isdir(self._folder) else []
        steps = sorted(
            (name for name in names if name[:-4].isdigit() and name.endswith(".npz")), key=_step
        )
        return [os.path.join(self._folder, name) for name in reversed(steps)]

    def _check(self, about: Dict[str, Any], arrays: List[NDArray[Any]]) -> None:
        if about["fingerprint"] != self._fingerprint:
            raise ValueError("it belongs to a run with other settings")
        expected = self._expected(len(arrays) > len(self._expected(False)))
        if expected != [(name, array.shape) for name, array in zip(about["names"], arrays)]:
            raise ValueError("its variables are not those of this model")

    def _expected(self, best: bool) -> List[Tuple[str, Tuple[int, ...]]]:
        """The names and shapes of a checkpoint's arrays; with `best`, those of the best epoch's model come last."""
        parts = self._parts(self._variables)
        parts += [("best/" + name, part) for name, part in self._parts(self._of_model) if best]
        return [(name, tuple(part.shape)) for name, part in parts]

    def _parts(self, variables: List[Variable]) -> List[Tuple[str, Any]]:
        """What is kept of the variables: of an own one all replicas' copies, else the first one's."""
        parts = []
        for name, variable, own, _ in variables:
            copies = self._strategy.experimental_local_results(variable)
            parts += [(name, copy) for copy in (copies if own else copies[:1])]
        return parts

    def _values(self, variables: List[Variable]) -> List[NDArray[Any]]:
        return [part.numpy() for _, part in self._parts(variables)]  # a copy on the CPU too

    def _assign(self, variables: List[Variable], arrays: List[NDArray[Any]]) -> None:
        remaining = iter(arrays)
        for _, variable, own, _ in variables:
            # a shared one hands its value on to all replicas
            for target in (
                self._strategy.experimental_local_results(variable) if own else [variable]
            ):
                array = next(remaining)
                if (
                    array.dtype.kind == "V"
                ):  # bfloat16 and the like, which numpy stores as bare bytes
                    array = array.view(variable.dtype.as_numpy_dtype)
                target.assign(array)


def _read(path: str) -> Tuple[Dict[str, Any], List[NDArray[Any]]]:
    with np.load(path, allow_pickle=False) as archive:
        text = archive["about"].tobytes()
        about = json.loads(text.decode("utf-8"))
        arrays = [archive["v{:04d}".format(place)] for place in range(len(about["arrays"]))]
        if archive["sha256"].tobytes() != _digest(text, arrays):
            raise ValueError("its content does not have the hash stored with it")
    return about, arrays


def _digest(text: bytes, arrays: List[NDArray[Any]]) -> bytes:
    digest = hashlib.sha256(text)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()


def _step(name: str) -> int:
    return int(name[:-4])


def _sync_folder(folder: str) -> None:
    """Make a rename in `folder` survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
