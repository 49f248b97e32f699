"""Trains the model of a run to the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Dict, Optional

from hpcdl.trainer import compat
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.files.checkpoint import Checkpoints
from hpcdl.trainer.files.saver import Saver
from hpcdl.trainer.files.tensorboard import epoch_logs
from hpcdl.trainer.fit.adversarial import adversary_of
from hpcdl.trainer.fit.best import Best, choose_best, restored
from hpcdl.trainer.fit.gradient_sums import gradient_sum_s
from hpcdl.trainer.fit.held_back import pace_of
from hpcdl.trainer.fit.input_speed import input_images_per_s
from hpcdl.trainer.fit.last_batch import warning_of_last_batch
from hpcdl.trainer.fit.loop import Training
from hpcdl.trainer.fit.steps import Stepper, TrainingData
from hpcdl.trainer.model import models, teaching
from hpcdl.trainer.result import fingerprints
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session
from hpcdl.trainer.stages.building import RunModel
from hpcdl.trainer.stages.inputs import Inputs
from hpcdl.trainer.stages.scoring import scorer


@dataclass
class Fitted:
    """What a training ended with: the state of its last step, and the number of its epochs."""

    state: Dict[str, Any]
    epochs: int


def fit(session: Session, model: RunModel, inputs: Inputs) -> Fitted:
    """Train to the end; with restore_best, the model then has the weights of the best epoch."""
    run, run_dir, strategy = session.run, session.run_dir, session.strategy

    def guard() -> Any:
        return models.blame_user_code(run.model, "failed in training")

    source = inputs.train if inputs.answers is None else inputs.train.taught(inputs.answers)
    data = TrainingData(
        source,
        inputs.rows.train,
        inputs.balance,
        run.data.augment,
        adversary_of(run, model.trained),
        teaching.in_step(session),
        begun=run.start is not None,
    )
    stepper = Stepper(model.trained, strategy, data, run.train, guard, model.whole)
    warning = warning_of_last_batch(stepper.rows, run.train.batch_size)
    if warning is not None:
        say("warning: {}".format(warning))
    variables = compat.variables(model.trained)
    checkpoints = Checkpoints(
        run_dir.checkpoints, variables, strategy, fingerprints(run), run.saving.keep
    )
    best = _best(session, model, stepper.first_whole_epoch)
    timing = session.timing
    passes_s = timing.get("features_s", 0.0) + timing.get("teacher_s", 0.0)
    timing["build_s"] = time.perf_counter() - inputs.started - passes_s

    if run.train.tensorboard and session.together.first:
        run_dir.on_epoch = epoch_logs(run_dir, run_dir.tensorboard, run.to_json())
    run_dir.heartbeat(
        phase="training", steps=stepper.total, steps_per_epoch=stepper.steps_per_epoch
    )
    validate = scorer(session, model, inputs.train, inputs.rows.validation)
    saver = Saver(checkpoints, run.saving)
    state = Training(stepper, run_dir, saver, validate, best, pace_of(run_dir)).run()
    for name in ("train_s", "saves", "save_blocked_s"):
        timing[name] = state[name]
    if run.train.time_parts:
        run_dir.heartbeat(phase="measuring")
        with guard():
            _time_parts(session, stepper.model, data)

    if best is not None:
        best.tell(state)
    if restored(run, state):
        checkpoints.assign_best()
        say("from here on with the weights of epoch {}".format(state["best"]["epoch"]))
    return Fitted(state, state["step"] // stepper.steps_per_epoch)


def _time_parts(session: Session, model: Any, data: TrainingData) -> None:
    """Measure what a training waits for, each part alone."""
    strategy, timing = session.strategy, session.timing
    timing["all_reduce_s"] = gradient_sum_s(model, strategy)
    if isinstance(data.source, Source):  # others compute features
        timing["input_images_per_s"] = input_images_per_s(data, strategy, session.run.train)


def _best(session: Session, model: RunModel, first_epoch: int) -> Optional[Best]:
    """What judges the epochs from the first that counts, by a metric that the model has."""
    with models.blame_user_code(session.run.model, "has metrics that cannot be read"):
        metrics = compat.metric_results(model.trained)
    return choose_best(session.run, metrics, first_epoch)
