"""The rules of a job file that types and bounds cannot say, one function a rule.

Rules about a training's settings are the trainer's own, in `hpcdl.contract.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hpcdl.errors import Problem
from hpcdl.job.command import NOT_WITH_COMMAND, WHY_NOT_WITH_COMMAND, command_problems
from hpcdl.job.names import NAME
from hpcdl.job.node_count import parse_nodes
from hpcdl.job.notify_section import check_notify
from hpcdl.job.sbatchoptions import check_options
from hpcdl.job.sections import Job, parse_time
from hpcdl.text import show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Limits that a job may set, each with an example in seconds
_LIMITS = {"HPCDL_ALL_REDUCE_S": '"120"', "HPCDL_STALL_S": '"1800"'}
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
# What the trainer's rules read, where a job file calls it otherwise
_JOB_KEYS = {"devices.gpus": "resources.gpus"}


def check_job(job: Job, document: Located, walker: Walker) -> None:
    """Add a problem for each rule that is broken.

    Args:
        job: as the walker filled it, with stand-ins for what it refused.
        document: what it was filled from, a mapping.
        walker: the walker, which has the problems.
    """
    for document_rule in _DOCUMENT_RULES:
        walker.problems.extend(document_rule(document))
    options = document.items_of("slurm")
    check_options(options, walker)
    if job.notify is not None:
        check_notify(job.notify, document, options, walker)
    for value_rule in _VALUE_RULES:
        for key, message in value_rule(job):
            if walker.trusts([key]):
                walker.add(document.at(key), key, message)
    _check_training(job, document, walker)


def _check_training(job: Job, document: Located, walker: Walker) -> None:
    """The trainer's rules, but for those that read a value which was refused."""
    if not (job.data or job.model or job.train or job.test):
        return
    from hpcdl.contract.checks import rule_problems  # a script's job does without
    from hpcdl.job.training import message_of, training_of

    for problem in rule_problems(training_of(job)):
        keys = [_JOB_KEYS.get(key, key) for key in (problem.key, *problem.reads)]
        if walker.trusts(keys):
            walker.add(document.at(problem.key), problem.key, message_of(problem))


def _one_program(document: Located) -> Iterator[Problem]:
    """A job is a command, a script, or a model with its data."""
    items = {key: item for key, item in document.value.items() if item.value is not None}
    if "hpcdl" in items:
        yield from _not_with(items, NOT_WITH_COMMAND, WHY_NOT_WITH_COMMAND)
        yield from command_problems(items["hpcdl"])
        return
    if "script" in items:
        message = "goes with a model; this job has a script, which does as it likes"
        yield from _not_with(items, ("data", "model", "train", "test", "export"), message)
        return
    message = "goes with a script; this job has none"
    yield from _not_with(items, ("args", "workdir", "stop_signal"), message)
    if "model" not in items:
        message = "missing; expected a model with its data, a script, or an hpcdl command"
        yield Problem(document.where, "model", message)
    if "data" not in items:
        message = "missing; expected {name: ...}, {path: ...} or {function: ...}"
        yield Problem(document.where, "data", message)


def _not_with(items: dict[str, Located], keys: tuple[str, ...], message: str) -> Iterator[Problem]:
    for key in keys:
        if key in items:
            yield Problem(items[key].where, key, message)


def _one_data_set(document: Located) -> Iterator[Problem]:
    data = document.value.get("data")
    if data is None or not isinstance(data.value, dict):
        return
    if len({"name", "path", "function"} & set(data.value)) != 1:
        yield Problem(data.where, "data", "expected one of name, path and function")


def _one_batch_size(document: Located) -> Iterator[Problem]:
    train = document.items_of("train")
    if "batch_size" in train and "batch_size_per_gpu" in train:
        per_gpu, rows = train["batch_size_per_gpu"], train["batch_size"].value
        message = (
            f"is {show(per_gpu.value)}, and train.batch_size is {show(rows)}:"
            " expected one of the two; take one out"
        )
        yield Problem(per_gpu.where, "train.batch_size_per_gpu", message)


def _variables(document: Located) -> Iterator[Problem]:
    for name, item in document.items_of("env").items():
        message = ""
        if not _VARIABLE.fullmatch(name):
            message = "is not a variable's name: letters, digits and underscores"
        elif name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
            message = "is set by hpcdl, to the GPUs that SLURM gives; say resources.gpus"
        elif name in _LIMITS:
            if not _SECONDS.fullmatch(str(item.value)):
                message = f"expected seconds, such as {_LIMITS[name]}; got {show(item.value)}"
        elif name.startswith("HPCDL_"):
            message = "is set by hpcdl, as all that begin with HPCDL_; use another name"
        if message:
            yield Problem(item.where, f"env.{name}", message)


def _job_name(job: Job) -> Iterator[tuple[str, str]]:
    if not NAME.fullmatch(job.name):
        rule = "letters, digits, '.', '_' and '-', at most 100, no space"
        yield "name", f"expected {rule}; got {show(job.name)}"


def _time_limit(job: Job) -> Iterator[tuple[str, str]]:
    try:
        parse_time(job.resources.time)
    except ValueError as error:
        yield "resources.time", str(error)


def _nodes(job: Job) -> Iterator[tuple[str, str]]:
    try:
        count = parse_nodes(job.resources.nodes)
    except ValueError as error:
        yield "resources.nodes", str(error)
        return
    per_gpu = job.train.batch_size_per_gpu if job.train else None
    if count.is_range and per_gpu is not None:
        yield (
            "train.batch_size_per_gpu",
            f"is {per_gpu}, and resources.nodes is {count.least}-{count.most}: the batch would"
            " change with the nodes that SLURM gives; say batch_size, or one number of nodes",
        )


def _data_name(job: Job) -> Iterator[tuple[str, str]]:
    name = job.data.name if job.data else None
    if name is not None and not NAME.fullmatch(name):
        where_files_go = "a file goes under data.path"
        yield "data.name", f"expected a staged set's name; got {show(name)} ({where_files_go})"


# About which keys there are: their values may be of any type
_DOCUMENT_RULES: tuple[Callable[[Located], Iterator[Problem]], ...] = (
    _one_program,
    _one_data_set,
    _one_batch_size,
    _variables,
)
# About values of the right types: (key, message)
_VALUE_RULES: tuple[Callable[[Job], Iterator[tuple[str, str]]], ...] = (
    _job_name,
    _time_limit,
    _nodes,
    _data_name,
)
