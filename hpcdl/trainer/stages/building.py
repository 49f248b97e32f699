"""Builds the model of a run, tests it, and compiles the part that is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List

import numpy as np

from hpcdl.contract.spec import FunctionSpec
from hpcdl.trainer import compat
from hpcdl.trainer.model import compiling, models, other_runs, probing, teaching
from hpcdl.trainer.model.features import FeatureStore, halves_of
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session
from hpcdl.trainer.stages.inputs import Inputs


@dataclass
class RunModel:
    """The model of a run.

    whole: from images to classes; it is saved.
    trained: the part that is trained and scored: the whole, or its head on features.
    compiled_by_user: whether the user's function gave it a loss and an optimizer.
    warnings: what is doubtful about it.
    """

    whole: Any
    trained: Any
    compiled_by_user: bool
    warnings: List[str]


def build_and_compile(session: Session, inputs: Inputs) -> RunModel:
    """Build the model, test it, and compile the part that is trained.

    If a frozen backbone gives the same features in each epoch, the inputs become these features,
    and the part that is trained is the head of the model.
    """
    whole = _build(session)
    compiled_by_user = compat.is_compiled(whole)
    model = RunModel(whole, whole, compiled_by_user, _probe(session, whole))
    if session.run.train.distill is not None:
        with session.timed("teacher_s"):
            inputs.answers = teaching.answers_for(session, inputs.train)
    halves = halves_of(session, whole)
    if halves is not None:
        model.trained = halves.head
        store = FeatureStore(session, halves.frozen)
        with session.timed("features_s"):
            features = store.features_of(inputs.train, inputs.test)
        # From here on only the pictures of mistakes need images, those of the test part. The
        # images of the train part are freed, unless another fold needs them.
        inputs.train, inputs.test = features
    _compile(session, model.trained, inputs.train)
    return model


def _build(session: Session) -> Any:
    """The model with its weights, described in the log."""
    dataset = session.dataset
    compat.seed_everything(session.run.train.seed)
    with session.strategy.scope():
        model = models.build(session.run.model, dataset.image_shape, dataset.classes)
    compat.print_summary(model)
    say(models.describe(model))
    start = session.run.start
    if start is not None:
        other = other_runs.find("model.start", start.model, start.sha256, dataset)
        other_runs.give_weights(other, model)
        say("the model starts with the weights of {}".format(start.model))
    return model


def _probe(session: Session, model: Any) -> List[str]:
    """What is doubtful about a user's model, written to the log as well."""
    spec, dataset = session.run.model, session.dataset
    if not isinstance(spec, FunctionSpec):
        return []
    with session.strategy.scope(), models.blame_user_code(
        spec, "built a model that failed on test images"
    ):
        warnings = probing.check_function_model(model, spec, dataset.image_shape, dataset.classes)
    for warning in warnings:
        say("warning: {}".format(warning))
    return warnings


def _compile(session: Session, model: Any, source: Any) -> None:
    """Give the model all other variables: the optimizer's and the metrics'."""
    run = session.run
    with models.blame_user_code(run.model, "built a model that cannot be trained"):
        compile_in_scope(session, model)
    with models.blame_user_code(run.model, "built a model that failed on its first images"):
        two_rows = next(source.each_whole(np.arange(2, dtype=np.int32), 2))
        compat.build_metrics(model, session.strategy, *source.take(two_rows))


def compile_in_scope(session: Session, model: Any) -> None:
    """Give a model its loss, optimizer and metrics, as the run asks for them."""
    run = session.run
    with session.strategy.scope():
        compiling.compile_model(
            model, run.model, run.train, session.devices.replicas, session.dataset.classes
        )
