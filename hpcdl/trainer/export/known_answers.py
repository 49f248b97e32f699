"""The trained model's own answers to the test images, against which its exports are measured."""

from __future__ import annotations

import os
import zipfile
from typing import Any, Tuple

import numpy as np

from hpcdl.contract import run_files
from hpcdl.trainer.dataset.load import Dataset
from hpcdl.trainer.export.errors import NotExported

_TRAIN_AGAIN = "train it again to export it"


def read_answers(folder: str) -> Tuple[Any, Any]:
    """The answers that a training noted.

    Args:
        folder: of the run, or of a fold.

    Returns:
        labels int32 (rows,) and probabilities float32 (rows, classes) of all test images.

    Raises:
        NotExported: there are none, or the file is damaged.
    """
    path = os.path.join(folder, run_files.PREDICTIONS)
    if not os.path.exists(path):
        raise NotExported(
            "there is no {}: the model does not give one probability for each class, or the file "
            "was removed".format(path)
        )
    try:
        with open(path, "rb") as stream, np.load(stream) as file:
            return file["labels"], file["probabilities"]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise NotExported("{} is damaged; {}".format(path, _TRAIN_AGAIN)) from error


def require_same_images(labels: Any, dataset: Dataset) -> None:
    """Raise `NotExported` if the data set has changed since the training.

    Figures would otherwise compare answers to other images.

    Args:
        labels: of the test images in the training, int32 (rows,).
        dataset: as it is now.
    """
    now = dataset.test.labels
    if len(now) == len(labels) and np.array_equal(now, labels):
        return
    change = "their classes are other ones, or in another order"
    if len(now) != len(labels):
        change = "there are {:,}, and there were {:,}".format(len(now), len(labels))
    raise NotExported(
        "the test images of {} are not those of the training any more: {}; put them back as they "
        "were, or {}".format(dataset.path, change, _TRAIN_AGAIN)
    )
