"""One run as one HTML file that needs nothing else: no network, no JavaScript, no other file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import hpcdl
from hpcdl import shipped
from hpcdl.errors import HpcdlError
from hpcdl.report import charts, metrics, sent, surroundings, svg, times, words
from hpcdl.report import facts as run_facts
from hpcdl.report.evaluation import (
    Evaluation,
    Predictions,
    confused_pairs,
    evaluate,
    read_predictions,
)
from hpcdl.report.facts import Facts
from hpcdl.report.matrix import confusion_matrix
from hpcdl.report.overfitting import Fit, Setting, best_epoch, judge
from hpcdl.report.png import data_uri
from hpcdl.report.summary import sentences
from hpcdl.run import Run
from hpcdl.trainer.foldtable import table

_DRAWN_CLASSES = 200  # of a confusion matrix
_LISTED_CLASSES = 100
_FIGURES = 6  # of a script's metrics on top of the page


def report(run: Run, shows_env: bool = False) -> str:
    """The page of one run, with what there is of it.

    Args:
        run: the run.
        shows_env: show the values of env and what else is private.
    """
    facts = run_facts.read(run, shows_env)
    scores, predictions, note = _scores(facts)
    names = facts.names_of(len(scores.classes)) if scores else facts.class_names
    spans = times.spans(facts)
    bar = [(span.seconds, span.colour) for span in spans]
    return render(
        "page.html.j2",
        facts=facts,
        when=_when(facts),
        summary=sentences(facts, _fit(facts), scores),
        figures=_figures(facts),
        failure=_failure(facts),
        charts=charts.curves(facts),
        folds=_fold_table(facts),
        fold_charts=charts.folds(facts),
        tested=_tested(facts),
        last_values=_last_values(facts),
        log_end=sent.log_end(facts) if _shows_log(facts) else [],
        epoch_times=charts.epoch_times(facts),
        note=note,
        scores=scores,
        names=names,
        matrix=_matrix(scores, names),
        pairs=confused_pairs(scores.confusion) if scores else [],
        classes=_classes(scores),
        calibration=_calibration(scores),
        pictures=_pictures(scores, predictions),
        picture_files=predictions.files if predictions else {},
        spans=spans,
        time_bar=svg.stacked_bar("Shares of the run's time", bar),
        environment=surroundings.rows(facts),
        files=sent.files(facts),
    )


def render(template: str, **context: Any) -> str:
    """A page from a template; whatever is text is escaped."""
    written = words.moment(time.time())
    text: str = _environment().get_template(template).render(version=hpcdl.__version__, written=written, **context)
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
        seconds=words.seconds,
        percent=words.percent,
        points=words.points,
        number=words.number,
        count=words.count,
        several=words.several,
    )
    return environment


def _scores(facts: Facts) -> tuple[Evaluation | None, Predictions | None, str | None]:
    """What the test says of the model; else a note why nothing is said."""
    path = facts.shown.predictions
    if not path.exists():
        if facts.is_script:
            return None, None, None
        return None, None, "There is no predictions.npz: the run has not come so far, or its model has other outputs."
    try:
        predictions = read_predictions(path)
        return evaluate(predictions.labels, predictions.probabilities), predictions, None
    except HpcdlError as error:
        return None, None, f"{error}."


def _fit(facts: Facts) -> Fit | None:
    """What the curves say; nothing while there is no epoch."""
    if not facts.epochs:
        return None
    units = [metrics.unit_of(line) for line in facts.epochs if "loss" in line]
    unit = "epoch" if "epoch" in units else "step"
    counted = [line for line in facts.epochs if metrics.unit_of(line) == unit]
    classes = facts.section("data").get("classes")
    setting = Setting(classes, facts.restored_epoch, facts.is_script, unit)
    if facts.is_script and not any("val_loss" in line for line in counted):
        return None
    return judge(counted, setting)


def _when(facts: Facts) -> str:
    """When the run was, in one line."""
    return ", ".join(f"{name} {text}" for name, text in times.moments(facts) if name != "submitted")


def _tested(facts: Facts) -> str:
    """A word on whose weights were tested, where that is not the best epoch that is marked."""
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


def _shows_log(facts: Facts) -> bool:
    """Whether the end of the log is shown: a script has no other place for what came out."""
    return facts.is_script and facts.status.state not in ("failed", "lost")


def _calibration(scores: Evaluation | None) -> Any:
    if scores is None:
        return None
    return svg.reliability("Accuracy over confidence on the test images", scores.bins)


def _figures(facts: Facts) -> list[tuple[str, str]]:
    """The few numbers on top."""
    test, model, timing = (facts.section(name) for name in ("test", "model", "timing"))
    validation = facts.section("validation")
    found = []
    if test.get("accuracy") is not None:
        found.append(("test accuracy", _scored(facts, "test")))
    if validation.get("accuracy") is not None:
        found.append(("validation accuracy", _scored(facts, "validation")))
    if "parameters" in model:
        found.append(("parameters", words.count(model["parameters"])))
    if facts.epochs and not facts.is_script:
        found.append(("epochs", str(len(facts.epochs))))
    found += _last_values(facts)[:_FIGURES]
    if "per_epoch_s" in timing:
        found.append(("an epoch", words.seconds(timing["per_epoch_s"])))
    if facts.total_s is not None:
        found.append(("in all", words.seconds(facts.total_s)))
    return found


def _scored(facts: Facts, part: str) -> str:
    accuracy = facts.section(part)["accuracy"]
    return words.with_deviation(words.percent, accuracy, facts.result, part)


def _failure(facts: Facts) -> dict[str, Any] | None:
    """Why a run ended badly, with the lines of the log that show it."""
    if facts.status.state not in ("failed", "lost"):
        return None
    from hpcdl.run import causes
    from hpcdl.run.logs import telling_lines

    cause = facts.status.cause or facts.status.state
    hint = facts.result.get("hint") or causes.hint(cause, facts.run.is_script()) or ""
    lines = facts.result.get("lines") or telling_lines(facts.run.paths)
    message = facts.result.get("message") or facts.status.note
    return {
        "message": sent.safe(facts, message),
        "lines": [{**line, "text": sent.safe(facts, line["text"])} for line in lines],
        "hint": hint.replace("RUN", str(facts.run.paths.root)),
    }


def _matrix(scores: Evaluation | None, names: Sequence[str]) -> Any:
    if scores is None or len(scores.confusion) > _DRAWN_CLASSES:
        return None
    return confusion_matrix("Confusion matrix of the test images", scores.confusion, names)


def _classes(scores: Evaluation | None) -> list[Any]:
    """The rows of the table of classes: all, or of many those that are found least."""
    if scores is None or len(scores.classes) <= _LISTED_CLASSES:
        return scores.classes if scores else []
    return sorted(scores.classes, key=lambda one: 2.0 if one.recall is None else one.recall)[:_LISTED_CLASSES]


def _pictures(scores: Evaluation | None, predictions: Predictions | None) -> list[tuple[Any, str]]:
    """The most confident mistakes that there are pictures of."""
    if scores is None or predictions is None:
        return []
    return [(one, data_uri(predictions.pictures[one.row])) for one in scores.worst if one.row in predictions.pictures]
