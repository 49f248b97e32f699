"""One sweep as one HTML file that needs no network, no JavaScript and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcdl import formats
from hpcdl.report import hidden, sent, surroundings
from hpcdl.report.importance import FEWEST, Group, Importance, Trial, importances
from hpcdl.report.page import render
from hpcdl.report.parallel import Course, parallel_coordinates, parameter_axis, value_axis
from hpcdl.report.sweep_curves import curves_drawing, progress_drawing
from hpcdl.report.sweep_facts import SweepFacts
from hpcdl.report.sweep_sentences import sentences
from hpcdl.report.sweep_spread import sample
from hpcdl.report.sweep_tables import best_trials, cost, failures, gpu_hours, rungs, stopped_at

_LISTED = 20  # best trials
_LINES = 300  # of parallel coordinates
_FAILED_LINES = 60
_BEST_LINES = 100  # of them the best ones


def sweep_report(facts: SweepFacts) -> str:
    """The page of a sweep; parts that it does not have yet are missing."""
    measured = measure(facts)
    drawings = []
    for drawing in (curves_drawing(facts), progress_drawing(facts)):
        if drawing is not None:
            drawings.append(drawing)
    return render(
        "sweep.html.j2",
        facts=facts,
        figures=_figures(facts),
        summary=sentences(facts, measured),
        best=best_trials(facts, _LISTED),
        drawings=drawings,
        parallel=_parallel(facts),
        importances=_importance_rows(facts, measured),
        importance_note=importance_note(facts),
        rungs=rungs(facts),
        saved=_saved(facts),
        failures=failures(facts),
        cost=cost(facts),
        searched=_searched(facts),
        settings=_settings(facts),
        environment=_environment(facts),
        damaged=sorted(map(str, facts.state.damaged))[:5],
        files=sent.files(facts.run),
    )


def measure(facts: SweepFacts) -> list[Importance]:
    """The importance of each parameter; a trial that ended without a number is the worst."""
    trials = []
    for trial in facts.trials:
        if trial.state in ("done", "pruned"):
            trials.append(Trial(trial.params, facts.score(trial)))
    return importances(facts.settings.space, trials)


def range_text(facts: SweepFacts, key: str, group: Group) -> str:
    """The values of a group: a value, or a range."""
    if len(group.values) == 1:
        return facts.shown(key, group.values[0])
    low, high = group.values
    return f"{facts.shown(key, low, digits=3)} to {facts.shown(key, high, digits=3)}"


def _figures(facts: SweepFacts) -> list[tuple[str, str]]:
    """The few numbers on top."""
    figures = []
    if facts.best:
        figures.append((f"best {facts.settings.metric}", facts.metric_text(facts.best[0].value)))
    figures.append(("trials", f"{formats.count(len(facts.trials))} of {facts.budget:,}"))
    for state in ("done", "pruned", "failed", "running"):
        trials = facts.in_state(state)
        if trials:
            figures.append((state, formats.count(len(trials))))
    if facts.gpus:
        figures.append(("GPU-hours", f"{gpu_hours(facts, facts.trials):.2f}"))
    return figures


def _parallel(facts: SweepFacts) -> dict[str, Any] | None:
    """Parallel coordinates of the trials with a value; secrets have no axis."""
    space, settings = facts.settings.space, facts.settings
    keys = []
    for key in space.names:
        if facts.run.shows_env or hidden.setting(key, "value") != hidden.HIDDEN:
            keys.append(key)
    # One that is done comes first: the best of all may be a pruned trial
    ranked = sorted(facts.ranked, key=lambda trial: trial not in facts.best[:1])
    fitting = [trial for trial in ranked if space.contains(trial.params)]
    if not fitting:
        return None
    drawn = sample(fitting, _BEST_LINES, _LINES)
    values = [trial.value or 0.0 for trial in facts.ranked]
    axes = [parameter_axis(facts.short_names[key], space.dimensions[key]) for key in keys]
    axes.append(value_axis(settings.metric, values, facts.metric_text))
    courses = []
    for trial in drawn:
        values_of_trial = [trial.params[key] for key in keys]
        text = f"trial {trial.number}, {trial.state}: {facts.metric_text(trial.value)}"
        courses.append(Course(trial.number, [*values_of_trial, trial.value], text))
    failed = _failed_courses(facts, keys)
    note = ""
    if len(drawn) < len(fitting):
        note = (
            f"Of {formats.count(len(fitting))} trials with a value {formats.count(len(drawn))} are"
            f" drawn: the best {_BEST_LINES}, and others at equal distances."
        )
    what = f"Parameters and {settings.metric} of {formats.several(len(drawn), 'trial')}"
    drawing = parallel_coordinates(what, axes, courses, failed)
    return {"svg": drawing, "note": note, "shows_failed": bool(failed)}


def _failed_courses(facts: SweepFacts, keys: Sequence[str]) -> list[Course]:
    """Lines of trials that failed without a value, so that a reader sees where they do."""
    courses = []
    for trial in facts.in_state("failed"):
        if trial.value is None and facts.settings.space.contains(trial.params):
            values = [trial.params[key] for key in keys]
            courses.append(Course(trial.number, values, f"trial {trial.number}, failed"))
    return sample(courses, 0, _FAILED_LINES)


def _importance_rows(facts: SweepFacts, measured: Sequence[Importance]) -> list[dict[str, Any]]:
    rows = []
    for importance in measured:
        best = ""
        if importance.best is not None and importance.is_clear:
            best = range_text(facts, importance.key, importance.best)
        rows.append(
            {
                "name": facts.short_names[importance.key],
                "share": importance.share,
                "is_clear": importance.is_clear,
                "best": best,
            }
        )
    return rows


def importance_note(facts: SweepFacts) -> str:
    """Why nothing is said of importance; empty if something is."""
    ended = len(facts.in_state("done")) + len(facts.in_state("pruned"))
    if ended >= FEWEST:
        return ""
    return f"Too few trials for this: {ended} of at least {FEWEST} have ended."


def _saved(facts: SweepFacts) -> str:
    """What pruning has saved."""
    stopped, epochs = stopped_at(facts), facts.settings.epochs
    if not stopped or not epochs:
        return ""
    pruned = facts.in_state("pruned")
    trained = sum(trial.epochs for trial in pruned)
    return (
        f"The {formats.several(len(pruned), 'pruned trial')} trained"
        f" {formats.count(trained)} of {formats.count(epochs * len(pruned))} epochs."
    )


def _searched(facts: SweepFacts) -> list[tuple[str, str, str]]:
    """Key, short name and space of each parameter."""
    rows = []
    for key, notation in facts.settings.space.notation().items():
        rows.append((key, facts.short_names[key], facts.shown(key, notation)))
    return rows


def _settings(facts: SweepFacts) -> list[tuple[str, str]]:
    settings = facts.settings
    aim = "higher is better" if settings.direction == "maximize" else "lower is better"
    counts = "its last epoch" if settings.last else "its best epoch"
    rows = [
        ("method", settings.method),
        ("metric", f"{settings.metric}; {aim}; a trial counts by {counts}"),
        ("trials", f"{facts.budget:,}, {settings.at_once} at once"),
        ("seed", str(settings.seed)),
    ]
    if settings.method in ("asha", "hyperband"):
        rule = f"one in {settings.eta} goes on; the first rung is epoch {settings.first_epochs}"
        rows.append(("pruning", rule))
    if settings.epochs is not None:
        rows.append(("epochs", f"{settings.epochs} of a trial that is not pruned"))
    if settings.gpu_hours is not None:
        rows.append(("budget", f"{settings.gpu_hours:g} GPU-hours"))
    if settings.trials_per_gpu > 1:
        rows.append(("trials on a GPU", str(settings.trials_per_gpu)))
    return rows


def _environment(facts: SweepFacts) -> list[tuple[str, str]]:
    """Where its tasks were sent, and what it has in common with a run."""
    rows = _arrays(facts)
    for name, text in surroundings.rows(facts.run):
        if name != "submitted":
            rows.append(("sweep folder" if name == "run folder" else name, text))
    return rows


def _arrays(facts: SweepFacts) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if facts.submitted is None:
        return rows
    for array in facts.submitted.arrays:
        what = "a worker on this machine"
        if array.trials:
            what = f"budget raised by {formats.several(array.trials, 'trial')}"
        elif array.host is not None:
            what = f"a worker on {array.host}"
        if array.job_id is not None:
            tasks = formats.several(array.tasks, "task")
            what = f"array {array.job_id}: {tasks}, {array.at_once} at once"
        rows.append(("sent", f"{formats.moment(array.sent)}: {what}"))
    return rows
