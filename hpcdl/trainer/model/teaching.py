"""What a teacher answers for the training images: once for all epochs, or in each step."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

import numpy as np

from hpcdl.contract import run_files
from hpcdl.contract.spec import RunSpec
from hpcdl.trainer.dataset.load import Dataset
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.model import other_runs
from hpcdl.trainer.model.feature_files import FeatureFiles, key_of
from hpcdl.trainer.model.features import Features
from hpcdl.trainer.model.one_pass import OnePass
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session


def find_teachers(run: RunSpec, dataset: Dataset) -> List[other_runs.OtherModel]:
    """The teachers of a run: none without train.distill.

    Raises:
        DataError: one of them is not there, or does not fit.
    """
    spec = run.train.distill
    if spec is None:
        return []
    paths = [spec.teacher] if isinstance(spec.teacher, str) else spec.teacher
    hashes = spec.sha256 or [""] * len(paths)
    return [
        other_runs.find("train.distill.teacher", path, sha256, dataset)
        for path, sha256 in zip(paths, hashes)
    ]


def answers_for(session: Session, train: Source) -> Optional[Any]:
    """A teacher's answers for all rows of the train part, float32 (rows, classes).

    They are computed once. What was computed is in the run folder until the run is done, as
    features are. With data.augment the teacher must see each epoch's images, and several workers
    do not share what was computed: then there are none here, and `in_step` gives them.

    Raises:
        Stopped: the stop file appeared; what was computed is saved.
        DataError: a teacher does not fit, or cannot be loaded.
    """
    run = session.run
    others = find_teachers(run, session.dataset)
    if not others or _answers_in_step(session):
        return None
    with session.strategy.scope():
        teachers = other_runs.Teachers(others, session.dataset.image_shape)
    values = np.empty((train.rows, session.dataset.classes), np.float32)
    hashes = run.train.distill.sha256 if run.train.distill else []
    key = key_of(session, [train], {"teachers": [[other.path for other in others], hashes]})
    files = FeatureFiles(session.run_dir.home, None, key, run_files.TEACHER)
    answers = teachers.answers
    if session.strategy.num_replicas_in_sync == 1:
        answers = teachers.graph()
    network = " and ".join(other.facts["model"]["name"] for other in others)
    one_pass = OnePass(session, files, "teacher's answers", network)
    one_pass.fill(values, [Features(train, answers, session.strategy)])
    return values


def _answers_in_step(session: Session) -> bool:
    return bool(session.run.data.augment) or not session.together.alone


def in_step(session: Session) -> Optional[Callable[[Any], Any]]:
    """What a teacher answers for a batch of images; None if its answers are computed before."""
    run = session.run
    if run.train.distill is None or not _answers_in_step(session):
        return None
    others = find_teachers(run, session.dataset)
    reason = "for the images as data.augment changes them"
    if not run.data.augment:
        reason = "as the nodes do not share its answers"
    say("teacher: it answers in each step, {}".format(reason))
    with session.strategy.scope():
        return other_runs.Teachers(others, session.dataset.image_shape).answers
