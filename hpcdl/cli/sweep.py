"""``hpcdl sweep``: many trials of one job; the sweep's path alone goes to stdout."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import completion, options
from hpcdl.cli.submit import check_first
from hpcdl.cli.sweep_lines import sent_line, size_lines
from hpcdl.cli.sweep_options import Search, SweepSteps, search_options, sets_of, step_options
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.submission.sweep import SweepSubmission
    from hpcdl.sweeps.folder import SweepPaths

_MORE = "How many more trials."
_MORE_DRY_RUN = "Say how many tasks would be sent and what they may cost, and send nothing."


class _SweepGroup(click.Group):
    """Its first word is one of its commands, or else the JOB of a new sweep."""

    without_word: click.Command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """A context of the command that the words mean."""
        if args and args[0] in self.commands:
            return super().make_context(info_name, args, parent, **extra)
        return self.without_word.make_context(info_name, args, parent, **extra)


class _StartCommand(options.JobCommand):
    """Starts a sweep; its help lists the other commands, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; the first one may be a command that was mistyped."""
        first_word = next(iter(args), "")
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            from hpcdl.text import did_you_mean

            close = did_you_mean(first_word, command.commands, also="")
            if not close or "unexpected extra" not in error.message:
                raise
            raise click.UsageError(f"no command {first_word!r}{close}", ctx) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of the other commands."""
        rows = []
        for name, inner in command.commands.items():
            rows.append((f"{name} SWEEP", inner.get_short_help_str(limit=100)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_SweepGroup, short_help="Train many trials of one job, and find the best.")
def command() -> None:
    """Train many trials of one job, and find the best.

    The first word is one of the commands below, or the JOB of a new sweep.
    """


@click.command(cls=_StartCommand, short_help="Train many trials of one job, and find the best.")
@options.job_name
@search_options
@options.job_settings
@options.backend
@options.runs_dir
@step_options
def start(
    job_name: str,
    search: Search,
    settings: options.JobSettings,
    backend: str,
    runs_dir: str | None,
    steps: SweepSteps,
) -> int:
    """Train many trials of one job, each with other values, and find the best.

    JOB is as for submit; its section sweep says what is searched, and the options
    override that. The space and its values are checked before anything is made.
    The tasks of one job array take the trials one by one. The sweep's folder is
    printed. A job file called best.yaml is ./best.yaml here.

    \b
    hpcdl sweep digits.yaml --over model.dropout=0..0.6 --trials 20 -c mycluster.yaml
    hpcdl sweep digits.yaml --over 'train.batch_size=16|32|64' --method grid --backend local --wait
    hpcdl sweep train.py --over args.rate=log:1e-4..1 --metric val_loss --trials 9 -- --epochs 5
    hpcdl sweep sweep_random -c mycluster.yaml --dry-run
    hpcdl sweep best runs/digits/20261121-1402-k3f9 > best.yaml
    """
    from hpcdl.run.estimate import estimate
    from hpcdl.submission.send import require_backend
    from hpcdl.submission.sweep import prepare_sweep, send_sweep
    from hpcdl.sweeps.budget import check_gpu_hours
    from hpcdl.sweeps.checks import check_sweep

    is_local = backend == "local"
    settings = replace(settings, sets=(*settings.sets, *sets_of(search)))
    job, cluster = options.load(job_name, settings, "local" if is_local else None)
    sweep_settings = check_sweep(job, on_this_machine=is_local)
    job = replace(job, sweep=None)  # what remains is the job of a trial
    prepared = prepare_sweep(job, cluster, sweep_settings, backend, runs_dir)
    trial = estimate(prepared.paths.root.parent.parent, job, backend)
    for line in [*prepared.submission.notes, *size_lines(prepared, trial)]:
        options.say(line)
    check_gpu_hours(sweep_settings, trial)
    if steps.dry_run:
        click.echo(prepared.submission.script or "", nl=False)
        return 0
    require_backend(prepared.submission)
    if not steps.no_check and not _could_run(prepared, cluster):
        return 2
    paths = send_sweep(prepared, sys.argv)
    options.say(sent_line(paths, cluster.name))
    click.echo(paths.root)
    if not steps.wait:
        options.say(f"follow it with: {hpcdl_command('status', paths.root)}")
        return 0
    from hpcdl.cli.sweep_watching import follow_sweep

    return follow_sweep(paths)


command.without_word = start

_sweep_name = click.argument("sweep_name", metavar="SWEEP", shell_complete=completion.runs)


@command.command("best", short_help="Print the job file with the best trial's values.")
@_sweep_name
@options.places
def best(sweep_name: str, places: options.Places) -> None:
    """Print a job file: the sweep's job with the values of its best trial.

    Comments in front say where they come from.

    \b
    hpcdl sweep best k3f9 > best.yaml && hpcdl submit ./best.yaml
    """
    from hpcdl.sweeps.best import best_job_text

    click.echo(best_job_text(_sweep_at(sweep_name, places)), nl=False)


@command.command("more", short_help="Add trials to a sweep.")
@_sweep_name
@click.option("--trials", type=click.IntRange(min=1), metavar="N", required=True, help=_MORE)
@options.places
@options.profile_sets
@click.option("--dry-run", is_flag=True, help=_MORE_DRY_RUN)
def more(
    sweep_name: str, trials: int, places: options.Places, sets: tuple[str, ...], dry_run: bool
) -> None:
    """Add trials to a sweep, also to one that has ended or was stopped. Its space stays.

    They are held to the profile's budget and limits, as those of a new sweep.

    \b
    hpcdl sweep more k3f9 --trials 20 --dry-run
    hpcdl sweep more k3f9 --trials 20
    hpcdl sweep more k3f9 --trials 20 --set cluster.budget_gpu_hours=300
    """
    from hpcdl.cli.new_tasks import outlook_lines, require_allowed
    from hpcdl.cli.run_lines import follower_lines
    from hpcdl.submission.sweep import decide_more, send_more
    from hpcdl.sweeps.budget import check_more

    paths = _sweep_at(sweep_name, places, "add trials to")
    total = check_more(paths, trials)
    cluster = options.sent_with(paths.run, places, sets)
    new_tasks = decide_more(paths, trials, cluster)
    if dry_run:
        for line in outlook_lines(new_tasks):
            options.say(line)
    require_allowed(new_tasks)
    if dry_run:
        options.say(f"{paths.root} would have {total} trials")
        return
    moved = send_more(new_tasks)
    options.say(f"{paths.root} has {total} trials now")
    for line in follower_lines(moved):
        options.say(line)


@command.command("stop", short_help="Begin no other trial of a sweep.")
@_sweep_name
@options.places
def stop(sweep_name: str, places: options.Places) -> None:
    """Begin no other trial of a sweep. Those that run go on to their ends.

    `hpcdl sweep more` goes on with it.

    \b
    hpcdl sweep stop k3f9
    """
    from hpcdl.files import write_text

    paths = _sweep_at(sweep_name, places, "stop")
    if paths.stop.exists():
        options.say(f"nothing to stop: {paths.root} begins no other trial already")
        return
    write_text(paths.stop, "hpcdl sweep stop\n")
    options.say(f"stopped: {paths.root} begins no other trial; those that run go on")


@command.command("export", short_help="Write a sweep's trials for other programs.")
@_sweep_name
@click.option("--csv", "csv_file", metavar="FILE", help="Write a table: a row for each trial.")
@click.option("--optuna", "optuna_file", metavar="FILE", help="Write a journal of Optuna's.")
@options.places
def export(
    sweep_name: str, csv_file: str | None, optuna_file: str | None, places: options.Places
) -> None:
    """Write a sweep's trials for other programs; a file that is there is replaced.

    optuna-dashboard opens the journal, which takes Optuna (pip install optuna).

    \b
    hpcdl sweep export k3f9 --csv trials.csv
    hpcdl sweep export k3f9 --optuna optuna.log
    """
    from hpcdl.oserrors import refusal
    from hpcdl.sweeps.export import write_csv, write_optuna

    if csv_file is None and optuna_file is None:
        raise click.UsageError("give --csv FILE, --optuna FILE, or both")
    paths = _sweep_at(sweep_name, places)
    for file, write in ((csv_file, write_csv), (optuna_file, write_optuna)):
        if file is None:
            continue
        try:
            trials = write(paths, Path(file).absolute())
        except OSError as error:
            raise refusal(f"cannot write {file}", error) from error
        options.say(f"written: {file}, {trials} trials")


def _could_run(prepared: SweepSubmission, cluster: Cluster) -> bool:
    """Whether the checks of a submission pass; what is wrong is shown."""
    submission = prepared.submission
    is_local = submission.backend == "local"
    if prepared.settings.method == "bayes":
        from hpcdl.sweeps.host_optuna import require_optuna

        if is_local:
            require_optuna(None)
        else:
            lines = submission.plan.module_lines(with_host=True)
            require_optuna(submission.plan.modules.host_python, lines)
    from hpcdl.preflight.sweep import checks_of

    return check_first(submission, cluster, is_local, checks_of(prepared)) is not None


def _sweep_at(text: str, places: options.Places, owners_verb: str = "") -> SweepPaths:
    """The sweep that a SWEEP argument means.

    Args:
        text: the argument.
        places: where it may be.
        owners_verb: what is to be done, if only its owner can do it.

    Raises:
        UserError: it is a run, or a trial; it is somebody else's.
    """
    from hpcdl.errors import UserError
    from hpcdl.run.paths import TrialPaths
    from hpcdl.sweeps.folder import SweepPaths

    run = options.find(text, places)
    paths = SweepPaths(run.paths.root)
    if isinstance(run.paths, TrialPaths):
        sweep = run.paths.sweep.root
        raise UserError(f"{text} is a trial; expected a sweep: give {sweep}")
    if not paths.sweep.exists():
        raise UserError(
            f"{paths.root} is a run, not a sweep (it has no sweep.json); hpcdl status lists both"
        )
    if owners_verb:
        run.require_owner(owners_verb)
    return paths
