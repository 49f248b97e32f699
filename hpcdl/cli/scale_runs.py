"""The runs of ``hpcdl scale``: sent one after the other, followed, and what they measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.errors import HpcdlError
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.scaling.folder import ScalePaths, ScaleRecord, ScaleRun
    from hpcdl.submission.prepare import Submission
    from hpcdl.submission.scale import ScaleSize

    Prepared = tuple[ScaleSize, Submission]

_LEFT = 130  # what `follow` gives when the user leaves by Ctrl-C


def measure(
    record: ScaleRecord, prepared: Sequence[Prepared], at_once: bool, wait: bool, as_json: bool
) -> int:
    """Send the runs, write down which they are, and show what came out if it is known then."""
    from hpcdl.submission.scale import new_folder

    is_local = prepared[0][1].backend == "local"
    paths = new_folder(prepared[0][1])
    runs = _unsent(prepared)
    replace(record, runs=runs).write(paths)
    if not as_json:
        click.echo(paths.root)
    code = 0
    for number, (size, submission) in enumerate(prepared):
        before = None if is_local or at_once or not number else runs[number - 1]
        try:
            runs[number] = _send(size, submission, before)
        except HpcdlError:
            _tell_of_the_others(runs, paths)
            raise
        replace(record, runs=runs).write(paths)
        if is_local:
            code = max(code, _follow(runs[number]))
            if code == _LEFT:
                options.say(
                    "the sizes after it are not measured; see what was measured with: "
                    + hpcdl_command("scale", paths.root)
                )
                return code
    if not is_local and not wait:
        if as_json:
            click.echo(json.dumps({"folder": str(paths.root)}, indent=2))
        options.say(f"look at it with: {hpcdl_command('scale', paths.root, '--wait')}")
        return 0
    if not is_local:
        code = follow_all(paths)
    if code == _LEFT:
        return code
    return max(code, show(paths, as_json, to_stderr=not as_json))


def _tell_of_the_others(runs: Sequence[ScaleRun], paths: ScalePaths) -> None:
    """Say what becomes of the runs that were sent before one that could not be."""
    for run in runs:
        if run.folder:
            options.say(
                f"a run was sent before, end it with: {hpcdl_command('cancel', run.folder)}"
            )
    options.say(f"or see what was measured with: {hpcdl_command('scale', paths.root)}")


def _unsent(prepared: Sequence[Prepared]) -> list[ScaleRun]:
    from hpcdl.scaling.folder import ScaleRun

    return [ScaleRun(size.gpus, size.nodes) for size, _ in prepared]


def _send(size: ScaleSize, submission: Submission, before: ScaleRun | None) -> ScaleRun:
    """Send the run of a size, to come after another one if there is one, and say so."""
    from hpcdl.scaling.folder import ScaleRun
    from hpcdl.submission.scale import after_run
    from hpcdl.submission.send import submit

    if before is not None:
        submission = after_run(submission, before)
    run = submit(submission, sys.argv)
    jobs = run.job_ids()
    where = f"as job {jobs[0]}" if jobs else "on this machine"
    sent = ScaleRun(size.gpus, size.nodes, str(run.paths.root))
    options.say(f"{_name_of(sent)}: {where}, {run.paths.root}")
    return sent


def _name_of(run: ScaleRun) -> str:
    """A size as it is asked for."""
    name = f"resources.gpus={run.gpus}"
    if run.nodes > 1:
        name += f" resources.nodes={run.nodes}"
    return name


def _follow(run: ScaleRun) -> int:
    from hpcdl.cli.watching import follow
    from hpcdl.run import Run

    return follow(Run(run.folder))


def follow_all(paths: ScalePaths) -> int:
    """Follow the runs to their ends, one after the other."""
    from hpcdl.scaling.folder import ScaleRecord

    codes = [0]
    for run in ScaleRecord.read(paths).runs:
        if run.folder:
            options.say(f"{_name_of(run)}:")
            codes.append(_follow(run))
            if codes[-1] == _LEFT:
                break
    return max(codes)


def show(paths: ScalePaths, as_json: bool, to_stderr: bool = False) -> int:
    """Print what was measured, and write the page."""
    from hpcdl.cli.report import write_page_somewhere
    from hpcdl.report.scale_page import scale_report
    from hpcdl.report.scale_text import plain, text_lines
    from hpcdl.scaling.reading import read_report

    report = read_report(paths)
    if as_json:
        click.echo(json.dumps({"folder": str(paths.root), **plain(report)}, indent=2))
    else:
        for line in text_lines(report):
            click.echo(line, err=to_stderr)
    options.say(f"page: {write_page_somewhere(paths.page, scale_report(report))}")
    return 0 if report.verdict.best is not None else 1
