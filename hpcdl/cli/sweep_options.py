"""What ``hpcdl sweep JOB`` takes of the section sweep: each option is short for a --set."""

from __future__ import annotations

from dataclasses import dataclass, fields

import click

from hpcdl.cli import options

_METHODS = ("random", "grid", "bayes", "asha", "hyperband")
_OVER = (
    "One more key to search, or another space for one of the job file's; SPACE is 0.001..0.1, "
    "log:1e-4..1e-1, int:1..8, int:log:16..512, a|b|c, or a YAML list. May be repeated."
)
_METHOD = "How values are chosen; asha and hyperband end poor trials early.  [default: random]"
_METRIC = "By which trials are compared; a script has to name it.  [default: val_accuracy]"
_TRIALS = "How many trials. A grid has as many as it has combinations."
_GPU_HOURS = "No other trial begins after that many GPU-hours."
_AT_ONCE = "Trials at the same time.  [default: 8; on this machine 1]"
_TRIALS_PER_GPU = "Trials that share one GPU.  [default: 1]"
_SEED = "Makes two sweeps suggest the same values.  [default: 1]"
_WAIT = "Say each trial's end until all have ended; exit 1 unless there is a best one."
_DRY_RUN = "Print exactly the text that would be sent, and send nothing."
_NO_CHECK = "Send it without checking whether it can run."


@dataclass(frozen=True)
class Search:
    """What a command line says of the section sweep: each option is short for a --set."""

    over: tuple[str, ...]
    method: str | None
    metric: str | None
    trials: int | None
    gpu_hours: float | None
    at_once: int | None
    trials_per_gpu: int | None
    seed: int | None


search_options = options.grouped(
    "search",
    Search,
    click.option("--over", multiple=True, metavar="KEY=SPACE", help=_OVER),
    click.option("--method", type=click.Choice(_METHODS), help=_METHOD),
    click.option("--metric", metavar="NAME", help=_METRIC),
    click.option("--trials", type=click.IntRange(min=1), metavar="N", help=_TRIALS),
    click.option("--gpu-hours", type=float, metavar="H", help=_GPU_HOURS),
    click.option("--at-once", type=click.IntRange(min=1), metavar="C", help=_AT_ONCE),
    click.option("--trials-per-gpu", type=click.IntRange(min=1), metavar="M", help=_TRIALS_PER_GPU),
    click.option("--seed", type=click.IntRange(min=0), metavar="S", help=_SEED),
)


@dataclass(frozen=True)
class SweepSteps:
    """Which steps are wanted: --wait, --dry-run, --no-check."""

    wait: bool
    dry_run: bool
    no_check: bool


step_options = options.grouped(
    "steps",
    SweepSteps,
    click.option("--wait", is_flag=True, help=_WAIT),
    click.option("--dry-run", is_flag=True, help=_DRY_RUN),
    click.option("--no-check", is_flag=True, help=_NO_CHECK),
)


def sets_of(search: Search) -> list[str]:
    """The options as --set texts."""
    sets = []
    for text in search.over:
        if not text.partition("=")[1]:
            raise click.UsageError(f"--over {text}: expected KEY=SPACE, as model.dropout=0..0.6")
        sets.append(f"sweep.over.{text}")
    for field in fields(search):
        value = getattr(search, field.name)
        if field.name != "over" and value is not None:
            sets.append(f"sweep.{field.name}={value}")
    return sets
