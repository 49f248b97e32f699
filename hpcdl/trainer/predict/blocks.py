"""What a prediction has so far, a file for each block: it goes on from there after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from hpcdl.contract.atomic import replace, replacing
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir

FOLDER = "blocks"
_FILES = "files.json"
_TENSORFLOW = "tensorflow"
_ENGINE = "engine"  # what made the blocks; without this file it was TensorFlow


class Answers(NamedTuple):
    """What came out of one block.

    rows: the numbers of the files that are images, int64 (rows,).
    probabilities: float32 (rows, classes).
    looks: float32 (rows, 5); see `hpcdl.trainer.fit.looks`.
    notes: text (rows,).
    unusable: why the other files could not be used, by their numbers.
    seconds: how long it took.
    """

    rows: Any
    probabilities: Any
    looks: Any
    notes: Any
    unusable: Dict[int, str]
    seconds: float


class Blocks:
    """The saved blocks of a run.

    Args:
        run_dir: the run's folder.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._folder = run_dir.path(FOLDER)
        os.makedirs(self._folder, exist_ok=True)

    def files(self) -> Optional[List[str]]:
        """The files that the first attempt listed; None before it has done so."""
        try:
            with open(self._path(_FILES), encoding="utf-8") as file:
                return list(json.load(file))
        except FileNotFoundError:
            return None

    def keep_files(self, names: List[str]) -> None:
        """Note the files: later attempts read the same ones, whatever has come since."""
        content = json.dumps(names).encode("utf-8")
        keep_trying(_FILES, lambda: replace(self._path(_FILES), content))

    def begin(self, engine: str) -> None:
        """Keep to one engine: the blocks of another one differ in the last digits, and are removed.

        Args:
            engine: see `hpcdl.trainer.predict.engine`.
        """
        before = _TENSORFLOW
        path = self._path(_ENGINE)
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
            before = file.read()
        if before != engine:
            for number in reversed(range(self.done())):  # what is left is whole from the first on
                os.remove(self._path(_name(number)))
        keep_trying(_ENGINE, lambda: replace(path, engine.encode("utf-8")))

    def done(self) -> int:
        """How many blocks are saved, from the first one on."""
        number = 0
        while os.path.exists(self._path(_name(number))):
            number += 1
        return number

    def save(self, number: int, answers: Answers) -> None:
        """Save a block, whole or not at all.

        Raises:
            Unsaved: the disk takes nothing.
        """
        path = self._path(_name(number))
        unusable = json.dumps(answers.unusable).encode("utf-8")

        def write() -> None:
            with replacing(path) as file:
                np.savez(
                    file,
                    rows=answers.rows,
                    probabilities=answers.probabilities,
                    looks=answers.looks,
                    notes=np.array(answers.notes, np.str_),
                    unusable=np.frombuffer(unusable, np.uint8),
                    seconds=answers.seconds,
                )

        keep_trying(_name(number), write)

    def all(self) -> Iterator[Answers]:
        """The saved blocks in order."""
        for number in range(self.done()):
            with np.load(self._path(_name(number))) as saved:
                unusable = json.loads(saved["unusable"].tobytes().decode("utf-8"))
                yield Answers(
                    saved["rows"],
                    saved["probabilities"],
                    saved["looks"],
                    saved["notes"],
                    {int(row): why for row, why in unusable.items()},
                    float(saved["seconds"]),
                )

    def remove(self) -> None:
        """Remove the blocks of a prediction that is done."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


def _name(number: int) -> str:
    return "{:06}.npz".format(number)
