"""``hpcdl check --probe``: a job of minutes in which a job's GPUs add up together."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.contract import probe
from hpcdl.errors import UserError

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.job import Job
    from hpcdl.run import Run
    from hpcdl.run.paths import RunPaths
    from hpcdl.submission.prepare import Submission

_TIME = "00:05:00"
_MOST_MARGIN_S = 60  # a larger one may be longer than that
_WAIT_S = "120"  # for another worker's import of TensorFlow


def as_probe(job: Job, cluster: Cluster) -> tuple[Job, Cluster]:
    """The probe of a job: the same nodes, GPUs and container, and no training.

    Args:
        job: the job.
        cluster: the profile.

    Raises:
        UserError: it is not a job with a model.
    """
    from hpcdl.job.notify_section import NotifySection

    if job.model is None:
        message = f"{job.source} has no model; --probe expects a job that trains one"
        like_it = "the same --cluster and --set, such as resources.gpus=4"
        raise UserError(f"{message}: try hpcdl check mnist_cnn --probe with {like_it}")
    job = replace(
        job,
        name=f"{job.name}-probe",
        resources=replace(job.resources, time=_TIME),
        env={**job.env, probe.VARIABLE: "1", "HPCDL_WORKERS_S": _WAIT_S},
        export=[],
        after=[],
        sweep=None,
        notify=NotifySection(),
    )
    margin_s = min(cluster.stop_margin_s, _MOST_MARGIN_S)  # it saves nothing
    return job, replace(cluster, max_requeues=0, stop_margin_s=margin_s)


def probe_nodes(submission: Submission, as_json: bool) -> int:
    """Send the probe, wait for its end, and say what came of it.

    Args:
        submission: of the probe.
        as_json: whether the answers are printed as JSON.

    Returns:
        the exit code: 0 if all GPUs have added up right, 130 after Ctrl-C, else 1.
    """
    from hpcdl.cli.submit import say_sent
    from hpcdl.cli.watching import state_line
    from hpcdl.submission.send import submit

    run = submit(submission, sys.argv)
    say_sent(run, submission.plan.cluster, [])
    shown = ""
    try:
        for status in run.watch():
            line = state_line(status)
            if line != shown and not status.final:
                options.say(line)
            shown = line
    except KeyboardInterrupt:
        run.cancel()
        options.say(f"\nthe probe is cancelled: {run.paths.root}")
        return 130
    answers = _answers(run.paths, submission.plan.size.nodes)
    if as_json:
        content = {"state": status.state, "cause": status.cause, "message": status.note}
        click.echo(json.dumps({**content, "run": str(run.paths.root), "nodes": answers}, indent=2))
    elif answers:
        for line in _lines(answers):
            click.echo(line)
    return _end(run, status.state == "done")


def _end(run: Run, is_done: bool) -> int:
    """Say why it failed, if it did; the exit code."""
    from hpcdl.cli.run_lines import failure_lines

    if is_done:
        return 0
    for line in failure_lines(run, run.status()):
        options.say(line)
    return 1


def _answers(paths: RunPaths, nodes: int) -> list[dict[str, Any]]:
    """What each worker wrote, by rank; those that wrote nothing are left out.

    Args:
        paths: the probe's run.
        nodes: how many there may be.
    """
    from hpcdl.files import read_json
    from hpcdl.run.worker_paths import WorkerPaths

    answers = []
    for rank in range(nodes):
        answer = read_json(WorkerPaths(paths.root, rank).own / probe.FILE)
        if answer is not None:
            answers.append({"worker": rank, **answer})
    return answers


def _lines(answers: list[dict[str, Any]]) -> list[str]:
    """The answers for people: a line for each device, then the times and the versions."""
    from hpcdl.contract.tables import aligned

    first = answers[0]
    verdict = "adds up right" if first["replicas"] > 1 else "is there"
    rows = []
    for answer in answers:
        for name in answer["devices"]:
            rows.append([f" ✓ {answer['node']}", f"{name} {verdict}"])
    lines = aligned(rows)
    if first["replicas"] > 1:
        lines.append(
            f"   {first['strategy']} over {first['replicas']} replicas: the first all-reduce "
            f"{first['all_reduce_s']:.2f} s, one of {first['mb']} MB {first['again_s']:.3f} s"
        )
    versions = "  ".join(f"{name} {version}" for name, version in first["versions"].items())
    return [*lines, f"   {versions}"]
