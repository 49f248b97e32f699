"""What a model is trained on and scored on: sources of images, rows, balance, precision."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from hpcdl.trainer.dataset.balance import Balance
from hpcdl.trainer.dataset.samples import write_samples
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.model.precision import set_precision
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import ImageSources, Rows, Session


@dataclass
class Inputs:
    """What a model is trained on and scored on.

    train: source of the train part: a `Source` of images, or of the features that take their
        place, or `Features`, which compute them.
    test: likewise of the test part.
    test_images: source of the test part's images.
    rows: the rows to train, to validate and to test on.
    balance: of the rows to train on.
    precision: the Keras policy: which numbers the model computes with.
    started: when their preparation began, by time.perf_counter.
    answers: a teacher's, for all rows of the train part; None if there are none.
    """

    train: Any
    test: Any
    test_images: Source
    rows: Rows
    balance: Balance
    precision: str
    started: float
    answers: Any = None


def prepare_inputs(session: Session, images: ImageSources, rows: Rows) -> Inputs:
    """Open the sources of images, balance the rows, choose the precision, and write samples.png."""
    run, dataset = session.run, session.dataset
    started = time.perf_counter()
    train, test = images.open()  # TensorFlow copies the images here; the data set's own are freed
    labels = dataset.train.labels
    balance = Balance(run.train.balance, rows.train, labels, dataset.classes, run.train.seed)
    if balance.kind != "none":
        say(balance.table(dataset.class_names))
    precision = set_precision(run.train.precision)
    if run.data.augment:
        first_epoch = balance.rows_of(0)
        write_samples(train, first_epoch, run.data.augment, run.train.seed, session.run_dir)
    return Inputs(train, test, test, rows, balance, precision, started)
