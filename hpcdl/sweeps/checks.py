"""What is refused of a sweep before anything is made: all that is wrong with it, at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.contract.spec import METRICS, EarlyStoppingSpec, FunctionSpec
from hpcdl.errors import JobError, Problem, ProblemsError, UserError
from hpcdl.job import Job
from hpcdl.job.from_run import FromRun
from hpcdl.job.sweep_section import AT_ONCE, MOST_TRIALS, SweepSection
from hpcdl.job.training import training_of
from hpcdl.sweeps.arguments import ARGUMENT, argument_of
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.space import Space, parse_space
from hpcdl.sweeps.suggest import grid_size
from hpcdl.sweeps.value_checks import ValueChecks
from hpcdl.text import show

DEFAULT_METRIC = "val_accuracy"
_BY_EPOCHS = ("asha", "hyperband")
_EPOCHS = ("train.epochs", "args.epochs")
# What a sweep makes ready once, for all trials
_MADE_READY = (
    *("data.name", "data.path", "data.function", "model.function"),
    *("model.backbone", "model.weights", "model.features_cache"),
    *("model.start", "train.distill.teacher"),
)


def check_sweep(job: Job, on_this_machine: bool = False) -> SweepSettings:
    """Check the section `sweep` of a job, and fill in what it leaves open.

    Args:
        job: with its section; a missing one is an empty one.
        on_this_machine: whether it runs without SLURM.

    Raises:
        JobError: all problems, each with its place.
    """
    section = job.sweep or SweepSection()
    problems: list[Problem] = []
    if job.hpcdl:
        message = "is a command of hpcdl's; a sweep runs a training or a script many times"
        raise JobError(f"{job.source}, the sweep", [Problem(job.source, "hpcdl", message)])
    space = _space(job, section, problems)
    problems += [*_gpu_problems(job, section), *_after_problems(job)]
    trials = section.trials or 0
    if space is None:
        problems += _trial_problems(job, section)
    else:
        trials, about_trials = _trials(job, section, space)
        problems += [*about_trials, *_value_problems(job, section, space)]
    if problems or space is None:
        raise JobError(f"{job.source}, the sweep", problems)
    larger_is_better = _monitor(section).larger_is_better()
    return SweepSettings(
        name=job.name,
        over=space.notation(),
        method=section.method,
        metric=section.metric or DEFAULT_METRIC,
        direction="maximize" if larger_is_better else "minimize",
        trials=trials,
        seed=section.seed,
        at_once=section.at_once or (1 if on_this_machine else AT_ONCE),
        last=section.last,
        eta=section.eta,
        first_epochs=section.first,
        epochs=_epochs(job),
        gpu_hours=section.gpu_hours,
        trials_per_gpu=section.trials_per_gpu,
        trials_per_task=section.trials_per_task,
        fork_server=section.fork_server,
        keep=section.keep,
    )


def place_of(job: Job, key: str) -> str:
    """Where a key of the section was written; the section's place if it was left out."""
    places = job.places
    return places.get(f"sweep.{key}") or places.get("sweep") or job.source


def _value_problems(job: Job, section: SweepSection, space: Space) -> Iterator[Problem]:
    """What is wrong with the values of the space, and with the metric of their trials."""
    checks = ValueChecks(job, space, lambda trial_job: _trial_problems(trial_job, section))
    general = checks.problems_of_first()
    if general:  # no value would be without them
        yield from general
        checks = ValueChecks(job, space, lambda _: ())
    is_refused = False
    for key in space.names:
        for message in checks.key_messages(key):
            is_refused = True
            yield Problem(place_of(job, f"over.{key}"), f"sweep.over.{key}", message)
    if is_refused:
        return
    for message in checks.trial_messages(section.method, section.seed):
        yield Problem(place_of(job, "over"), "sweep.over", message)


def _trial_problems(job: Job, section: SweepSection) -> list[Problem]:
    """What is wrong with a trial's job, besides what any job is checked for."""
    return [*metric_problems(job, section), *_epoch_problems(job, section)]


def metric_problems(job: Job, section: SweepSection) -> list[Problem]:
    """What is wrong with the metric of a job."""
    where = place_of(job, "metric")
    if section.metric is None and job.script is not None:
        message = (
            "missing; expected a name that the script writes to the file HPCDL_METRICS_FILE:"
            " give --metric NAME"
        )
        return [Problem(where, "sweep.metric", message)]
    if section.metric is not None and not section.metric.strip():
        message = "is empty; expected a metric's name (is a shell variable not set?)"
        return [Problem(where, "sweep.metric", message)]
    monitor = _monitor(section)
    if "test" in re.split("[^a-z0-9]+", monitor.monitor.lower()):
        message = (
            f"{show(monitor.monitor)} is of the test set, which would then be trained on;"
            f" expected a metric of validation rows, such as {DEFAULT_METRIC}"
        )
        return [Problem(where, "sweep.metric", message)]
    share, metrics = 1.0, None  # a script validates as it likes
    if job.script is None:
        share = training_of(job).validation_share
        metrics = None if isinstance(job.model, (FunctionSpec, FromRun)) else METRICS
    problem = monitor.problem(share, metrics)
    if problem is None:
        return []
    if problem[0] == "mode":
        message = (
            "expected minimize or maximize, as the name of the metric"
            f" {show(monitor.monitor)} does not say which is better: --set sweep.direction=maximize"
        )
        return [Problem(place_of(job, "direction"), "sweep.direction", message)]
    by_default = "" if section.metric else ", the default"
    message = f"expected {problem[1]}; got {show(monitor.monitor)}{by_default}"
    return [Problem(where, "sweep.metric", message)]


def _monitor(section: SweepSection) -> EarlyStoppingSpec:
    """The metric as early stopping watches one, which knows what is better."""
    modes = {"minimize": "min", "maximize": "max"}
    return EarlyStoppingSpec(
        monitor=section.metric or DEFAULT_METRIC, mode=modes.get(section.direction, "auto")
    )


def _space(job: Job, section: SweepSection, problems: list[Problem]) -> Space | None:
    """The space; None, and problems, if it cannot be read or its keys do not fit the job."""
    try:
        space = parse_space(section.over)
    except ProblemsError as error:
        for problem in error.problems:
            where = place_of(job, problem.key)
            problems.append(Problem(where, f"sweep.{problem.key}", problem.message))
        return None
    found = list(_key_problems(job, section, space))
    problems += found
    return None if found else space


def _key_problems(job: Job, section: SweepSection, space: Space) -> Iterator[Problem]:
    for key in space.names:
        message = ""
        if key.startswith(ARGUMENT) and job.script is None:
            message = "is an argument of a script, and this job has none; name a key of the job"
        elif job.script is not None and not key.startswith(ARGUMENT):
            message = "goes with a model; of a script name its arguments, as args.learning-rate"
        elif key in _EPOCHS and section.method in _BY_EPOCHS:
            message = f"cannot be searched by {section.method}, which chooses epochs itself"
        elif key in _MADE_READY:
            message = "cannot be searched: its files are made ready once, for all trials; start a"
            message += " sweep for each"
        elif key.startswith("model.") and isinstance(job.model, FromRun):
            message = "cannot be searched: model.start takes the model from a run as it is"
        if message:
            yield Problem(place_of(job, f"over.{key}"), f"sweep.over.{key}", message)


def _epoch_problems(job: Job, section: SweepSection) -> Iterator[Problem]:
    """asha and hyperband compare trials at epochs."""
    if section.method not in _BY_EPOCHS:
        return
    epochs = _epochs(job)
    where = place_of(job, "method")
    others = "choose random, grid or bayes"
    if epochs is None:
        message = f"{section.method} compares trials at epochs: give --epochs N to the script"
        yield Problem(where, "sweep.method", f"{message}, or {others}")
    elif job.train is not None and job.train.cross_validation:
        message = f"{section.method} cannot compare trials before all folds have ended"
        yield Problem(where, "sweep.method", f"{message}; {others}")
    elif epochs <= section.first:
        message = (
            f"{section.method} compares trials before their last epoch: expected fewer than their"
            f" {epochs} epochs; got {section.first}"
        )
        yield Problem(place_of(job, "first"), "sweep.first", f"{message}; give more epochs")


def _epochs(job: Job) -> int | None:
    """The epochs of a trial; of a script those that ``--epochs N`` says, if it does."""
    if job.train is not None:
        return job.train.epochs
    text = argument_of(job.args, "epochs") or ""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _gpu_problems(job: Job, section: SweepSection) -> Iterator[Problem]:
    gpus = job.resources.gpus
    if job.resources.node_count.most > 1:
        message = f"expected 1, a sweep's trial runs on one node; got {job.resources.nodes}"
        yield Problem(job.places.get("resources.nodes", job.source), "resources.nodes", message)
    if section.gpu_hours is not None and gpus == 0:
        message = "resources.gpus is 0, so no GPU-hour is ever used; limit the sweep by trials"
        yield Problem(place_of(job, "gpu_hours"), "sweep.gpu_hours", message)
    if section.trials_per_gpu > 1 and gpus != 1:
        message = f"expected 1 with resources.gpus {gpus}; got {section.trials_per_gpu}"
        remedy = "several trials share one GPU: --gpus 1"
        where = place_of(job, "trials_per_gpu")
        yield Problem(where, "sweep.trials_per_gpu", f"{message} ({remedy})")


def _after_problems(job: Job) -> Iterator[Problem]:
    if job.after:
        message = (
            "a sweep cannot wait for runs; leave it out, and start the sweep after: hpcdl wait"
        )
        yield Problem(job.places.get("after", job.source), "after", message)


def _trials(job: Job, section: SweepSection, space: Space) -> tuple[int, list[Problem]]:
    """How many trials there are, and what is wrong with their number."""
    where, key = place_of(job, "trials"), "sweep.trials"
    if section.method == "grid":
        return _grid_trials(job, section, space)
    if section.trials is None:
        message = f"missing; expected how many trials {section.method} makes: --trials N"
        return 0, [Problem(where, key, message)]
    if space.size is not None and section.trials > space.size:
        message = (
            f"the space has {space.size} combinations, so expected at most that many;"
            f" got {section.trials} (--method grid trains each once)"
        )
        return 0, [Problem(where, key, message)]
    return section.trials, []


def _grid_trials(job: Job, section: SweepSection, space: Space) -> tuple[int, list[Problem]]:
    problems = []
    for key in space.names:
        try:
            grid_size(Space({key: space.dimensions[key]}))
        except UserError as error:
            message = str(error).partition(": ")[2]
            problems.append(Problem(place_of(job, f"over.{key}"), f"sweep.over.{key}", message))
    if problems:
        return 0, problems
    size = grid_size(space)
    if size > MOST_TRIALS:
        message = f"the grid has {size} combinations, and at most {MOST_TRIALS} trials are possible"
        return 0, [Problem(place_of(job, "over"), "sweep.over", f"{message}; list fewer values")]
    if section.trials not in (None, size):
        message = (
            f"the grid has {size} combinations, and each is one trial: expected {size}, or nothing;"
            f" got {section.trials} (list other values, or choose --method random)"
        )
        return 0, [Problem(place_of(job, "trials"), "sweep.trials", message)]
    return size, []
