"""Checkpoints: all that training changes, copied, written, and set again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

from hpcdl.contract.errors import InternalError
from hpcdl.trainer.files.checkpoint_file import (
    Snapshot,
    read_snapshot,
    step_of,
    write_snapshot,
)
from hpcdl.trainer.files.own_copies import shared_out, typed
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.runtime.together import together_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpcdl.trainer.compat import Variable


class Checkpoints:
    """The checkpoints of one run: ``<folder>/<step, 8 digits>.npz``.

    Each holds the model of the best epoch so far as well. So a checkpoint needs no other file, and
    a damaged one costs nothing but itself. A run may go on with another number of replicas.

    On several workers all make a copy, worker 0 writes it, and all read the one that it names.

    Args:
        folder: made when the first checkpoint is saved.
        variables: in a fixed order; of an own one, each replica's value is stored.
        strategy: the tf.distribute strategy of the variables.
        fingerprints: hashes of the run's settings, as this version writes them, and as earlier
            ones did; a checkpoint of another run is not used.
        keep: how many of the newest stay; the older ones are needed if the last one is torn.
    """

    def __init__(
        self,
        folder: str,
        variables: List[Variable],
        strategy: Any,
        fingerprints: Sequence[str],
        keep: int,
    ) -> None:
        self._folder = folder
        self._variables = variables
        self._of_model = [variable for variable in variables if variable.of_model]
        # Never changed in place: the saving thread may be writing them
        self._best: List[NDArray[Any]] = []
        self._strategy = strategy
        self._together = together_of(strategy)
        self._fingerprints = fingerprints
        self._keep = keep

    def copy(self, step: int, state: Dict[str, Any]) -> Snapshot:
        """Copy all variables, with `state` (JSON) after `step` steps; then training may go on."""
        arrays = self._values(self._variables) + self._best
        shapes = []
        for array in arrays:
            shapes.append({"shape": list(array.shape), "dtype": str(array.dtype)})
        replicas = self._together.replicas
        names = [name for name, _ in self._expected(replicas, bool(self._best))]
        about = dict(state, step=step, fingerprint=self._fingerprints[0], replicas=replicas)
        about.update(names=names, arrays=shapes)
        return Snapshot(step, json.dumps(about).encode("utf-8"), arrays)

    def write(self, snapshot: Snapshot) -> str:
        """Write a copy; returns its path. Another thread may do it than the one of `copy`.

        On return the file is on disk under its name, and all but the newest files are removed.
        Workers other than the first write nothing: it does it for all.

        Raises:
            OSError: it cannot be written; nothing is left of it, and the older files are untouched.
        """
        step = snapshot.step
        path = self._path(step)
        if not self._together.first:
            return path
        write_snapshot(path, snapshot)
        # Later ones than this are torn, or of another run: they do not count.
        earlier = [file for file in self._newest_first() if step_of(file) <= step]
        for old in earlier[self._keep :]:
            os.remove(old)
        return path

    def restore(self) -> Optional[Dict[str, Any]]:
        """Set all variables from the run's newest whole checkpoint; returns its state, or None.

        Raises:
            InternalError: worker 0 can read it and this worker cannot.
        """
        about, arrays = self._newest_whole() if self._together.first else ({}, [])
        step = int(self._together.first_says([about.get("step", -1)])[0])
        if step < 0:
            return None
        if not self._together.first:
            about, arrays = self._named_by_first(step)
        stored = self._replicas_of(about)
        here = len(self._expected(stored, False))
        self._best = self._of_this_many(self._of_model, arrays[here:], stored)
        self._assign(self._variables, self._of_this_many(self._variables, arrays[:here], stored))
        say("resuming from {} (step {:,})".format(self._path(step), step))
        if stored != self._together.replicas:
            message = "it is of {} replica(s), and this attempt has {}: it goes on, {}"
            differs = "but dropout and batch normalisation draw and average otherwise"
            say(message.format(stored, self._together.replicas, differs))
        return about

    def _newest_whole(self) -> Tuple[Dict[str, Any], List[NDArray[Any]]]:
        """What the newest whole checkpoint of the run holds; nothing if there is none."""
        for path in self._newest_first():
            try:
                about, arrays = read_snapshot(path)
                self._check(about, arrays)
            except Exception as error:  # a torn file fails in many ways; the one before is good
                say("checkpoint {} is not used: {}: {}".format(path, type(error).__name__, error))
                continue
            return about, arrays
        return {}, []

    def _named_by_first(self, step: int) -> Tuple[Dict[str, Any], List[NDArray[Any]]]:
        """What the checkpoint holds that worker 0 goes on from.

        Raises:
            InternalError: it cannot be read here.
        """
        path = self._path(step)
        try:
            about, arrays = read_snapshot(path)
            self._check(about, arrays)
        except Exception as error:  # a torn file fails in many ways
            raise InternalError(
                "worker 0 goes on from {}, and worker {} cannot read it: {}: {}".format(
                    path, self._together.rank, type(error).__name__, error
                ),
                "does this node see the same files as the others?",
            ) from error
        return about, arrays

    def keep_best(self) -> None:
        """Copy the model as it is now: later checkpoints hold it as the best one."""
        self._best = self._values(self._of_model)

    def assign_best(self) -> None:
        """Give the model the weights of the last `keep_best`, also of one in an earlier process."""
        self._assign(self._of_model, self._best)

    def _path(self, step: int) -> str:
        return os.path.join(self._folder, "{:08d}.npz".format(step))

    def _newest_first(self) -> List[str]:
        if not os.path.isdir(self._folder):
            return []
        paths = []
        for name in os.listdir(self._folder):
            if name.endswith(".npz") and name[:-4].isdigit():
                paths.append(os.path.join(self._folder, name))
        return sorted(paths, key=step_of, reverse=True)

    def _check(self, about: Dict[str, Any], arrays: List[NDArray[Any]]) -> None:
        if about["fingerprint"] not in self._fingerprints:
            raise ValueError("it belongs to a run with other settings")
        replicas = self._replicas_of(about)
        expected = self._expected(replicas, len(arrays) > len(self._expected(replicas, False)))
        stored = [(name, array.shape) for name, array in zip(about["names"], arrays)]
        if stored != expected:
            raise ValueError("its variables are not those of this model")

    def _replicas_of(self, about: Dict[str, Any]) -> int:
        """How many replicas a checkpoint is of. Older versions did not write it: as many as now."""
        return int(about.get("replicas", self._together.replicas))

    def _expected(self, replicas: int, best: bool) -> List[Tuple[str, Tuple[int, ...]]]:
        """The names and shapes of a checkpoint's arrays.

        Args:
            replicas: how many it is of.
            best: whether those of the best epoch's model follow.
        """
        expected = self._expected_of(self._variables, replicas)
        if best:
            for name, shape in self._expected_of(self._of_model, replicas):
                expected.append(("best/" + name, shape))
        return expected

    def _expected_of(
        self, variables: List[Variable], replicas: int
    ) -> List[Tuple[str, Tuple[int, ...]]]:
        expected = []
        for name, variable, own, _ in variables:
            expected += [(name, tuple(variable.shape))] * (replicas if own else 1)
        return expected

    def _values(self, variables: List[Variable]) -> List[NDArray[Any]]:
        """What is stored of the variables: all copies of an own one, else the first replica's."""
        own = [variable for _, variable, own, _ in variables if own]
        copies_of_own = iter(self._together.all_copies(own))
        values: List[NDArray[Any]] = []
        for _, variable, is_own, _ in variables:
            if is_own:
                values += next(copies_of_own)
            else:  # numpy() makes a copy on the CPU too
                values.append(self._strategy.experimental_local_results(variable)[0].numpy())
        return values

    def _of_this_many(
        self, variables: List[Variable], arrays: List[NDArray[Any]], stored: int
    ) -> List[NDArray[Any]]:
        """The arrays of a checkpoint of `stored` replicas, for as many as there are now."""
        if stored == self._together.replicas or not arrays:
            return arrays
        remaining = iter(arrays)
        new: List[NDArray[Any]] = []
        for variable in variables:
            if not variable.own:
                new.append(next(remaining))
                continue
            copies = [typed(next(remaining), variable.variable) for _ in range(stored)]
            new += shared_out(copies, self._together.replicas, variable.of_model)
        return new

    def _assign(self, variables: List[Variable], arrays: List[NDArray[Any]]) -> None:
        """Set the variables; of an own one, this worker's copies."""
        remaining = iter(arrays)
        for _, variable, own, _ in variables:
            if not own:  # a shared one hands its value on to all replicas
                variable.assign(typed(next(remaining), variable))
                continue
            copies = [next(remaining) for _ in range(self._together.replicas)]
            mine = copies[self._together.from_replica :]
            targets = self._strategy.experimental_local_results(variable)
            for target, array in zip(targets, mine):
                target.assign(typed(array, variable))
