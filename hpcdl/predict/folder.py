"""Predicts the images of a folder one by one, in order, and keeps a sample of them for drift."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcdl.contract.file_names import shown
from hpcdl.contract.machine import cpus
from hpcdl.contract.new_images import list_files
from hpcdl.errors import UserError
from hpcdl.predict.exported import Exported
from hpcdl.predict.lite import LiteModels
from hpcdl.report.drift import MOST_ROWS, Sample
from hpcdl.trainer.dataset.looks import LOOKS, looks
from hpcdl.trainer.dataset.pillow import UnusableImageError, read_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AHEAD = 4  # images that wait for the model, for each CPU
_MOST_OFF = 0.01  # how far the probabilities' sum may be from 1


@dataclass(frozen=True)
class Answer:
    """What a model says of one image.

    file: its path below the folder.
    probabilities: float32 (classes,); None if the file is unusable.
    looks: float32 (5,), by `hpcdl.trainer.dataset.looks`.
    notes: on what may make the answer worse.
    why: the reason if the file is unusable.
    """

    file: str
    probabilities: NDArray[Any] | None = None
    looks: NDArray[Any] | None = None
    notes: Sequence[str] = ()
    why: str = ""


def files_of(folder: str) -> list[str]:
    """The files of a folder and of those below it.

    Raises:
        UserError: it is not a folder, or holds no files.
        OSError: a folder cannot be read.
    """
    if not os.path.isdir(folder):
        kind = "is a file" if os.path.exists(folder) else "does not exist"
        raise UserError(f"{shown(folder)} {kind}; expected a folder of JPEG or PNG images")
    files = list_files(folder)
    if not files:
        raise UserError(
            f"{shown(folder)} holds no files; expected JPEG or PNG images, also in folders"
        )
    return files


def answers(folder: str, files: Sequence[str], models: Sequence[Exported]) -> Iterator[Answer]:
    """What the models say of each file, in the order of the files.

    Files are read ahead on all CPUs; only a few images are in memory at a time.

    Args:
        folder: what the files are relative to.
        files: which.
        models: at least one; of several, the mean of the probabilities counts.

    Raises:
        RunError: a model cannot be run.
    """
    predict = LiteModels(models)
    shape, rounds = models[0].shape, models[0].rounds

    def read(file: str) -> Any:
        return read_image(os.path.join(folder, file), shape, rounds)

    workers = cpus()
    waiting: deque[tuple[str, Future[Any]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for file in files:
                waiting.append((file, pool.submit(read, file)))
                if len(waiting) >= _AHEAD * workers:
                    yield _answer(predict, *waiting.popleft())
            while waiting:
                yield _answer(predict, *waiting.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _answer(predict: LiteModels, file: str, reading: Future[Any]) -> Answer:
    """What the models say of a file that is being read."""
    try:
        image, pixels, notes = reading.result()
    except UnusableImageError as error:
        return Answer(file, why=str(error))
    probabilities = predict(image)
    if not abs(float(probabilities.sum()) - 1) < _MOST_OFF:  # also if it is NaN
        return Answer(file, why="the model gives no probabilities for it")
    return Answer(file, probabilities, looks(pixels[None])[0], notes)


class Reservoir:
    """A sample of answers, as large as `drift` wants it, however many there are.

    Source: Vitter (1985), algorithm R. The same answers give the same sample.
    """

    def __init__(self, classes: int) -> None:
        self._random = np.random.default_rng(0)
        self._rows: list[NDArray[Any]] = []
        self._classes = classes
        self.count = 0

    def add(self, answer: Answer) -> None:
        """Take an answer into account; unusable files do not count."""
        if answer.probabilities is None or answer.looks is None:
            return
        row = np.concatenate([answer.probabilities, answer.looks])
        self.count += 1
        if len(self._rows) < MOST_ROWS:
            self._rows.append(row)
            return
        place = int(self._random.integers(self.count))
        if place < MOST_ROWS:
            self._rows[place] = row

    def sample(self) -> Sample:
        """The sample, for `drift`."""
        rows = np.array(self._rows).reshape(-1, self._classes + len(LOOKS))
        return Sample(rows[:, : self._classes], rows[:, self._classes :])
