"""One run from a checked spec and data set to result.json, in the order in which it happens."""

from __future__ import annotations

import functools
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from hpcdl.contract.errors import DataError
from hpcdl.contract.model_facts import describe_tested, describe_use
from hpcdl.contract.spec import FunctionSpec, RunSpec
from hpcdl.trainer import compat
from hpcdl.trainer.dataset.balance import Balance
from hpcdl.trainer.dataset.load import Dataset, split_rows
from hpcdl.trainer.dataset.samples import write_samples
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.files.checkpoint import Checkpoints
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.files.saver import Saver
from hpcdl.trainer.files.tensorboard import epoch_logs
from hpcdl.trainer.fit.best import Best, choose, restored
from hpcdl.trainer.fit.cross_validation import cross_validate
from hpcdl.trainer.fit.evaluation import Evaluator
from hpcdl.trainer.fit.loop import Pace, Stepper, train
from hpcdl.trainer.fit.predictions import Predictor, write_predictions
from hpcdl.trainer.model import compiling, features, models, probing
from hpcdl.trainer.model.model_file import Trained, save_model
from hpcdl.trainer.model.precision import set_precision
from hpcdl.trainer.result import fingerprint, result, versions
from hpcdl.trainer.runtime import devices as distribution
from hpcdl.trainer.runtime.log import say

Sources = Tuple[Source, Source]  # of the train part and of the test part


def train_and_evaluate(
    run: RunSpec, run_dir: RunDir, dataset: Dataset, timing: Dict[str, float]
) -> None:
    """Train a run's model, score it on the test rows, save it, and write result.json; or so for each fold.

    Everything made goes under the run folder. The images of `dataset` are released on the way.

    Args:
        timing: seconds spent so far, by name; added to and written to the result.

    Raises:
        DeviceError, DataError, UserCodeError, Stopped: see `hpcdl.contract.errors`.
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
    one_hot = _one_hot(run, dataset)

    def sources() -> Sources:
        return Source(dataset.train, one_hot), Source(dataset.test, one_hot)

    test_rows = np.arange(dataset.test.rows, dtype=np.int32)
    if run.train.cross_validation:
        for_each = functools.partial(
            _train_rows, run, dataset, devices, functools.lru_cache(maxsize=None)(sources)
        )
        found = cross_validate(run, run_dir, dataset.train.labels, test_rows, timing, for_each)
    else:
        training, validation = split_rows(
            dataset.train.labels, run.data.validation_split, run.train.seed
        )
        rows = {"train": training, "validation": validation, "test": test_rows}
        found = _train_rows(run, dataset, devices, sources, run_dir, rows, timing)
    run_dir.write_result(found)
    features.forget(run_dir)
    run_dir.heartbeat(phase="done")


def _train_rows(
    run: RunSpec,
    dataset: Dataset,
    devices: distribution.Devices,
    sources: Callable[[], Sources],
    run_dir: RunDir,
    rows: Dict[str, Any],
    timing: Dict[str, float],
) -> Dict[str, Any]:
    """Train a model on some rows of the data set, score it on others, and save it.

    Args:
        sources: gives the sources of the two parts; nobody else need hold them.
        rows: row numbers of ``train`` and ``validation`` (of the train part) and of ``test`` (of the test part).

    Returns:
        the content of result.json.
    """
    _check_rows(run, rows, devices.replicas)
    started = time.perf_counter()
    one_hot = _one_hot(run, dataset)
    train_source, test_source = sources()
    balance = Balance(
        run.train.balance, rows["train"], dataset.train.labels, dataset.classes, run.train.seed
    )
    if balance.kind != "none":
        say(balance.table(dataset.class_names))
    options: Dict[str, Any] = {
        "precision": set_precision(run.train.precision),
        "jit": run.train.jit == "on",
        "balance": balance.about(),
    }
    if run.data.augment:
        write_samples(train_source, balance.rows_of(0), run.data.augment, run.train.seed, run_dir)
    whole = _build(run, dataset, devices)
    compiled_by_user = compat.is_compiled(whole)
    options["warnings"] = [*dataset.warnings, *_probe(run, dataset, devices, whole)]
    model, images, halves = whole, test_source, features.halves(run, whole, devices.strategy)
    if halves is not None:
        model = halves.head
        compute = functools.partial(
            features.sources, run, run_dir.home, dataset, devices.strategy, halves.frozen
        )
        train_source, test_source = _timed(
            timing, "features_s", lambda: compute(train_source, test_source, one_hot)
        )
    _compile(run, dataset, devices, model, train_source)
    score = functools.partial(_score, run, run_dir, model, devices.strategy)
    guard = functools.partial(models.blame_user_code, run.model, "failed in training")
    stepper = Stepper(
        model,
        devices.strategy,
        train_source,
        rows["train"],
        run.train,
        guard,
        run.data.augment,
        balance,
        whole,
    )
    variables, keep = compat.variables(model), run.saving.keep
    checkpoints = Checkpoints(
        run_dir.checkpoints, variables, devices.strategy, fingerprint(run), keep
    )
    best = _best(run, model)
    timing["build_s"] = time.perf_counter() - started - timing.get("features_s", 0.0)

    if run.train.tensorboard:
        run_dir.on_epoch = epoch_logs(run_dir, run_dir.tensorboard, run.to_json())
    run_dir.heartbeat(
        phase="training", steps=stepper.total, steps_per_epoch=stepper.steps_per_epoch
    )
    validate = score(train_source, rows["validation"])
    state = train(stepper, model, run_dir, Saver(checkpoints, run.saving), validate, Pace(), best)
    timing.update({name: state[name] for name in ("train_s", "saves", "save_blocked_s")})

    if best is not None:
        best.tell(state)
    if restored(run, state):
        checkpoints.assign_best()
        say("from here on with the weights of epoch {}".format(state["best"]["epoch"]))
    run_dir.heartbeat(
        phase="evaluating", epoch=state["step"] // stepper.steps_per_epoch, step=state["step"]
    )
    test = _timed(timing, "evaluate_s", score(test_source, rows["test"]))
    _say_test(test, len(rows["test"]), timing["evaluate_s"])
    predict = functools.partial(
        _predict, run, run_dir, model, devices.strategy, test_source, images, dataset
    )
    _timed(timing, "predict_s", predict)
    run_dir.heartbeat(phase="saving")
    if halves is not None:  # the head alone was compiled
        with devices.strategy.scope():
            compiling.compile_model(whole, run.model, run.train, devices.replicas, dataset.classes)
    trained = Trained(
        whole, devices.strategy, dataset.image_shape, dataset.train.scale, compiled_by_user
    )
    saved = _timed(
        timing,
        "save_s",
        lambda: keep_trying("the model", lambda: save_model(run, run_dir, trained)),
    )
    counts = {part: len(indices) for part, indices in rows.items()}
    found = result(run, run_dir, dataset, devices, whole, saved, counts, test, state, timing)
    say(describe_use(saved, dataset.classes))
    say(describe_tested(found))
    return dict(found, **options)


def _say_test(test: Dict[str, float], rows: int, seconds: float) -> None:
    shown = "  ".join("{} {:.4f}".format(name, value) for name, value in test.items())
    say("test  {}  {:,} rows  {:.1f} s".format(shown, rows, seconds))


def _probe(run: RunSpec, dataset: Dataset, devices: distribution.Devices, model: Any) -> List[str]:
    """What is doubtful about a user's model, said in the log too."""
    if not isinstance(run.model, FunctionSpec):
        return []
    with devices.strategy.scope(), models.blame_user_code(
        run.model, "built a model that failed on test images"
    ):
        warnings = probing.check_function_model(
            model, run.model, dataset.image_shape, dataset.classes
        )
    for warning in warnings:
        say("warning: {}".format(warning))
    return warnings


def _one_hot(run: RunSpec, dataset: Dataset) -> int:
    """The length of one-hot labels; 0 where the loss is given class numbers."""
    return dataset.classes if run.train.labels == "one_hot" else 0


def _check_rows(run: RunSpec, rows: Dict[str, Any], replicas: int) -> None:
    for part, indices in rows.items():
        if len(indices) < replicas and not (part == "validation" and run.validation_share == 0):
            raise DataError(
                "{} has {} rows; expected at least one for each of the {} replicas".format(
                    part, len(indices), replicas
                )
            )


def _build(run: RunSpec, dataset: Dataset, devices: distribution.Devices) -> Any:
    """The model with its weights, described in the log."""
    compat.seed_everything(run.train.seed)
    with devices.strategy.scope():
        model = models.build(run.model, dataset.image_shape, dataset.classes)
    compat.print_summary(model)
    say(models.describe(model))
    return model


def _compile(
    run: RunSpec, dataset: Dataset, devices: distribution.Devices, model: Any, source: Any
) -> None:
    """Give the model all other variables: the optimizer's and the metrics'."""
    with devices.strategy.scope(), models.blame_user_code(
        run.model, "built a model that cannot be trained"
    ):
        compiling.compile_model(model, run.model, run.train, devices.replicas, dataset.classes)
    with models.blame_user_code(run.model, "built a model that failed on its first images"):
        compat.build_metrics(
            model,
            devices.strategy,
            *source.take(next(source.each(np.arange(2, dtype=np.int32), 2))),
        )


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


def _predict(
    run: RunSpec,
    run_dir: RunDir,
    model: Any,
    strategy: Any,
    source: Any,
    images: Source,
    dataset: Dataset,
) -> None:
    """Write what the model says of each test row, for `hpcdl report`."""
    predictor = Predictor(
        model, strategy, source, run.model.output == "logits", 2 * run.train.batch_size
    )
    with models.blame_user_code(run.model, "failed in prediction"):
        test = dataset.test
        write_predictions(predictor, images, test.labels, dataset.classes, run_dir, test.files())


def _timed(timing: Dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    done = work()
    timing[name] = time.perf_counter() - started
    return done
