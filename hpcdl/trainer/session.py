"""What every step of a training needs: the run, its data set, devices and folder, and a clock."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from hpcdl.contract.spec import RunSpec
from hpcdl.trainer.dataset.load import Dataset, epoch_order
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.devices import Devices
from hpcdl.trainer.runtime.together import Together

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REPRESENTATIVE = 200  # more images do not bring int8's answers closer to the model's


class Rows(NamedTuple):
    """Row numbers, int32: of the train part to train and to validate, of the test part to test."""

    train: NDArray[Any]
    validation: NDArray[Any]
    test: NDArray[Any]


@dataclass
class Session:
    """One training: the only one of a run, or that of one fold.

    run: the checked spec.
    dataset: the checked data set. Its images are released when their sources are opened.
    devices: the devices that train.
    run_dir: the folder that its files are written to.
    timing: seconds spent so far, by name; they become ``timing`` of result.json.
    """

    run: RunSpec
    dataset: Dataset
    devices: Devices
    run_dir: RunDir
    timing: Dict[str, float]

    @property
    def strategy(self) -> Any:
        """The tf.distribute strategy of the devices."""
        return self.devices.strategy

    @property
    def together(self) -> Together:
        """What the replicas of the devices tell each other."""
        return self.devices.together

    @property
    def one_hot(self) -> int:
        """The length of one-hot labels; 0 if the loss takes class numbers."""
        return self.dataset.classes if self.run.train.labels == "one_hot" else 0

    @property
    def scoring_rows(self) -> int:
        """Rows of a batch that is scored: without gradients, twice a training batch fits."""
        return 2 * self.run.train.batch_size

    def in_folder(self, run_dir: RunDir) -> Session:
        """Another training of the same run, with its own folder and its own timing."""
        return replace(self, run_dir=run_dir, timing={})

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Store the seconds that the block takes under a name; nothing if it fails."""
        started = time.perf_counter()
        yield
        self.timing[name] = time.perf_counter() - started


class ExportImages(NamedTuple):
    """The images that an export of the model needs.

    dataset: the data set, perhaps with released images.
    test: source of its test part.
    representative: uint8 images of the train part, the first `_REPRESENTATIVE` of epoch 0.
    """

    dataset: Dataset
    test: Source
    representative: Any


class ImageSources:
    """Opens the sources of the images of both parts of a data set.

    Args:
        session: the training, or one of several on the same data set.
        keep: whether to keep the sources for the next training. Otherwise the caller alone holds
            them, and a training on features frees the images.
    """

    def __init__(self, session: Session, keep: bool) -> None:
        self._for_export: Optional[ExportImages] = None  # once they are open, if the run exports
        self._run = session.run
        self._dataset = session.dataset
        self._one_hot = session.one_hot
        self._together = session.together
        self._keep = keep
        self._sources: Optional[Tuple[Source, Source]] = None

    def open(self) -> Tuple[Source, Source]:
        """The sources of the train part and of the test part."""
        if self._sources is not None:
            return self._sources
        dataset = self._dataset
        sources = (
            Source(dataset.train, self._one_hot, self._together),
            Source(dataset.test, self._one_hot, self._together),
        )
        if self._keep:
            self._sources = sources
        if self._run.export:
            self._for_export = export_images(dataset, sources, self._run.train.seed)
        return sources

    def for_export(self) -> ExportImages:
        """The images for an export, of the sources that were opened first."""
        if self._for_export is None:
            self.open()  # all folds were trained by earlier attempts
        assert self._for_export is not None  # noqa: S101 - for mypy
        return self._for_export


def export_images(dataset: Dataset, sources: Tuple[Source, Source], seed: int) -> ExportImages:
    """The images for an export.

    Args:
        dataset: the data set.
        sources: of its train part and its test part.
        seed: the run's.
    """
    train, test = sources
    order = epoch_order(np.arange(train.rows, dtype=np.int32), seed, 0)
    parts = []
    for item in train.each_whole(order[:_REPRESENTATIVE], _REPRESENTATIVE // 4):
        parts.append(train.take(item)[0].numpy())
    levels = np.rint(np.clip(np.concatenate(parts), 0, 1) * 255).astype(np.uint8)
    return ExportImages(dataset, test, levels)
