"""What several commands share: options, and the way from them to a job, a cluster or a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import completion

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.job import Job
    from hpcdl.run import Run
    from hpcdl.run.paths import RunPaths

_CLUSTER = (
    "Cluster profile: a name or a .yaml file. Default: HPCDL_CLUSTER, ./hpcdl.yaml, hpcdl init's, "
    "else the one that fits this host."
)
_SET = "Override one key of the job, or with cluster.KEY of the profile. May be repeated."
_PROFILE_SET = "Override one key of the profile, such as its budget. May be repeated."
_RUNS_DIR = "Folder of run folders, instead of the profile's runs_root."
_GPUS = "GPUs of each node; short for --set resources.gpus=N."
_TIME = 'Time limit, "HH:MM:SS"; short for --set resources.time=TIME.'
_SHOW_ENV = "Show the values of env, and what looks like a secret. Default: hidden."
_ARGS = "hpcdl.args"  # the key of click's context for the words after --


def grouped(
    name: str, kind: type, *options: Callable[..., Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command several options (or arguments) as one parameter.

    Args:
        name: the command's parameter.
        kind: the dataclass that it gets, with a field for each option; others have defaults.
        options: decorators of click's, in the order of ``--help``.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(**values: Any) -> Any:
            group = {field: values.pop(field) for field in names if field in values}
            return function(**values, **{name: kind(**group)})

        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _not_empty(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a folder without a name: a shell variable that is not set."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty; expected a folder (is a shell variable not set?)")
    return value


cluster = click.option(
    "--cluster", "-c", metavar="NAME|FILE", help=_CLUSTER, shell_complete=completion.profiles
)
sets = click.option("--set", "-s", "sets", multiple=True, metavar="KEY.PATH=VALUE", help=_SET)
profile_sets = click.option(
    "--set", "-s", "sets", multiple=True, metavar="cluster.KEY=VALUE", help=_PROFILE_SET
)
gpus = click.option("--gpus", type=click.IntRange(min=0), metavar="N", help=_GPUS)
time = click.option("--time", metavar="TIME", help=_TIME)
runs_dir = click.option(
    "--runs-dir",
    metavar="DIR",
    type=click.Path(file_okay=False),
    callback=_not_empty,
    help=_RUNS_DIR,
)
show_env = click.option("--show-env", is_flag=True, help=_SHOW_ENV)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
backend = click.option(
    "--backend",
    type=click.Choice(["slurm", "local"]),
    default="slurm",
    show_default=True,
    help="Where it runs.",
)


@dataclass(frozen=True)
class Places:
    """Where runs are looked for: --cluster and --runs-dir."""

    cluster: str | None
    runs_dir: str | None


@dataclass(frozen=True)
class JobSettings:
    """What a command line says of the job and its cluster, next to the job's name."""

    cluster: str | None
    sets: tuple[str, ...]
    gpus: int | None = None
    time: str | None = None


job_name = click.argument("job_name", metavar="JOB", shell_complete=completion.jobs)
job_settings = grouped("settings", JobSettings, cluster, sets, gpus, time)
job_settings_without_size = grouped("settings", JobSettings, cluster, sets)
places = grouped("places", Places, cluster, runs_dir)
runs = click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, shell_complete=completion.runs
)
optional_runs = click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=completion.runs)


def run_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """A RUN argument, with the options that say where to look for it."""
    argument = click.argument("run_name", metavar="RUN", shell_complete=completion.runs)
    return argument(places(function))


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
            extra = "unexpected extra" in error.message
            if not extra and not (scripts and isinstance(error, click.NoSuchOption)):
                raise
            hint = "one JOB at a time"
            if scripts:
                hint += f"; a script's own arguments follow --: {scripts[0]} -- ARG..."
            raise click.UsageError(f"{error.format_message()} ({hint})", ctx) from error

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The words of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- ARG...]"]


def load(
    name: str, settings: JobSettings, default_cluster: str | None = None
) -> tuple[Job, Cluster]:
    """The job and the cluster of a command line, with each --set where it belongs.

    Says on stderr which file a name stands for, if that is not obvious.

    Args:
        name: the argument JOB.
        settings: the options that go with it.
        default_cluster: the profile, if the command line does not name one.
    """
    from hpcdl.cluster import load_cluster
    from hpcdl.job import load_job

    for_cluster: list[str] = []
    for_job: list[str] = []
    for text in settings.sets:
        if text.startswith("cluster."):
            for_cluster.append(text)
        else:
            for_job.append(text)
    if settings.gpus is not None:
        for_job.append(f"resources.gpus={settings.gpus}")
    if settings.time is not None:
        for_job.append(f"resources.time={settings.time}")
    job = load_job(name, for_job, script_arguments())
    profile = profile_of(settings.cluster, default_cluster)
    cluster = load_cluster(profile, for_cluster, job)
    for note in (_which_job(name, job), _which_profile(profile)):
        if note:
            say(note)
    return job, cluster


def script_arguments() -> list[str]:
    """The words after ``--``."""
    context = click.get_current_context(silent=True)
    if context is None:
        return []
    words: list[str] = context.meta.get(_ARGS, [])
    return words


def profile_of(named: str | None, default: str | None) -> str:
    """The profile of a command: the one that --cluster names, else the command's default."""
    from hpcdl.cluster import choose_cluster, named_cluster

    if named is not None or default is None:
        return choose_cluster(named)
    usual = named_cluster(None)
    if usual not in (None, default):
        say(
            f"--backend {default} uses the profile {default}, not {usual}; "
            f"--cluster {usual} uses that one"
        )
    return default


def _which_job(name: str, job: Job) -> str:
    """What to say of a job that is not simply the job file that was named."""
    from hpcdl.formats import several
    from hpcdl.job import find_job

    file = find_job(name)
    if not file.is_script:
        return file.note
    size = f"{several(job.resources.gpus, 'GPU')}, {job.resources.time}"
    return f"{name}: running the script as job {job.name} with {size} (--gpus, --time, --set)"


def _which_profile(name: str) -> str:
    """What to say if a profile's name could mean another file, here or in another folder."""
    from hpcdl.cluster import VARIABLE, built_in_profiles

    path = os.path.expanduser(name)
    if name not in built_in_profiles():
        if os.environ.get(VARIABLE, "").strip() != name or os.path.isabs(path):
            return ""
        better = f"export {VARIABLE}={os.path.abspath(path)}"
        return f"{VARIABLE} is {name}, which is another file in another folder; better: {better}"
    for file in (f"{name}.yaml", f"{name}.yml", name):
        if os.path.isfile(file):
            other = f"for the file in this folder: --cluster ./{file}"
            return f"{name}: using the built-in profile; {other}"
    return ""


def run_roots(places: Places) -> list[Path]:
    """The folders of runs; if a profile's is missing, a line says why."""
    from hpcdl.cluster import run_roots as of_user

    roots, message = of_user.run_roots(places.cluster, places.runs_dir)
    if message:
        say(message)
    return roots


def sent_with(paths: RunPaths, places: Places, sets: Sequence[str]) -> Cluster | None:
    """The profile that a run or sweep was sent with; if it cannot be read, a line says so.

    Args:
        paths: the run's.
        places: its --cluster names the profile, if that has the same name.
        sets: ``cluster.KEY=value`` texts.
    """
    from hpcdl.submission.profile import sent_with as look

    profile = look(paths, places.cluster, sets)
    if profile.note:
        say(profile.note)
    return profile.cluster


def find(text: str, places: Places) -> Run:
    """The run that a RUN argument means; a path needs no cluster."""
    from hpcdl.run import find_run, run_at

    return run_at(text) or find_run(text, run_roots(places))


def choose(texts: Sequence[str], places: Places) -> list[Run]:
    """The runs that RUN arguments mean, which may be patterns; without arguments, all runs.

    Args:
        texts: the arguments.
        places: where runs are looked for.

    Returns:
        the runs, each once: those that are named in their order, then others, the oldest first.
    """
    from hpcdl.cli.choice import fits_name, is_pattern
    from hpcdl.run import find_run, run_at, runs_below

    roots = cache(lambda: run_roots(places))  # a folder needs none, and no cluster
    chosen: list[Run] = []
    patterns = []
    for text in texts:
        if is_pattern(text):
            patterns.append(text)
        else:
            chosen.append(run_at(text) or find_run(text, roots()))
    if patterns or not texts:
        for run in runs_below(roots()):
            if not texts or fits_name(run.name, patterns):
                chosen.append(run)
    return list({run.paths.root: run for run in chosen}.values())


def say(text: str) -> None:
    """Talk: one line on stderr."""
    click.echo(text, err=True)
