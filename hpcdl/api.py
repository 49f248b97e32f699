"""What a Python program calls: `render`, `submit` and `sweep`, which do what the commands do."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import JobError, Problem, UserError
from hpcdl.job import Job
from hpcdl.planning import Plan, plan
from hpcdl.script import render as render_plan
from hpcdl.submission.locate import Located, locate, with_models
from hpcdl.text import show
from hpcdl.usercode.source import NOTEBOOK

if TYPE_CHECKING:
    from hpcdl.job.sweep_section import SweepSection
    from hpcdl.preflight import Check
    from hpcdl.run import Run
    from hpcdl.submission.prepare import Submission
    from hpcdl.sweeps.handle import Sweep


def render(job: Job | Plan, cluster: Cluster | None = None) -> str:
    """Return the text of a job's batch script.

    The batch script of a Python script is complete: submit it from the folder of the Python script.
    A training needs a folder around its batch script: ``hpcdl render -o DIR/`` writes that folder.
    A file that the container will not see is a warning (``UserWarning``).

    Args:
        job: what to run, from `load_job`. A plan from `plan` is rendered as it is, without a look
            at the disk.
        cluster: where to run it, from `load_cluster`. A plan needs no cluster: it holds the site's
            values.

    Returns:
        The text of the batch script.

    Raises:
        JobError: the cluster cannot do what the job asks. The error has every reason.
        UserError: the job is a notebook, which only ``hpcdl render -o DIR/`` can render; the
            cluster has no container image; the job's packages are not installed; or SLURM cannot
            carry one of the values.
        TypeError: a job was given without a cluster.

    Examples:
        >>> import hpcdl
        >>> cluster = hpcdl.load_cluster("marenostrum5", ["cluster.account=project_1"])
        >>> script = hpcdl.render(hpcdl.load_job("mnist_script", ["resources.gpus=2"]), cluster)
        >>> print([line for line in script.splitlines() if "--gres" in line])
        ['#SBATCH --gres=gpu:2']
    """
    if isinstance(job, Plan):
        return render_plan(job)
    if cluster is None:
        raise TypeError("render() of a job needs a cluster: render(job, load_cluster(name))")
    _require_job(job, "render()")
    if is_notebook(job):
        raise UserError(
            "a notebook becomes a script when it is copied: hpcdl render -o DIR/ does so"
        )
    located = locate_to_render(job, cluster, bundle=job.script is None)
    for each in located.unseen:
        warnings.warn(f"{each.cause}: {each.fix}", stacklevel=2)
    return render_plan(located.plan)


def locate_to_render(job: Job, cluster: Cluster, bundle: bool) -> Located:
    """What a batch script that hpcdl does not start itself is rendered from.

    Args:
        job: the job.
        cluster: where it is to run.
        bundle: whether the script lies in a folder with all that it needs.

    Raises:
        JobError: the cluster cannot do what the job asks; every reason at once.
        UserError: the packages that the job asks for are not installed yet.
    """
    job = with_models(job, cluster)
    located = locate(job, cluster, plan(job, cluster))
    located.require_packages()
    return located.shown_to_script(bundle)


def is_notebook(job: Job) -> bool:
    """Whether a job's script is a notebook, which runs only from a folder that hpcdl made."""
    return (job.script or "").endswith(NOTEBOOK)


def submit(
    job: Job,
    cluster: Cluster | str,
    backend: str = "slurm",
    runs_dir: str | None = None,
    check: bool = True,
    command_line: Sequence[str] | None = None,
) -> Run:
    """Check a job, send it, and return its run.

    The command ``hpcdl submit`` does the same. What the command would print before it sends the job
    is a warning here (``UserWarning``): for example, that a job without a container uses this
    machine's TensorFlow.

    Args:
        job: what to run, from `load_job`.
        cluster: where to run it: a profile from `load_cluster`, or its name or file. The local
            backend usually takes ``"local"``.
        backend: "slurm", or "local" to run the job on this machine.
        runs_dir: the folder for run folders. By default it is the cluster's ``runs_root``.
        check: whether to make the checks of ``hpcdl check`` first, and refuse a job that cannot
            run.
        command_line: the words that the run's manifest records. By default these are ``sys.argv``.

    Returns:
        The run. On SLURM it is in the queue; on the local backend it has begun.

    Raises:
        JobError: the job cannot run, and was not sent. The error has every reason.
        UserError: the cluster has no container image for SLURM, the job's packages are not
            installed (``hpcdl env build`` installs them), or SLURM cannot carry one of the values.
        RunError: the run folder cannot be made.
        SchedulerError: this machine has no SLURM, or SLURM refused the job.

    Examples:
        >>> import hpcdl
        >>> job = hpcdl.load_job("digits_cnn", ["train.epochs=1"])
        >>> run = hpcdl.submit(job, hpcdl.load_cluster("local"), backend="local")
        >>> run.wait().state
        'done'
    """
    from hpcdl.submission import send
    from hpcdl.submission.prepare import prepare

    _require_job(job, "submit()")
    cluster = _profile(cluster)
    prepared = prepare(job, cluster, backend, runs_dir)
    send.require_backend(prepared)
    for note in prepared.notes:
        warnings.warn(note, stacklevel=2)
    if check:
        _require_checked(prepared, cluster)
    return send.submit(prepared, sys.argv if command_line is None else command_line)


def log(low: float, high: float) -> str:
    """A range for `sweep` in which each power of ten gets an equal share.

    Args:
        low: its lower end, above 0.
        high: its upper end.

    Examples:
        >>> hpcdl.log(0.0001, 0.1)
        'log:0.0001..0.1'
    """
    return f"log:{low!r}..{high!r}"


def sweep(
    job: Job,
    over: Mapping[str, Any] | None = None,
    cluster: Cluster | str = "local",
    backend: str | None = None,
    runs_dir: str | None = None,
    **settings: Any,
) -> Sweep:
    """Check a sweep, send it, and return it: many trials of one job, each with other values.

    The command ``hpcdl sweep`` does the same.

    Args:
        job: what each trial runs, from `load_job`.
        over: what is searched: a space for each key. A space is a list of values, or a text such as
            ``"0.001..0.1"``, ``"int:1..8"``; `log` makes one. By default it is that of the job's
            section ``sweep``.
        cluster: where to run it: a profile from `load_cluster`, or its name or file.
        backend: "slurm", or "local" for this machine; by default "local" for the profile of that
            name, else "slurm".
        runs_dir: the folder for the sweep. By default it is the cluster's ``runs_root``.
        settings: the other keys of the section ``sweep``: ``method``, ``metric``, ``trials``,
            ``at_once``, ``gpu_hours``, ``seed`` and so on.

    Returns:
        The sweep. On SLURM its tasks are in the queue; on the local backend they have begun.

    Raises:
        JobError: the sweep, or a value of its space, cannot run; with every reason.
        UserError: the cluster cannot do it.
        RunError: the folder cannot be made.
        SchedulerError: this machine has no SLURM, or SLURM refused the tasks.

    Examples:
        >>> job = hpcdl.load_job("digits_cnn", ["train.epochs=1"])
        >>> sweep = hpcdl.sweep(job, over={"model.dropout": [0.2, 0.5]}, method="grid")
        >>> sweep.wait().counts["done"]
        2
    """
    from hpcdl.preflight.sweep import checks_of
    from hpcdl.submission.send import require_backend
    from hpcdl.submission.sweep import prepare_sweep, send_sweep
    from hpcdl.sweeps.checks import check_sweep
    from hpcdl.sweeps.handle import Sweep

    _require_job(job, "sweep()")
    cluster = _profile(cluster)
    if backend is None:
        backend = "local" if cluster.name == "local" else "slurm"
    section = _section(job, over, settings)
    checked = check_sweep(replace(job, sweep=section), on_this_machine=backend == "local")
    prepared = prepare_sweep(replace(job, sweep=None), cluster, checked, backend, runs_dir)
    require_backend(prepared.submission)
    for note in prepared.submission.notes:
        warnings.warn(note, stacklevel=2)
    _require_checked(prepared.submission, cluster, checks_of(prepared))
    return Sweep(send_sweep(prepared, sys.argv).root)


def _section(job: Job, over: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> SweepSection:
    """The section ``sweep`` that the arguments of `sweep` make of the job's own.

    Raises:
        JobError: a setting is not known, or has another kind of value.
    """
    import json

    from hpcdl.job.sweep_section import SweepSection
    from hpcdl.yamlfile.reader import read_yaml
    from hpcdl.yamlfile.walker import Walker

    values = {} if job.sweep is None else asdict(job.sweep)
    values.update(settings)
    if over is not None:
        if not isinstance(over, Mapping):
            raise UserError(
                f"over is {show(over)}; expected a dict with a space for each key, such as"
                ' {"model.dropout": "0..0.6"}'
            )
        values["over"] = dict(over)
    given = {key: value for key, value in values.items() if value is not None}
    try:
        text = json.dumps(given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"sweep() was given {error}; expected numbers, texts, true, false, None, or lists"
        ) from error
    problems: list[Problem] = []
    document = read_yaml(text, "sweep()", problems)
    section = None
    if document is not None:
        section = Walker(problems).fill(SweepSection, document, "sweep")
    if section is None or problems:
        raise JobError("sweep()", problems)
    return section


def _require_job(job: Job, function: str) -> None:
    """Make sure that a job was given, and not its file.

    Raises:
        JobError: something else was given.
    """
    if not isinstance(job, Job):
        expected = "expected a job from hpcdl.load_job"
        if isinstance(job, (str, os.PathLike)):
            expected += f": hpcdl.load_job({os.fspath(job)!r})"
        raise JobError(function, [Problem("", "job", f"is {show(job)}; {expected}")])


def _profile(cluster: Cluster | str) -> Cluster:
    if isinstance(cluster, str):
        from hpcdl.cluster import load_cluster

        return load_cluster(cluster)
    return cluster


def _require_checked(
    prepared: Submission, cluster: Cluster, more: Sequence[tuple[str, Check]] = ()
) -> None:
    """Make the checks of ``hpcdl check``, and more that a sweep needs.

    Raises:
        JobError: one of them found what would keep the job from running.
    """
    from hpcdl.preflight import Subject
    from hpcdl.preflight.all_checks import check_all, check_python
    from hpcdl.preflight.origin import origin

    checks = check_python if prepared.backend == "local" else check_all
    report = checks(Subject(prepared, cluster), more)
    problems = []
    for _, finding in report.findings:
        message = f"{finding.cause}; {finding.fix}"
        if finding.blocks:
            problems.append(Problem(origin(finding, prepared.job, cluster), "", message))
        else:
            warnings.warn(message, stacklevel=3)
    if problems:
        raise JobError(
            f"{prepared.job.name} on {cluster.name} cannot run, and was not sent", problems
        )
