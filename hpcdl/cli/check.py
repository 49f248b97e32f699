"""``hpcdl check``: every reason why a job could not run, before it is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.preflight import Report


_PROBE = "Then let the job's nodes and GPUs add up together, in a job of minutes."


@click.command(
    cls=options.JobCommand, short_help="Find out whether a job could run, and send nothing."
)
@options.job_name
@options.job_settings
@options.backend
@options.runs_dir
@click.option("--probe", is_flag=True, help=_PROBE)
@options.as_json
def command(
    job_name: str,
    settings: options.JobSettings,
    backend: str,
    runs_dir: str | None,
    probe: bool,
    as_json: bool,
) -> int:
    """Find out whether a job could run, and send nothing.

    It looks at all that can be seen from here: what the site allows, the image,
    the data, the script, the worker's Python, the folders, and what SLURM says
    of the very script. It shows every problem at once, with what to do.

    Exit code 0: the job could run; a line with "!" is a warning. 2: there is a
    problem. 1: no problem was found, but most checks could not be made.

    JOB is a job file, a script or notebook (its arguments follow --), or a
    shipped job (hpcdl jobs list); or a batch script of yours, with its #SBATCH
    lines. That is read and not run, and each finding has its line.

    With --probe it then sends a job of at most five minutes to the same nodes
    and GPUs, in the same container. It trains nothing: the GPUs add up arrays as
    they would add up gradients. It waits, and says what each node and GPU did;
    Ctrl-C cancels it. Exit code 1: they do not work together.

    \b
    hpcdl check mnist_cnn.yaml --cluster mycluster.yaml
    hpcdl check mnist_cnn -c marenostrum5 --set cluster.account=nct00 --set resources.time=04:00:00
    hpcdl check MNIST.py -c mycluster.yaml --gpus 1 --time 00:30:00
    hpcdl check MNIST.slurm
    hpcdl check mnist_cnn.yaml -c mycluster.yaml --json
    hpcdl check digits_cnn --backend local
    hpcdl check mnist_cnn.yaml -c mycluster.yaml --probe -s resources.nodes=2 -s resources.gpus=4
    """
    from hpcdl.cli.batch_scripts import is_batch_script

    if is_batch_script(job_name):
        _require_slurm(job_name, backend, probe)
        from hpcdl.cli.check_script import check_script

        return _exit_code(check_script(job_name, settings, as_json))
    from hpcdl.cli.checking import check_submission, report_lines
    from hpcdl.submission.prepare import prepare

    default = "local" if backend == "local" else None
    job, cluster = options.load(job_name, settings, default)
    if probe:
        from hpcdl.cli.probe import as_probe, probe_nodes

        job, cluster = as_probe(job, cluster)
    submission = prepare(job, cluster, backend, runs_dir)
    for note in submission.notes:
        options.say(note)
    report, places = check_submission(submission, cluster)
    if probe and not report.blocks:
        return probe_nodes(submission, as_json)
    if as_json:
        content = {"job": job.name, "cluster": cluster.name, **as_json_report(report, places)}
        click.echo(json.dumps(content, indent=2))
    else:
        for line in report_lines(f"{job.name} on {cluster.name}", report, places):
            click.echo(line)
    return _exit_code(report)


def _require_slurm(name: str, backend: str, probe: bool) -> None:
    """Make sure that nothing is asked of a batch script that only a job can do.

    Raises:
        UserError: it is.
    """
    from hpcdl.errors import UserError
    from hpcdl.text import hpcdl_command

    if probe or backend == "local":
        option = "--probe" if probe else "--backend local"
        adopt = hpcdl_command("adopt", name, "-o", "job.yaml")
        raise UserError(
            f"{option} is for a job, and {name} is a batch script: make a job file first: {adopt}"
        )


def _exit_code(report: Report) -> int:
    from hpcdl.cli.checking import could_run

    answer = could_run(report)
    if answer is None:
        return 1
    return 0 if answer else 2


def as_json_report(report: Report, places: list[str]) -> dict[str, object]:
    """The report for programs."""
    from hpcdl.cli.checking import could_run

    findings = []
    for (name, finding), place in zip(report.findings, places, strict=True):
        findings.append({"check": name, **vars(finding), "where": place})
    return {
        "could_run": could_run(report),
        "findings": findings,
        "passed": ["job file", *report.passed],
        "skipped": [{"check": name, "reason": reason} for name, reason in report.skipped],
        "notes": report.notes,
        "seconds": round(report.seconds, 3),
    }
