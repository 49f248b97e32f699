"""What several commands share: options, and the way from them to a job, a cluster or a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import completion

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.job import Job
    from hpcdl.run import Run

_CLUSTER = (
    "Cluster profile: a name or a .yaml file. Default: HPCDL_CLUSTER, ./hpcdl.yaml, hpcdl init's, else what fits "
    "this host."
)
_SET = "Override one key of the job, or with cluster.KEY of the profile. May be repeated."
_RUNS_DIR = "Folder of run folders, instead of the profile's runs_root."

_GPUS = "GPUs of the job; short for --set resources.gpus=N."
_TIME = 'Time limit, "HH:MM:SS"; short for --set resources.time=TIME.'
_ARGS, _SIZE = (
    "hpcdl.args",
    "hpcdl.size",
)  # what a command line gives to `load` beside its parameters

cluster = click.option(
    "--cluster", "-c", metavar="NAME|FILE", help=_CLUSTER, shell_complete=completion.profiles
)
sets = click.option("--set", "-s", "sets", multiple=True, metavar="KEY.PATH=VALUE", help=_SET)
show_env = click.option(
    "--show-env",
    is_flag=True,
    help="Show the values of env, and what looks like a secret. Default: hidden.",
)


def _not_empty(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A folder that is given must have a name: an empty one is a shell variable that is not set."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty; expected a folder (is a shell variable not set?)")
    return value


runs_dir = click.option(
    "--runs-dir",
    metavar="DIR",
    type=click.Path(file_okay=False),
    callback=_not_empty,
    help=_RUNS_DIR,
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


backend = click.option(
    "--backend",
    type=click.Choice(["slurm", "local"]),
    default="slurm",
    show_default=True,
    help="Where it runs.",
)


class JobCommand(click.Command):
    """A command whose JOB may be a script: what follows ``--`` are the script's arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the words at ``--``."""
        ctx.meta[_ARGS] = []
        if "--" in args:
            place = args.index("--")
            ctx.meta[_ARGS] = args[place + 1 :]
            args = args[:place]
        scripts = [word for word in args if word.endswith((".py", ".ipynb"))]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            strange = isinstance(error, click.NoSuchOption) or "unexpected extra" in error.message
            if not scripts or not strange:
                raise
            hint = f"one JOB at a time; a script's own arguments follow --: {scripts[0]} -- ARG..."
            raise click.UsageError(f"{error.format_message()} ({hint})", ctx) from error

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The words of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- ARG...]"]


def size(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how big a job is, without ``--set``."""

    def note(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value is not None:
            ctx.meta.setdefault(_SIZE, {})[parameter.opts[0].lstrip("-")] = value
        return value

    kinds: dict[str, tuple[Any, str, str]] = {
        "--time": (str, "TIME", _TIME),
        "--gpus": (click.IntRange(min=0), "N", _GPUS),
    }
    for name, (kind, metavar, text) in kinds.items():
        option = click.option(
            name, type=kind, metavar=metavar, help=text, expose_value=False, callback=note
        )
        function = option(function)
    return function


def run_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """A RUN argument with the options that say where to look for it."""
    decorated = click.argument("run", metavar="RUN", shell_complete=completion.runs)(function)
    return cluster(runs_dir(decorated))


def load(
    job: str, cluster: str | None, sets: tuple[str, ...], default_cluster: str | None = None
) -> tuple[Job, Cluster]:
    """The job and the cluster of a command line, with each --set where it belongs.

    Says on stderr which file a name stands for, where that is not plain.
    """
    from hpcdl.cluster import load_cluster
    from hpcdl.job import load_job

    for_cluster: list[str] = []
    for_job: list[str] = []
    for text in sets:
        (for_cluster if text.startswith("cluster.") else for_job).append(text)
    context = click.get_current_context(silent=True)
    meta = context.meta if context else {}
    for key, value in meta.get(_SIZE, {}).items():
        for_job.append(f"resources.{key}={value}")
    loaded = load_job(job, for_job, meta.get(_ARGS, []))
    name = _profile(cluster, default_cluster)
    site = load_cluster(name, for_cluster, loaded)
    for note in (_which_job(job, loaded), _which_profile(name)):
        if note:
            say(note)
    return loaded, site


def _profile(given: str | None, default: str | None) -> str:
    """The profile: the one that is named or, where the command has a default, that one."""
    from hpcdl.cluster import choose_cluster, named_cluster

    if given is not None or default is None:
        return choose_cluster(given)
    named = named_cluster(None)
    if named not in (None, default):
        say(
            f"--backend {default} uses the profile {default}, not {named}; --cluster {named} uses that one"
        )
    return default


def _which_job(name: str, job: Job) -> str:
    """What to say of a job that is not simply the job file that was named."""
    from hpcdl.job import find_job

    file = find_job(name)
    if not file.is_script:
        return file.note
    gpus = "1 GPU" if job.resources.gpus == 1 else f"{job.resources.gpus} GPUs"
    asks = f"{gpus}, {job.resources.time}"
    return f"{name}: running the script as job {job.name} with {asks} (--gpus, --time, --set)"


def _which_profile(name: str) -> str:
    """What to say where a profile's name could mean another file here, or in another folder."""
    from hpcdl.cluster import VARIABLE, built_in_profiles

    if name not in built_in_profiles():
        if os.environ.get(VARIABLE, "").strip() != name or os.path.isabs(os.path.expanduser(name)):
            return ""
        whole = os.path.abspath(os.path.expanduser(name))
        return f"{VARIABLE} is {name}, which is another file in another folder; better: export {VARIABLE}={whole}"
    files = [file for file in (f"{name}.yaml", f"{name}.yml", name) if os.path.isfile(file)]
    if not files:
        return ""
    return (
        f"{name}: using the built-in profile; for the file in this folder: --cluster ./{files[0]}"
    )


def run_roots(cluster: str | None, runs_dir: str | None) -> list[Path]:
    """Where runs are looked for: --runs-dir, the cluster's runs_root, and ./runs.

    A profile that somebody named must be there. One that merely fits this host may lack
    something, such as the account: then its runs are not looked for, which is said.
    """
    from hpcdl.cluster import fitting_cluster, load_cluster, named_cluster
    from hpcdl.errors import UserError

    roots = [Path(runs_dir)] if runs_dir else []
    name = named_cluster(cluster)
    if name is not None:
        roots.append(Path(load_cluster(name).runs_root))
    elif fits := fitting_cluster():
        try:
            roots.append(Path(load_cluster(fits).runs_root))
        except UserError as error:
            say(f"runs of {fits} are not looked for: {error}")
    roots.append(Path("runs"))
    return list(dict.fromkeys(root.absolute() for root in roots))


def find(run: str, cluster: str | None, runs_dir: str | None) -> Run:
    """The run that a RUN argument means; a path needs no cluster."""
    from hpcdl.run import find_run, run_at

    return run_at(run) or find_run(run, run_roots(cluster, runs_dir))


def choose(
    runs: Sequence[str], cluster: str | None, runs_dir: str | None, several: bool = False
) -> list[Run]:
    """The runs that RUN arguments mean, which may be patterns; without any, all, oldest first.

    Args:
        runs: the arguments.
        cluster: the option ``--cluster``.
        runs_dir: the option ``--runs-dir``.
        several: whether an argument may fit several runs: all of them are taken, and that is said.
    """
    from hpcdl.cli.choice import fits_name, is_pattern
    from hpcdl.run import find_run, find_runs, run_at, runs_below

    roots = cache(lambda: run_roots(cluster, runs_dir))
    if not runs:
        return runs_below(roots())
    patterns = [text for text in runs if is_pattern(text)]
    chosen = []
    for text in runs:
        if text in patterns:
            continue
        run = run_at(text)
        if run is None and several:
            fitting = find_runs(text, roots())
            chosen += fitting
            if len(fitting) > 1:
                say(f"{text!r} fits {len(fitting)} runs")
        else:
            chosen.append(run or find_run(text, roots()))
    if patterns:
        chosen += [run for run in runs_below(roots()) if fits_name(run, patterns)]
    return list({run.paths.root: run for run in chosen}.values())


def say(text: str) -> None:
    """Talk: one line on stderr."""
    click.echo(text, err=True)
