"""``hpcdl cost``: GPU-hours, asked against used, and the next request."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.cli.choice import Chosen, since_time
from hpcdl.contract.tables import aligned
from hpcdl.errors import RunError
from hpcdl.formats import MISSING, duration, percent, several

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.cost import Share
    from hpcdl.run.listing import ListedRun
    from hpcdl.run.next_request import Needs, Suggestion
    from hpcdl.run.totals import Totals
    from hpcdl.sweeps.costs import RunCost

_SHOWN = 20  # runs, if none is named
_SINCE = "Only runs made since: 2d, 12h, 30m, or 2026-11-20."


@click.command(short_help="Show what runs cost, and what to ask for next time.")
@options.optional_runs
@click.option("--since", metavar="AGE|DATE", help=_SINCE)
@options.places
@options.as_json
def command(
    runs: tuple[str, ...], since: str | None, places: options.Places, as_json: bool
) -> None:
    """Show what runs cost, and what to ask for next time.

    GPU-H and CPU-H are what a run has occupied, by its own files: at once, and
    without SLURM. TIME, CPU and MEMORY show how much of what it asked for it has
    used, as seff does; SLURM's accounting tells CPU and memory at the end of an
    attempt. QUEUE is the time that all attempts waited. GPU is the share of time
    in which its GPUs computed anything, as sampled on the node.

    Without RUN, it shows the newest runs; the total is that of all of them. A
    sweep is one line, with all its trials; a RUN may be one of its trials.

    \b
    hpcdl cost
    hpcdl cost k3f9
    hpcdl cost 'mnist*' --since 7d
    hpcdl cost --since 2026-11-01 --json
    """
    from hpcdl.run.totals import Totals
    from hpcdl.sweeps.costs import costs_of

    chosen = Chosen(runs, places, several=True)
    listed_runs = chosen.runs
    if since is not None:
        earliest = since_time(since, time.time())
        listed_runs = [run for run in listed_runs if run.created >= earliest]
    if not listed_runs:
        options.say("no run fits; hpcdl status --all shows all")
        return
    cut = 0 if runs or as_json else max(0, len(listed_runs) - _SHOWN)
    older = _older(listed_runs[:cut]) if cut else Totals()
    chosen.save()
    costs = costs_of(_opened(listed_runs[cut:]))
    if as_json:
        click.echo(json.dumps(_plain(costs), indent=2))
        return
    for line in _lines(costs, older):
        click.echo(line)
    if older.runs:
        options.say(f"({several(older.runs, 'older run')}: in the total, not in the table)")


def _older(listed_runs: Sequence[ListedRun]) -> Totals:
    """What the runs have occupied that are not in the table."""
    from hpcdl.run.totals import totals_of
    from hpcdl.sweeps.costs import costs_of

    totals = totals_of([run for run in listed_runs if not run.is_sweep])
    return totals + _total(costs_of(_opened([run for run in listed_runs if run.is_sweep]), False))


def _opened(listed_runs: Sequence[ListedRun]) -> list[Run]:
    from hpcdl.run.handle import Run

    opened = []
    for listed_run in listed_runs:
        with suppress(RunError):  # removed meanwhile
            opened.append(Run(listed_run.folder))
    return opened


def _lines(costs: Sequence[RunCost], older: Totals) -> list[str]:
    """The table, the total, what is not known, and the next request."""
    cells = [["RUN", "STATE", "GPU-H", "CPU-H", "QUEUE", "TIME", "CPU", "MEMORY"]]
    for entry in costs:
        cells.append(_cells(entry))
    if any("gpu_use_percent" in entry.devices for entry in costs):
        cells[0].append("GPU")
        for line_cells, entry in zip(cells[1:], costs, strict=True):
            line_cells.append(_gpu_text(entry))
    total = older + _total(costs)
    if total.runs > 1:
        hours = [hours_text(total.gpu_hours), hours_text(total.cpu_hours)]
        cells.append([several(total.runs, "run"), "total", *hours, duration(total.queue_s)])
    lines = aligned(cells)
    lines += _idle_lines(costs) + _energy_lines(costs) + _unknown_lines(costs)
    for job, needed in _suggestions(costs).items():
        lines.append(_suggestion_line(job, needed))
    return [line.replace("\u00a0", " ") for line in lines]


def _cells(entry: RunCost) -> list[str]:
    cost = entry.cost
    return [
        entry.run.name,
        entry.state,
        hours_text(cost.gpu_hours),
        hours_text(cost.cpu_hours),
        _queue_text(entry),
        _share_text(cost.time, duration),
        MISSING if cost.cpu is None else percent(cost.cpu.efficiency, 1),
        _share_text(cost.memory, _memory_text),
    ]


def _queue_text(entry: RunCost) -> str:
    queue_s = entry.cost.queue_s
    if queue_s is None or entry.usage.is_local:
        return MISSING
    return duration(queue_s)


def hours_text(hours: float) -> str:
    """Hours with the digits that tell something: 0.003, 1.25, 310."""
    if hours >= 100:
        return f"{hours:,.0f}"
    if hours >= 1:
        return f"{hours:.2f}"
    return f"{hours:.3f}"


def _share_text(share: Share | None, show: Any) -> str:
    if share is None:
        return MISSING
    used = show(share.used)
    if share.efficiency is None:
        return str(used)
    return f"{used} of {show(share.asked)} ({percent(share.efficiency, 1)})"


def _memory_text(size_gb: float) -> str:
    if size_gb >= 10:
        return f"{size_gb:.0f} GB"
    if size_gb < 0.1:
        return f"{size_gb * 1024:.0f} MB"
    return f"{size_gb:.2f} GB"


def _gpu_text(entry: RunCost) -> str:
    use_percent = entry.devices.get("gpu_use_percent")
    return MISSING if use_percent is None else percent(use_percent / 100, 1)


def _idle_lines(costs: Sequence[RunCost]) -> list[str]:
    """The GPU-hours in which GPUs did nothing, of those that were sampled."""
    idle_hours = sampled_hours = 0.0
    for entry in costs:
        idle_hours += entry.devices.get("idle_gpu_hours", 0.0)
        sampled_hours += entry.devices.get("sampled_gpu_hours", 0.0)
    if not sampled_hours:
        return []
    share = percent(idle_hours / sampled_hours, 1)
    hours = f"{hours_text(idle_hours)} of {hours_text(sampled_hours)} GPU-hours"
    return [f"GPUs that did nothing: {hours} ({share})"]


def _energy_lines(costs: Sequence[RunCost]) -> list[str]:
    energies = [entry.cost.energy_j for entry in costs if entry.cost.energy_j]
    lines = []
    if energies:
        lines.append(f"energy: {sum(energies) / 3.6e6:.3f} kWh")
    uses = [entry.cost.gpu_use for entry in costs if entry.cost.gpu_use is not None]
    if uses:
        lines.append(f"use of the GPUs: up to {max(uses):.0f} %")
    return lines


def _unknown_lines(costs: Sequence[RunCost]) -> list[str]:
    """Why figures are missing, each reason once, with the number of runs."""
    counts: dict[str, int] = {}
    for entry in costs:
        for sentence in entry.cost.unknown:
            counts[sentence] = counts.get(sentence, 0) + 1
    lines = []
    for sentence, count in counts.items():
        whose = f" ({several(count, 'run')})" if len(costs) > 1 else ""
        lines.append(f"{sentence}{whose}")
    return lines


def _suggestions(costs: Sequence[RunCost]) -> dict[str, Suggestion]:
    """The next request of each job that has run."""
    from hpcdl.run.next_request import suggestion

    needs: dict[str, list[Needs]] = {}
    newest: dict[str, RunCost] = {}
    for entry in costs:
        if entry.usage.turns:
            needs.setdefault(entry.job, []).append(entry.cost.needs)
            newest[entry.job] = entry
    suggestions = {}
    for job, of_runs in needs.items():
        suggestions[job] = suggestion(newest[job].usage.request, of_runs)
    return suggestions


def _suggestion_line(job: str, needed: Suggestion) -> str:
    """``next time for JOB: --set ... (why a part is missing)``."""
    sets = set_options(needed)
    reasons = "; ".join(needed.notes)
    if not sets:
        return f"nothing is suggested for {job}: {reasons}"
    if reasons:
        reasons = f"   ({reasons})"
    return f"next time for {job}: {sets}{reasons}"


def set_options(needed: Suggestion) -> str:
    """A suggestion as options of hpcdl submit; "" if nothing is suggested."""
    from hpcdl.job import format_time

    words = []
    if needed.time_s is not None:
        words.append(f"--set resources.time={format_time(needed.time_s)}")
    if needed.memory_gb is not None:
        words.append(f"--set resources.memory_gb={needed.memory_gb}")
    if needed.cpus is not None:
        words.append(f"--set resources.cpus={needed.cpus}")
    return " ".join(words)


def _total(costs: Sequence[RunCost]) -> Totals:
    from hpcdl.run.totals import Totals

    totals = Totals()
    for entry in costs:
        cost = entry.cost
        queue_s = 0.0 if entry.usage.is_local else cost.queue_s or 0.0
        totals += Totals(1, cost.gpu_hours, cost.cpu_hours, queue_s, cost.energy_j or 0.0)
    return totals


def _plain(costs: Sequence[RunCost]) -> dict[str, Any]:
    """The costs for programs."""
    runs = []
    for entry in costs:
        runs.append(_plain_run(entry))
    total: dict[str, Any] = _total(costs)._asdict()
    del total["runs"]
    total["energy_j"] = total["energy_j"] or None
    suggestions = []
    for job, needed in _suggestions(costs).items():
        suggestions.append({"job": job, **asdict(needed), "options": set_options(needed)})
    return {"runs": runs, "total": total, "suggestions": suggestions}


def _plain_run(entry: RunCost) -> dict[str, Any]:
    cost = entry.cost
    shares = {"time_s": cost.time, "cpu_s": cost.cpu, "memory_gb": cost.memory}
    used, asked, efficiency = {}, {}, {}
    for name, share in shares.items():
        used[name] = None if share is None else share.used
        asked[name] = None if share is None or not share.asked else share.asked
        efficiency[name.rpartition("_")[0]] = None if share is None else share.efficiency
    request = entry.usage.request
    asked.update(gpus=request.all_gpus, cpus=request.cpus * request.nodes, nodes=request.nodes)
    return {
        "run": str(entry.run.paths.root),
        "name": entry.run.name,
        "state": entry.state,
        "attempts": len(entry.usage.turns),
        "gpu_hours": cost.gpu_hours,
        "cpu_hours": cost.cpu_hours,
        "queue_s": None if entry.usage.is_local else cost.queue_s,
        "energy_j": cost.energy_j,
        "gpu_use": cost.gpu_use,
        "devices": dict(entry.devices),
        "asked": asked,
        "used": used,
        "efficiency": efficiency,
        "unknown": list(cost.unknown),
    }
