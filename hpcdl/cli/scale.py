"""``hpcdl scale``: how many GPUs a training is worth, measured by short runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from hpcdl.cli import completion, options
from hpcdl.cli.scale_runs import follow_all, measure, show

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.job import Job
    from hpcdl.scaling.folder import ScaleRecord
    from hpcdl.submission.prepare import Submission
    from hpcdl.submission.scale import ScaleSize

    Prepared = tuple[ScaleSize, Submission]

# What the options of the command say
_OWN = {"resources.gpus": "--gpus", "resources.nodes": "--nodes", "resources.time": "--time"}
_GPUS = "GPUs of a node, each number a run: 1,2,4."
_NODES = "Nodes, each number with each of --gpus. Default: 1."
_STEPS = "About how many steps each run trains; the first quarter warms up and does not count."
_TIME = "Time limit of each run."
_AT_ONCE = "Let the runs run at the same time. Default: one after the other."
_WAIT = "Wait until all runs have ended, then show what they measured."
_DRY_RUN = "Say what would be sent and what it would cost, and send nothing."
_NO_CHECK = "Send them without checking whether they can run."


def _numbers(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> list[int] | None:
    """Whole numbers with commas between them: each once, in ascending order."""
    if text is None:
        return None
    numbers = set()
    for part in text.split(","):
        digits = part.strip()
        if not (digits.isascii() and digits.isdigit() and int(digits[:7]) and len(digits) < 7):
            raise click.BadParameter(
                f"{text!r}; expected whole numbers from 1 on, such as 1,2,4", context, parameter
            )
        numbers.add(int(digits))
    return sorted(numbers)


@dataclass(frozen=True)
class Wanted:
    """The sizes, and how they are measured: --gpus, --nodes, --steps, --time, --at-once."""

    gpus: list[int] | None
    nodes: list[int]
    steps: int
    time: str
    at_once: bool


@dataclass(frozen=True)
class Steps:
    """Which steps are wanted: --wait, --dry-run, --no-check, --json."""

    wait: bool
    dry_run: bool
    no_check: bool
    as_json: bool


_wanted = options.grouped(
    "wanted",
    Wanted,
    click.option("--gpus", callback=_numbers, metavar="N,N,...", help=_GPUS),
    click.option("--nodes", callback=_numbers, metavar="N,N,...", default="1", help=_NODES),
    click.option(
        "--steps", type=click.IntRange(min=8), default=200, show_default=True, help=_STEPS
    ),
    click.option("--time", metavar="TIME", default="00:15:00", show_default=True, help=_TIME),
    click.option("--at-once", is_flag=True, help=_AT_ONCE),
)
_steps = options.grouped(
    "steps",
    Steps,
    click.option("--wait", is_flag=True, help=_WAIT),
    click.option("--dry-run", is_flag=True, help=_DRY_RUN),
    click.option("--no-check", is_flag=True, help=_NO_CHECK),
    options.as_json,
)


@click.command(short_help="Measure how many GPUs a training is worth.")
@click.argument("job_name", metavar="JOB|FOLDER", shell_complete=completion.jobs)
@_wanted
@options.job_settings_without_size
@options.backend
@options.runs_dir
@_steps
def command(
    job_name: str,
    wanted: Wanted,
    settings: options.JobSettings,
    backend: str,
    runs_dir: str | None,
    steps: Steps,
) -> int:
    """Measure how many GPUs a training is worth, by a short run at each size.

    A run trains a few hundred steps, without validation, exports and heat maps.
    What comes out: images a second, speed-up and efficiency of each size, what is
    lost to what, the size from which on more GPUs stop paying, the --set for it, and
    how sure that is. The most that the runs can cost is said before they are sent.

    The folder of the report is printed. With it instead of JOB, the command shows
    what has been measured so far, and writes the page anew. Exit code 1 while there
    are not two sizes to compare.

    \b
    hpcdl scale mnist_cnn.yaml -c mycluster.yaml --gpus 1,2,4 --dry-run
    hpcdl scale mnist_cnn.yaml -c mycluster.yaml --gpus 1,2,4 --wait
    hpcdl scale runs/mnist-cnn-scale/scale-20261129-0203-k3f9
    """
    from hpcdl.scaling.folder import folder_at
    from hpcdl.submission.send import require_backend

    paths = folder_at(job_name)
    if paths is not None:
        if wanted.gpus is not None:
            raise click.UsageError("--gpus goes with a JOB; a FOLDER has its sizes already")
        code = follow_all(paths) if steps.wait else 0
        return max(code, show(paths, steps.as_json))
    _require_sizes(wanted, settings.sets)
    job, cluster, prepared = _prepare_all(job_name, wanted, settings, backend, runs_dir)
    for note in _notes(prepared):
        options.say(note)
    for line in _cost_lines(prepared, wanted):
        options.say(line)
    if steps.dry_run:
        options.say("nothing was sent")
        return 0
    require_backend(prepared[0][1])
    if not steps.no_check and not _can_all_run(prepared, cluster, backend == "local"):
        return 2
    record = _record_of(job_name, job, wanted, settings.sets)
    return measure(record, prepared, wanted.at_once, steps.wait, steps.as_json)


def _require_sizes(wanted: Wanted, sets: Sequence[str]) -> None:
    """Make sure that there are sizes to compare, said once."""
    for text in sets:
        key = text.partition("=")[0].strip()
        if key in _OWN:
            raise click.UsageError(f"--set {key} is what {_OWN[key]} says; expected that alone")
    if wanted.gpus is None:
        raise click.UsageError("give the sizes to compare, such as --gpus 1,2,4")
    if len(wanted.gpus) * len(wanted.nodes) < 2:
        raise click.UsageError("give at least two sizes to compare, such as --gpus 1,2")


def _prepare_all(
    name: str,
    wanted: Wanted,
    settings: options.JobSettings,
    backend: str,
    runs_dir: str | None,
) -> tuple[Job, Cluster, list[Prepared]]:
    """The whole job, the profile, and the short run of each size. Nothing is written to disk."""
    from hpcdl.job import load_job
    from hpcdl.submission import scale

    # One job a size: what does not fit into its time is not measured
    own = ("cluster.max_requeues=0", *settings.sets)
    default = "local" if backend == "local" else None
    job, cluster = options.load(name, replace(settings, sets=own), default)
    sets = [text for text in settings.sets if not text.startswith("cluster.")]
    sets += [*scale.short_sets(job, wanted.steps), f"resources.time={wanted.time}"]
    prepared = []
    for nodes in wanted.nodes:
        for gpus in wanted.gpus or ():
            size = scale.ScaleSize(gpus, nodes)
            short = load_job(name, [*sets, *size.sets])
            prepared.append((size, scale.prepare_size(short, size, cluster, backend, runs_dir)))
    submissions = [submission for _, submission in prepared]
    scale.require_budget_for(submissions, cluster)
    if not wanted.at_once:
        scale.require_no_dependency(submissions[0])
    return job, cluster, prepared


def _notes(prepared: Sequence[Prepared]) -> list[str]:
    """What the user must hear before; each note once."""
    notes: dict[str, None] = {}
    for _, submission in prepared:
        notes.update(dict.fromkeys(submission.notes))
    return list(notes)


def _cost_lines(prepared: Sequence[Prepared], wanted: Wanted) -> list[str]:
    from hpcdl.submission.scale import asked_in_all

    submissions = [submission for _, submission in prepared]
    sizes = []
    for size, _ in prepared:
        nodes = f" on each of {size.nodes} nodes" if size.nodes > 1 else ""
        sizes.append(f"{size.gpus}{nodes}")
    lines = [
        f"{len(prepared)} short runs of {submissions[0].job.name}, with GPUs: "
        f"{', '.join(sizes)}; about {wanted.steps:,} steps each"
    ]
    if submissions[0].backend == "local":
        return [*lines, "one after the other on this machine"]
    hours = asked_in_all(submissions)
    order = "at the same time" if wanted.at_once else "one after the other"
    return [*lines, f"{order}, up to {wanted.time} each: up to {hours:.2f} GPU-hours together"]


def _can_all_run(prepared: Sequence[Prepared], cluster: Cluster, is_local: bool) -> bool:
    from hpcdl.cli.submit import check_first

    for size, submission in prepared:
        if check_first(submission, cluster, is_local) is None:
            options.say(f"cannot run with {' '.join(size.sets)}; nothing was sent")
            return False
    return True


def _record_of(name: str, job: Job, wanted: Wanted, sets: Sequence[str]) -> ScaleRecord:
    """What is compared, before any run is sent."""
    from hpcdl.scaling.folder import ScaleRecord
    from hpcdl.submission.scale import measured_sets, passes_of

    return ScaleRecord(
        job=job.name,
        source=name,
        passes=passes_of(job),
        per_gpu=job.train.batch_size_per_gpu if job.train else None,
        sets=measured_sets(sets),
        steps=wanted.steps,
        names_nodes=wanted.nodes != [1] or job.resources.nodes != 1,
    )
