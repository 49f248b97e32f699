"""One run as one HTML file that needs nothing else: no network, no JavaScript, no other file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import hpcdl
from hpcdl import shipped
from hpcdl.errors import HpcdlError
from hpcdl.report import facts as run_facts
from hpcdl.report import svg, words
from hpcdl.report.evaluation import Evaluation, Predictions, confused_pairs, evaluate, read_predictions
from hpcdl.report.facts import Facts
from hpcdl.report.fit import best_epoch, judge
from hpcdl.report.png import data_uri
from hpcdl.report.summary import sentences
from hpcdl.run import Run
from hpcdl.trainer.foldtable import table

_DRAWN_CLASSES = 200  # of a confusion matrix
_LISTED_CLASSES = 100


def report(run: Run) -> str:
    """The page of one run, with what there is of it."""
    facts = run_facts.read(run)
    scores, predictions, note = _scores(facts)
    fit = judge(facts.epochs, facts.section("data").get("classes"), facts.kept_best) if facts.epochs else None
    return render(
        "page.html.j2",
        facts=facts,
        summary=sentences(facts, fit, scores),
        figures=_figures(facts),
        failure=_failure(facts),
        charts=_charts(facts),
        folds=table(facts.result["cross_validation"]) if "cross_validation" in facts.result else None,
        fold_charts=_fold_charts(facts),
        epoch_times=_epoch_times(facts),
        note=note,
        scores=scores,
        names=facts.class_names,
        matrix=_matrix(scores, facts.class_names),
        pairs=confused_pairs(scores.confusion) if scores else [],
        classes=_classes(scores),
        calibration=svg.reliability("Accuracy over confidence on the test images", scores.bins) if scores else None,
        pictures=_pictures(scores, predictions),
        spans=facts.spans(),
        time_bar=svg.stacked_bar("Shares of the run's time", [(span.seconds, span.colour) for span in facts.spans()]),
        environment=_environment_rows(facts),
    )


def render(template: str, **context: Any) -> str:
    """A page from a template; whatever is text is escaped."""
    written = time.strftime("%Y-%m-%d %H:%M")
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
        seconds=words.seconds, percent=words.percent, number=words.number, count=words.count, size=words.size
    )
    return environment


def _scores(facts: Facts) -> tuple[Evaluation | None, Predictions | None, str | None]:
    """What the test says of the model; else a note why nothing is said."""
    path = facts.shown.predictions
    if not path.exists():
        if facts.plan.get("script"):
            return None, None, "This run is a script of its user's: hpcdl knows of no test images."
        return None, None, "There is no predictions.npz: the run has not come so far, or its model has other outputs."
    try:
        predictions = read_predictions(path)
        return evaluate(predictions.labels, predictions.probabilities), predictions, None
    except HpcdlError as error:
        return None, None, f"{error}."


def _figures(facts: Facts) -> list[tuple[str, str]]:
    """The few numbers on top."""
    test, model, timing = (facts.section(name) for name in ("test", "model", "timing"))
    validation = facts.section("validation")
    found = []
    if test.get("accuracy") is not None:
        found.append(("test accuracy", words.with_deviation(words.percent, facts.result, "test")))
    if validation.get("accuracy") is not None:
        found.append(("validation accuracy", words.with_deviation(words.percent, facts.result, "validation")))
    if "parameters" in model:
        found.append(("parameters", words.count(model["parameters"])))
    if facts.epochs:
        found.append(("epochs", str(len(facts.epochs))))
    if "per_epoch_s" in timing:
        found.append(("an epoch", words.seconds(timing["per_epoch_s"])))
    if facts.total_s is not None:
        found.append(("in all", words.seconds(facts.total_s)))
    return found


def _failure(facts: Facts) -> dict[str, Any] | None:
    """Why a run ended badly, with the lines of the log that show it."""
    if facts.status.state not in ("failed", "lost"):
        return None
    from hpcdl.run.causes import HINTS
    from hpcdl.run.logs import telling_lines

    hint = facts.result.get("hint") or HINTS.get(facts.status.cause or "") or ""
    return {
        "message": facts.result.get("message") or facts.status.note,
        "lines": facts.result.get("lines") or telling_lines(facts.run.paths),
        "hint": hint.replace("RUN", str(facts.run.paths.root)),
    }


def _charts(facts: Facts) -> list[dict[str, Any]]:
    """Loss and accuracy of training and validation over the epochs."""
    epochs = facts.epochs
    best = best_epoch(epochs, facts.result.get("best"))
    mark = (best[0], f"best: epoch {best[0]}") if best else None
    drawn = [
        _chart(epochs, "loss", "Loss", lambda value: f"{value:g}", mark),
        _chart(epochs, "accuracy", "Accuracy", lambda value: f"{100 * value:g} %", mark),
    ]
    return [chart for chart in drawn if chart]


def _fold_charts(facts: Facts) -> list[dict[str, Any]]:
    """Loss and accuracy in validation of all folds over each other."""
    charts = []
    for key, show, floor in (("loss", "{:g}".format, 0.0), ("accuracy", lambda value: f"{100 * value:g} %", None)):
        lines = [
            svg.Series(f"fold {number}", points(epochs, f"val_{key}"), n % svg.COLOURS)
            for n, (number, epochs) in enumerate(facts.folds.items())
        ]
        lines = [line for line in lines if line.points]
        if lines:
            title = f"Validation {key} of {words.several(len(lines), 'fold')}"
            charts.append({"title": title, "legend": lines, "svg": svg.line_chart(title, lines, show, floor=floor)})
    return charts


def _epoch_times(facts: Facts) -> dict[str, Any] | None:
    times = svg.Series("seconds", points(facts.epochs, "seconds"), 0)
    if len(times.points) < 2:
        return None
    drawing = svg.line_chart("Seconds of each epoch", [times], lambda value: f"{value:g} s", floor=0)
    return {"title": "Seconds of each epoch", "legend": [], "svg": drawing}


def _chart(epochs: Sequence[dict[str, Any]], key: str, title: str, show: Any, mark: Any) -> dict[str, Any] | None:
    lines = [svg.Series("training", points(epochs, key), 0), svg.Series("validation", points(epochs, f"val_{key}"), 1)]
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    what = f"{title} of {' and '.join(line.name for line in lines)} over {words.several(len(epochs), 'epoch')}"
    floor = 0.0 if key == "loss" else None
    return {"title": title, "legend": lines, "svg": svg.line_chart(what, lines, show, mark, floor)}


def points(epochs: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """A metric's points; where it was no number there is none."""
    return [(line["epoch"], line[key]) for line in epochs if isinstance(line.get(key), (int, float))]


def _matrix(scores: Evaluation | None, names: Sequence[str]) -> Any:
    if scores is None or len(scores.confusion) > _DRAWN_CLASSES:
        return None
    return svg.confusion_matrix("Confusion matrix of the test images", scores.confusion, names)


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


def _environment_rows(facts: Facts) -> list[tuple[str, str]]:
    """Where it ran and with what: (name, text)."""
    devices, data, cluster = (facts.section(name) for name in ("devices", "data", "cluster"))
    image, manifest = facts.manifest.get("image") or {}, facts.manifest
    rows = []
    if devices:
        replicas = words.several(devices["replicas"], "replica")
        emulated = ", EMULATED on the CPU" if facts.emulated else ""
        rows.append(("devices", f"{', '.join(devices['names'])} ({devices['strategy']}, {replicas}{emulated})"))
    nodes = dict.fromkeys(str(row["node"]) for row in facts.ends if row.get("node"))
    where = cluster.get("name") or facts.plan.get("cluster")
    rows.append(("cluster", f"{where}" + (f", on {', '.join(nodes)}" if nodes else "")))
    if facts.gpu_hours is not None and facts.plan.get("gpus"):
        rows.append(("GPU hours", "none, they were emulated" if facts.emulated else f"{facts.gpu_hours:.3f}"))
    rows.append(("container", _hashed(image) if image else "none: this machine's own Python"))
    versions = facts.section("versions")
    if versions:
        rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if data:
        shape = "×".join(map(str, data["image_shape"]))
        parts = ", ".join(f"{words.count(data[f'rows_{part}'])} {part}" for part in ("train", "validation", "test"))
        rows.append(("data", f"{data['path']}: images of {shape}; {parts}; {data['classes']} classes"))
    if manifest.get("data"):
        rows.append(("data file", _hashed(manifest["data"])))
    rows.append(("seed", str(facts.result.get("seed", "–"))))
    rows.append(("command", " ".join(map(str, manifest.get("command_line", [])))))
    if manifest.get("git_commit"):
        rows.append(("git commit", str(manifest["git_commit"])))
    rows.append(("run folder", str(facts.run.paths.root)))
    return [(name, text) for name, text in rows if text]


def _hashed(entry: dict[str, Any]) -> str:
    sha = entry.get("sha256")
    return f"{entry.get('path')}" + (f" ({words.size(entry.get('bytes'))}, sha256 {sha[:16]}…)" if sha else "")
