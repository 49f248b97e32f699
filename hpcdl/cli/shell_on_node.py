"""``hpcdl shell JOB --on-node``: the same shell in an allocation, through srun."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.cli import options
from hpcdl.errors import SchedulerError, UserError
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.planning import Plan
    from hpcdl.run import Run


def enter_job(
    target: str, settings: options.JobSettings, runs_dir: str | None, program: Sequence[str]
) -> None:
    """Become srun, which starts ``hpcdl shell`` for a job on a node.

    Args:
        target: the job.
        settings: the options that go with it.
        runs_dir: the folder of run folders; None for the profile's.
        program: what to start; empty for a shell.

    Raises:
        UserError: there is no terminal for a shell.
        SchedulerError: there is no srun here.
    """
    from hpcdl.job import find_job
    from hpcdl.planning import plan
    from hpcdl.submission.locate import locate, with_models

    _require_terminal(program)
    job, cluster = options.load(target, settings)
    job = with_models(job, cluster)
    located = locate(job, cluster, plan(job, cluster))
    located.require_packages()
    file = str(find_job(target).path)  # the code on the node is without the shipped jobs
    words = ["shell", file, "--cluster", options.profile_of(settings.cluster, None)]
    for text in settings.sets:
        words += ["--set", text]
    if settings.gpus is not None:
        words += ["--gpus", str(settings.gpus)]
    if settings.time is not None:
        words += ["--time", settings.time]
    if runs_dir is not None:
        words += ["--runs-dir", runs_dir]
    _enter(located.plan, words, Path(runs_dir or cluster.runs_root), program)


def enter_run(run: Run, time: str | None, program: Sequence[str]) -> None:
    """The same for a run: on a node such as it had.

    Args:
        run: the run.
        time: the time limit; None for the run's.
        program: what to start; empty for a shell.
    """
    from hpcdl.job import parse_time
    from hpcdl.launch.command import read_plan
    from hpcdl.run.paths import runs_root_of

    _require_terminal(program)
    if time is not None:
        try:
            parse_time(time)
        except ValueError as error:
            raise UserError(f"--time: {error}") from error
    words = ["shell", str(run.paths.root)]
    _enter(read_plan(run.paths), words, runs_root_of(run.paths), program, time)


def _require_terminal(program: Sequence[str]) -> None:
    if not (program or _is_terminal()):
        message = "a shell on a node needs a terminal, and stdin or stdout is none"
        raise UserError(f"{message}; say what to run: --on-node -- PROGRAM [ARG]...")
    if shutil.which("srun") is None:
        raise SchedulerError(
            "there is no srun on this machine: run hpcdl on a login node, or "
            f"{hpcdl_command('shell')} without --on-node"
        )


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _enter(
    plan: Plan, words: list[str], runs_root: Path, program: Sequence[str], time: str | None = None
) -> None:
    """Become srun. What it starts on the node is hpcdl's own frozen code."""
    from hpcdl import modules
    from hpcdl.planning.program import RUN_COMMAND
    from hpcdl.scheduler.interactive import outside_environment, srun_alone
    from hpcdl.usercode.freeze import freeze_code
    from hpcdl.worker.command import python_options

    if program:
        words = [*words, "--", *program]
    python = plan.modules.host_python or sys.executable
    inner = [python, *python_options(), "-c", RUN_COMMAND, *words]
    if plan.modules.host_modules:
        inner, _ = modules.after_modules(plan.module_lines(with_host=True), inner)
    options_of_srun = srun_alone(plan.directives, f"{plan.name}-shell", time, _is_terminal())
    env = outside_environment(os.environ)
    code = str(freeze_code(runs_root.absolute()))
    env["PYTHONPATH"] = ":".join(filter(None, [code, env.get("PYTHONPATH")]))
    sys.stdout.flush()
    os.execvpe("srun", [*options_of_srun, *inner], env)  # noqa: S606 - an argv list, no shell
