"""One run as one HTML file that needs no network, no JavaScript and no other file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hpcdl import formats, shipped
from hpcdl.contract.fold_table import table
from hpcdl.contract.version import __version__
from hpcdl.errors import HpcdlError
from hpcdl.report import charts, exports, metrics, sent, surroundings, svg, times
from hpcdl.report import facts as run_facts
from hpcdl.report.attack import under_attack
from hpcdl.report.devices import device_curves
from hpcdl.report.evaluation import (
    ClassScore,
    Evaluation,
    Predictions,
    confused_pairs,
    evaluate,
    least_certain,
    read_predictions,
)
from hpcdl.report.facts import Facts
from hpcdl.report.gallery import heat_note, pictures_of
from hpcdl.report.matrix import confusion_matrix
from hpcdl.report.overfitting import Fit, Setting, best_epoch, judge
from hpcdl.report.summary import sentences
from hpcdl.run import Run, states
from hpcdl.run.exported import read_exported
from hpcdl.text import with_run

_DRAWN_CLASSES = 200  # of a confusion matrix
_LISTED_CLASSES = 100
_FIGURES = 6  # of a script's metrics on top of the page


def report(run: Run, shows_env: bool = False) -> str:
    """The page of one run; parts that the run does not have yet are missing.

    Args:
        run: the run.
        shows_env: show the values of env and what else is private.
    """
    facts = run_facts.read(run, shows_env)
    scores, predictions, note = _scores(facts)
    names = facts.class_names
    pairs: list[tuple[int, int, int]] = []
    if scores and predictions:
        names = facts.names_of(len(scores.classes))
        pairs = confused_pairs(scores.confusion)
    spans = times.spans(facts)
    return render(
        "page.html.j2",
        facts=facts,
        when=when(facts),
        summary=sentences(facts, _fit(facts), scores),
        figures=_figures(facts),
        failure=failure(facts),
        charts=charts.curves(facts),
        folds=_fold_table(facts),
        fold_charts=charts.folds(facts),
        tested=_tested(facts),
        last_values=_last_values(facts),
        log_end=_log_end(facts),
        epoch_times=charts.epoch_times(facts),
        note=note,
        scores=scores,
        names=names,
        matrix=_matrix(scores, names),
        pairs=pairs,
        classes=_classes(scores),
        calibration=_calibration(scores),
        pictures=pictures_of(scores.worst if scores else [], predictions),
        unsure=pictures_of(least_certain(predictions) if predictions else [], predictions),
        attack=under_attack(facts.section("test").get("attack"), facts.section("data")),
        heat_note=heat_note(facts.section("test").get("explain")),
        exported=_exported(facts),
        spans=spans,
        time_bar=svg.stacked_bar(
            "Shares of the run's time", [(span.seconds, span.colour) for span in spans]
        ),
        devices=device_curves(facts.run.paths),
        environment=surroundings.rows(facts),
        files=sent.files(facts),
    )


def render(template: str, **context: Any) -> str:
    """A page from a template. Text is escaped."""
    written = formats.moment(time.time())
    page = _environment().get_template(template)
    text: str = page.render(version=__version__, written=written, **context)
    return text


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(shipped.folder("templates") / "report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=formats.seconds,
        percent=formats.percent,
        points=formats.points,
        number=formats.number,
        count=formats.count,
        several=formats.several,
    )
    return environment


def _scores(facts: Facts) -> tuple[Evaluation | None, Predictions | None, str | None]:
    """The scores of the test; without them, a note that says why."""
    path = facts.shown.predictions
    if not path.exists():
        if facts.is_script:
            return None, None, None
        why = "the run has not come so far, or its model has other outputs"
        return None, None, f"There is no predictions.npz: {why}."
    try:
        predictions = read_predictions(path)
        return evaluate(predictions.labels, predictions.probabilities), predictions, None
    except HpcdlError as error:
        return None, None, f"{error}."


def _fit(facts: Facts) -> Fit | None:
    """What the curves say; None while there is no epoch."""
    if not facts.epochs:
        return None
    unit = "step"
    for line in facts.epochs:
        if "loss" in line and metrics.unit_of(line) == "epoch":
            unit = "epoch"
    counted = metrics.counted_in(facts.epochs, unit)
    if facts.is_script and not any("val_loss" in line for line in counted):
        return None
    classes = facts.section("data").get("classes")
    return judge(counted, Setting(classes, facts.restored_epoch, facts.is_script, unit))


def when(facts: Facts) -> str:
    """When the run was, in one line."""
    texts = []
    for name, text in times.moments(facts):
        if name != "submitted":
            texts.append(f"{name} {text}")
    return ", ".join(texts)


def _tested(facts: Facts) -> str:
    """Which epoch's weights were tested, if it is not the best one, which is marked."""
    best = best_epoch(facts.epochs, facts.result.get("best"))
    tested = facts.tested_epoch
    if facts.is_script or best is None or tested is None or best[0] == tested:
        return ""
    return f"The tested weights are those of epoch {tested}, the last one, not of the best."


def _fold_table(facts: Facts) -> list[list[str]] | None:
    if "cross_validation" not in facts.result:
        return None
    return table(facts.result["cross_validation"])


def _last_values(facts: Facts) -> list[tuple[str, str]]:
    """The last value of each metric of a script, those of its test first."""
    names = sorted(facts.metrics, key=lambda name: not name.startswith("test"))
    return [(name, metrics.shown(name, facts.metrics[name])) for name in names]


def _log_end(facts: Facts) -> list[str]:
    """The end of a script's log, where most scripts print their results.

    It is empty for a training of hpcdl's, and for a failure, which has its own lines.
    """
    if not facts.is_script or facts.status.state in (states.FAILED, states.LOST):
        return []
    return sent.log_end(facts)


def _exported(facts: Facts) -> dict[str, Any]:
    """What the model was exported as: a table, and what could not be made."""
    every = read_exported(facts.run.paths)
    return {
        "titles": exports.TITLES,
        "rows": exports.rows(every),
        "refused": exports.refused(every),
    }


def _calibration(scores: Evaluation | None) -> Any:
    if scores is None:
        return None
    return svg.reliability("Accuracy over confidence on the test images", scores.bins)


def _figures(facts: Facts) -> list[tuple[str, str]]:
    """The few numbers on top."""
    model, timing = facts.section("model"), facts.section("timing")
    figures = []
    for part in ("test", "validation"):
        accuracy = facts.section(part).get("accuracy")
        if accuracy is not None:
            text = formats.with_deviation(formats.percent, accuracy, facts.result, part)
            figures.append((f"{part} accuracy", text))
    if "parameters" in model:
        figures.append(("parameters", formats.count(model["parameters"])))
    if facts.epochs and not facts.is_script:
        figures.append(("epochs", str(len(facts.epochs))))
    figures += _last_values(facts)[:_FIGURES]
    if "per_epoch_s" in timing:
        figures.append(("an epoch", formats.seconds(timing["per_epoch_s"])))
    if facts.total_s is not None:
        figures.append(("in all", formats.seconds(facts.total_s)))
    return figures


def failure(facts: Facts) -> dict[str, Any] | None:
    """Why a run failed, with the lines of the log that show it."""
    if facts.status.state not in (states.FAILED, states.LOST):
        return None
    from hpcdl.run.hints import hint as usual_hint
    from hpcdl.run.logs import telling_lines

    cause = facts.status.cause or facts.status.state
    hint = facts.result.get("hint") or usual_hint(cause, facts.run.is_script()) or ""
    lines = []
    for line in facts.result.get("lines") or telling_lines(facts.run.paths):
        lines.append({**line, "text": sent.safe(facts, line["text"])})
    message = facts.result.get("message") or facts.status.note
    return {
        "message": sent.safe(facts, message),
        "lines": lines,
        "hint": with_run(hint, facts.run.paths.root),
    }


def _matrix(scores: Evaluation | None, names: Sequence[str]) -> Any:
    if scores is None or len(scores.confusion) > _DRAWN_CLASSES:
        return None
    return confusion_matrix("Confusion matrix of the test images", scores.confusion, names)


def _classes(scores: Evaluation | None) -> list[Any]:
    """The classes in the table: all, or of many the hardest. Those without a recall come last."""
    if scores is None:
        return []
    if len(scores.classes) <= _LISTED_CLASSES:
        return scores.classes

    def recall(score: ClassScore) -> float:
        if score.recall is None:
            return 2.0
        return score.recall

    return sorted(scores.classes, key=recall)[:_LISTED_CLASSES]
