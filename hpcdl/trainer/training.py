"""One run from a checked spec and data set to result.json, in the order in which it happens."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from hpcdl.contract import run_files
from hpcdl.contract.errors import DataError
from hpcdl.contract.model_facts import describe_tested, describe_use
from hpcdl.contract.spec import FunctionSpec, RunSpec, SpecError
from hpcdl.contract.workers import read_workers
from hpcdl.trainer import compat
from hpcdl.trainer.dataset.balance import Balance
from hpcdl.trainer.dataset.load import Dataset, split_rows
from hpcdl.trainer.dataset.samples import write_samples
from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.explain.pictures import explain_pictures
from hpcdl.trainer.files.checkpoint import Checkpoints
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.files.saver import Saver
from hpcdl.trainer.files.tensorboard import epoch_logs
from hpcdl.trainer.files.versions import compare_versions
from hpcdl.trainer.fit.adversarial import adversary_of
from hpcdl.trainer.fit.best import Best, choose_best, restored
from hpcdl.trainer.fit.cross_validation import cross_validate
from hpcdl.trainer.fit.evaluation import Evaluator
from hpcdl.trainer.fit.gradient_sums import gradient_sum_s
from hpcdl.trainer.fit.input_speed import input_images_per_s
from hpcdl.trainer.fit.last_batch import warning_of_last_batch
from hpcdl.trainer.fit.loop import Training
from hpcdl.trainer.fit.predictions import Predictor, predicted, write_predictions
from hpcdl.trainer.fit.pruning import sparsity_of, sparsity_warnings
from hpcdl.trainer.fit.robustness import accuracy_under_attack
from hpcdl.trainer.fit.steps import Stepper, TrainingData
from hpcdl.trainer.model import compiling, models, other_runs, probing, teaching
from hpcdl.trainer.model.feature_files import remove_features
from hpcdl.trainer.model.features import FeatureStore, halves_of
from hpcdl.trainer.model.model_file import Trained, save_model
from hpcdl.trainer.model.precision import set_precision
from hpcdl.trainer.result import Outcome, fingerprints, result_of, versions
from hpcdl.trainer.runtime.devices import Devices, check_all_reduce, choose_devices
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


@dataclass
class Fitted:
    """What a training ended with: the state of its last step, and the number of its epochs."""

    state: Dict[str, Any]
    epochs: int


@dataclass
class Tested:
    """What the test rows say: metrics by name, and what the section `test` of the run asks for."""

    metrics: Dict[str, float]
    more: Dict[str, Any]


def take_devices(run: RunSpec, run_dir: RunDir) -> Devices:
    """Take the devices that a run asks for, on all its workers, and check that they add up right.

    Must be called before anything else uses TensorFlow: its first operation starts the devices,
    and then they cannot be chosen any more.

    Raises:
        DeviceError: TensorFlow sees others, they add up wrong, or not all workers come.
        SpecError: the run asks for what several workers cannot do.
    """
    run_dir.heartbeat(phase="compiling", epochs=run.train.epochs)
    of_this_image = versions()
    say("tensorflow {tensorflow}  keras {keras}  numpy {numpy}".format(**of_this_image))
    workers = read_workers(os.environ)
    if run.train.jit == "on" and workers.count > 1:
        raise SpecError("train.jit is on; expected auto or off with several workers")
    compare_versions(run_dir, workers, of_this_image)
    devices = choose_devices(run.devices, workers)
    say(
        "devices: {}; {} GPU(s) asked for; strategy: {}".format(
            ", ".join(devices.names), run.devices.gpus, devices.strategy_name
        )
    )
    check_all_reduce(devices)
    return devices


def train_and_evaluate(
    run: RunSpec, run_dir: RunDir, dataset: Dataset, devices: Devices, timing: Dict[str, float]
) -> None:
    """Train a run's model, score it on the test rows, save it, and write result.json.

    With train.cross_validation it does that for each fold. All files go below the run folder. The
    images of `dataset` are released on the way.

    Args:
        devices: as `take_devices` gives them.
        timing: seconds spent so far, by name; added to and written to the result.

    Raises:
        DeviceError, DataError, UserCodeError, Stopped: see `hpcdl.contract.errors`.
    """
    run_dir.heartbeat(phase="compiling", epochs=run.train.epochs)
    session = Session(run, dataset, devices, run_dir, timing)
    # Without folds, nobody but train_rows holds the sources: a training on features frees the
    # images. All folds train on the same ones.
    images = ImageSources(session, keep=bool(run.train.cross_validation))
    train = _train_folds if run.train.cross_validation else _train_once
    result = train(session, images)
    if devices.together.first:
        if run.export:
            _export(session, images, result)
        run_dir.write_result(result)
        remove_features(run_dir)
    devices.together.wait_for_all()  # who ends earlier would end worker 0 as it writes
    run_dir.heartbeat(phase="done")


def _train_once(session: Session, images: ImageSources) -> Dict[str, Any]:
    """Train on the train part without the validation rows; returns the content of result.json."""
    run, dataset = session.run, session.dataset
    training, validation = split_rows(
        dataset.train.labels, run.data.validation_split, run.train.seed
    )
    rows = Rows(training, validation, _test_rows(dataset))
    return train_rows(session, images, rows)


def _train_folds(session: Session, images: ImageSources) -> Dict[str, Any]:
    """Train one model for each fold; returns the content of result.json."""

    def train_fold(fold: Session, rows: Rows) -> Dict[str, Any]:
        return train_rows(fold, images, rows)

    return cross_validate(session, _test_rows(session.dataset), train_fold)


def _test_rows(dataset: Dataset) -> Any:
    return np.arange(dataset.test.rows, dtype=np.int32)


def train_rows(session: Session, images: ImageSources, rows: Rows) -> Dict[str, Any]:
    """Train a model on some rows of the data set, score it on others, and save it.

    Args:
        session: the training; its run folder takes the files.
        images: opens the sources of the two parts.
        rows: the rows to train, to validate and to test on.

    Returns:
        the content of result.json.
    """
    _check_rows(session, rows)
    inputs = prepare_inputs(session, images, rows)
    model = build_and_compile(session, inputs)
    fitted = fit(session, model, inputs)
    tested = evaluate(session, model, inputs, fitted)
    return save(session, model, inputs, fitted, tested)


def _check_rows(session: Session, rows: Rows) -> None:
    """Raise a `DataError` unless each replica has a row of each part."""
    replicas = session.devices.replicas
    for part, indices in rows._asdict().items():
        may_be_empty = part == "validation" and session.run.validation_share == 0
        if len(indices) < replicas and not may_be_empty:
            raise DataError(
                "{} has {} rows; expected at least one for each of the {} replicas".format(
                    part, len(indices), replicas
                )
            )


def _export(session: Session, images: ImageSources, result: Dict[str, Any]) -> None:
    """Export the model, of a cross-validation the mean of the folds' models.

    Adds ``export`` to the result: the rows of export.json.
    """
    from hpcdl.trainer.export import runs  # most runs export nothing

    started = time.perf_counter()

    def between(kind: str) -> None:
        runs.stop_if_asked(session.run_dir, kind)

    result["export"] = runs.export_run(
        session.run, session.run_dir, images.for_export(), result, between
    )
    result["timing"]["export_s"] = time.perf_counter() - started


# 1. What is trained on


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


# 2. The model


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
        _compile_in_scope(session, model)
    with models.blame_user_code(run.model, "built a model that failed on its first images"):
        two_rows = next(source.each_whole(np.arange(2, dtype=np.int32), 2))
        compat.build_metrics(model, session.strategy, *source.take(two_rows))


def _compile_in_scope(session: Session, model: Any) -> None:
    run = session.run
    with session.strategy.scope():
        compiling.compile_model(
            model, run.model, run.train, session.devices.replicas, session.dataset.classes
        )


# 3. The training


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
    validate = _scorer(session, model, inputs.train, inputs.rows.validation)
    state = Training(stepper, run_dir, Saver(checkpoints, run.saving), validate, best).run()
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


def _scorer(
    session: Session, model: RunModel, source: Any, rows: Any
) -> Callable[[], Dict[str, float]]:
    """A function that scores the model on these rows: metrics by name, empty without rows."""
    if not len(rows):
        return dict
    evaluator = Evaluator(model.trained, session.strategy, source, session.scoring_rows)

    def score() -> Dict[str, float]:
        with models.blame_user_code(session.run.model, "failed in evaluation"):
            return evaluator(rows, session.run_dir.heartbeat)

    return score


# 4. The test


def evaluate(session: Session, model: RunModel, inputs: Inputs, fitted: Fitted) -> Tested:
    """Score the model on the test rows, look at its answers, and write predictions.npz."""
    session.run_dir.heartbeat(phase="evaluating", epoch=fitted.epochs, step=fitted.state["step"])
    score = _scorer(session, model, inputs.test, inputs.rows.test)
    with session.timed("evaluate_s"):
        metrics = score()
    values = "  ".join("{} {:.4f}".format(name, value) for name, value in metrics.items())
    seconds = session.timing["evaluate_s"]
    say("test  {}  {:,} rows  {:.1f} s".format(values, len(inputs.rows.test), seconds))
    with session.timed("predict_s"):
        arrays = _predict(session, model, inputs)
    more = {**_explain(session, model, inputs, arrays), **_attack(session, model, inputs)}
    if arrays is not None:
        write_predictions(session.run_dir, arrays)
    return Tested(metrics, more)


def _predict(session: Session, model: RunModel, inputs: Inputs) -> Optional[Dict[str, Any]]:
    """The probabilities that the model gives each test row, for `hpcdl report`."""
    run, dataset = session.run, session.dataset
    gives_logits = run.model.output == "logits"
    predictor = Predictor(
        model.trained, session.strategy, inputs.test, gives_logits, session.scoring_rows
    )
    with models.blame_user_code(run.model, "failed in prediction"):
        return predicted(
            predictor,
            inputs.test_images,
            dataset.test.labels,
            dataset.classes,
            session.run_dir,
            dataset.test.files(),
        )


def _explain(
    session: Session, model: RunModel, inputs: Inputs, arrays: Optional[Dict[str, Any]]
) -> Dict[str, Any]:
    """Add heat maps to the arrays of predictions.npz; returns what the result says of them."""
    with session.timed("explain_s"):
        about = explain_pictures(session, model.whole, inputs.test_images, arrays)
    if about is None:
        return {}
    if "problem" in about:
        model.warnings.append("test.explain: no heat maps: {}".format(about["problem"]))
    return {"explain": about}


def _attack(session: Session, model: RunModel, inputs: Inputs) -> Dict[str, Any]:
    """What the result says of the model under attack, if the run asks for it."""
    if not session.run.test.attack:
        return {}
    labels = session.dataset.test.labels
    with session.timed("attack_s"):
        about = accuracy_under_attack(session, model.whole, inputs.test_images, labels)
    if "problem" in about:
        model.warnings.append("test.attack: not measured: {}".format(about["problem"]))
    return {"attack": about}


# 5. The files


def save(
    session: Session, model: RunModel, inputs: Inputs, fitted: Fitted, tested: Tested
) -> Dict[str, Any]:
    """Save the model; returns the content of result.json, or nothing if worker 0 writes it."""
    run, dataset = session.run, session.dataset
    session.run_dir.heartbeat(phase="saving")
    if model.trained is not model.whole:  # the head alone was compiled
        _compile_in_scope(session, model.whole)
    trained = Trained(
        model.whole,
        session.strategy,
        dataset.image_shape,
        dataset.train.scale,
        model.compiled_by_user,
    )

    with session.timed("save_s"):
        saved = _save_model(session, trained)
    if not session.together.first:
        return {}  # worker 0 alone has the metrics of all epochs
    rows = {part: len(indices) for part, indices in inputs.rows._asdict().items()}
    result = result_of(session, Outcome(model.whole, saved, rows, tested.metrics, fitted.state))
    say(describe_use(saved, dataset.classes))
    say(describe_tested(result))
    result["test"].update(tested.more)
    result["precision"] = inputs.precision
    result["jit"] = run.train.jit == "on"
    result["balance"] = inputs.balance.about()
    result["warnings"] = [*dataset.warnings, *model.warnings]
    if run.train.prune is not None:
        result["prune"] = sparsity_of(model.trained)
        result["warnings"] += sparsity_warnings(result["prune"])
    return result


def _save_model(session: Session, trained: Trained) -> Dict[str, Any]:
    """Save the model, again and again if need be; returns what the result says about it.

    All workers save it, for in Keras 2 that reads averages over all replicas. Workers other than
    the first save it into a folder of their own, and remove it.
    """
    run_dir, together = session.run_dir, session.together

    def write() -> Dict[str, Any]:
        problem: Optional[OSError] = None
        saved: Dict[str, Any] = {}
        try:
            saved = save_model(session.run, run_dir, trained)
        except OSError as error:
            problem = error
        if together.any_says(problem is not None):  # then all of them try again
            raise problem or OSError("another worker could not write it")
        return saved

    saved = keep_trying("the model", write)
    if not together.first:
        shutil.rmtree(run_dir.path(run_files.MODEL), ignore_errors=True)
    return saved
