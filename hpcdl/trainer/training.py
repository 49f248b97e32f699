"""One run from a checked spec and data set to result.json, in the order in which it happens."""

from __future__ import annotations

import functools
import time
from typing import Any, Callable, Dict, Optional

import numpy as np
import tensorflow as tf

from hpcdl.trainer import compat, compiling, distribution, models
from hpcdl.trainer.batches import Source
from hpcdl.trainer.best import Best, choose, restored
from hpcdl.trainer.checkpoint import Checkpoints
from hpcdl.trainer.data import Dataset, split_rows
from hpcdl.trainer.errors import DataError
from hpcdl.trainer.evaluation import Evaluator
from hpcdl.trainer.loop import Pace, Stepper, train
from hpcdl.trainer.output import say
from hpcdl.trainer.periodic import Saver
from hpcdl.trainer.predictions import Predictor, write_predictions
from hpcdl.trainer.result import fingerprint, result, versions
from hpcdl.trainer.retry import keep_trying
from hpcdl.trainer.rundir import RunDir
from hpcdl.trainer.saving import save_model
from hpcdl.trainer.spec import RunSpec


def train_and_evaluate(run: RunSpec, run_dir: RunDir, dataset: Dataset, timing: Dict[str, float]) -> None:
    """Train a run's model, score it on the test rows, save it, and write result.json.

    Everything made goes under the run folder. The images of `dataset` are released on the way.

    Args:
        timing: seconds spent so far, by name; added to and written to the result.

    Raises:
        DeviceError, DataError, UserCodeError, Stopped: see `hpcdl.trainer.errors`.
    """
    run_dir.heartbeat(phase="compiling", epochs=run.train.epochs)
    say("tensorflow {tensorflow}  keras {keras}  numpy {numpy}".format(**versions()))
    devices = distribution.choose(run.devices)
    say(
        "devices: {}; {} GPU(s) asked for; strategy: {}".format(
            ", ".join(devices.names), run.devices.gpus, devices.strategy_name
        )
    )
    distribution.check_all_reduce(devices)
    rows = _choose_rows(run, dataset, devices.replicas)
    started = time.perf_counter()
    train_source, test_source = Source(dataset.train), Source(dataset.test)
    model = _build(run, dataset, devices, train_source)
    score = functools.partial(_score, run, run_dir, model, devices.strategy)
    guard = functools.partial(models.blame_user_code, run.model, "failed in training")
    stepper = Stepper(model, devices.strategy, train_source, rows["train"], run.train, guard)
    variables, keep = compat.variables(model), run.saving.keep
    checkpoints = Checkpoints(run_dir.checkpoints, variables, devices.strategy, fingerprint(run), keep)
    best = _best(run, model)
    timing["build_s"] = time.perf_counter() - started

    run_dir.heartbeat(phase="training", steps=stepper.total, steps_per_epoch=stepper.steps_per_epoch)
    validate = score(train_source, rows["validation"])
    state = train(stepper, model, run_dir, Saver(checkpoints, run.saving), validate, Pace(), best)
    timing.update({name: state[name] for name in ("train_s", "saves", "save_blocked_s")})

    if best is not None:
        best.tell(state)
    if restored(run, state):
        checkpoints.assign_best()
        say("from here on with the weights of epoch {}".format(state["best"]["epoch"]))
    run_dir.heartbeat(phase="evaluating", epoch=state["step"] // stepper.steps_per_epoch, step=state["step"])
    test = _timed(timing, "evaluate_s", score(test_source, rows["test"]))
    shown = "  ".join("{} {:.4f}".format(name, value) for name, value in test.items())
    say("test  {}  {:,} rows  {:.1f} s".format(shown, len(rows["test"]), timing["evaluate_s"]))
    predict = functools.partial(_predict, run, run_dir, model, devices.strategy, test_source, dataset)
    _timed(timing, "predict_s", predict)
    run_dir.heartbeat(phase="saving")
    model_file = _timed(timing, "save_s", lambda: keep_trying("the model", lambda: save_model(model, run_dir)))
    counts = {part: len(indices) for part, indices in rows.items()}
    run_dir.write_result(result(run, run_dir, dataset, devices, model, model_file, counts, test, state, timing))
    run_dir.heartbeat(phase="done")


def _choose_rows(run: RunSpec, dataset: Dataset, replicas: int) -> Dict[str, Any]:
    """The row numbers to train on, to validate on (of the train part) and to test on (of the test part)."""
    training, validation = split_rows(dataset.train.rows, run.data.validation_split, run.train.seed)
    rows = {"train": training, "validation": validation, "test": np.arange(dataset.test.rows, dtype=np.int32)}
    for part, indices in rows.items():
        if len(indices) < replicas and not (part == "validation" and run.data.validation_split == 0):
            raise DataError(
                "{} has {} rows; expected at least one for each of the {} replicas".format(part, len(indices), replicas)
            )
    return rows


def _build(run: RunSpec, dataset: Dataset, devices: distribution.Devices, source: Source) -> Any:
    """The compiled model with all its variables: weights, optimizer, metrics."""
    compat.seed_everything(run.train.seed)
    with devices.strategy.scope():
        model = models.build(run.model, dataset.image_shape, dataset.classes)
        compat.print_summary(model)
        with models.blame_user_code(run.model, "built a model that cannot be trained"):
            compiling.compile_model(model, run.model, run.train, devices.replicas)
    with models.blame_user_code(run.model, "built a model that failed on its first images"):
        compat.build_metrics(model, devices.strategy, *source.take(tf.range(2)))
    return model


def _best(run: RunSpec, model: Any) -> Optional[Best]:
    with models.blame_user_code(run.model, "has metrics that cannot be read"):
        metrics = compat.metric_results(model)
    return choose(run, metrics)


def _score(
    run: RunSpec, run_dir: RunDir, model: Any, strategy: Any, source: Source, rows: Any
) -> Callable[[], Dict[str, float]]:
    """A function that scores the model on these rows; without rows there is nothing to say."""
    if not len(rows):
        return dict
    # scoring keeps no gradients, so that twice the rows fit where a training batch does
    evaluator = Evaluator(model, strategy, source, 2 * run.train.batch_size)

    def score() -> Dict[str, float]:
        with models.blame_user_code(run.model, "failed in evaluation"):
            return evaluator(rows, run_dir.heartbeat)

    return score


def _predict(run: RunSpec, run_dir: RunDir, model: Any, strategy: Any, source: Source, dataset: Dataset) -> None:
    """Write what the model says of each test row, for `hpcdl report`."""
    predictor = Predictor(model, strategy, source, run.model.output == "logits", 2 * run.train.batch_size)
    with models.blame_user_code(run.model, "failed in prediction"):
        write_predictions(predictor, source, dataset.test.labels, dataset.classes, run_dir)


def _timed(timing: Dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    done = work()
    timing[name] = time.perf_counter() - started
    return done
