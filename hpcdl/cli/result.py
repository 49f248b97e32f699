"""``hpcdl result``: what came out of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.cli.formats import duration, failure_lines, metric_texts, summary_line
from hpcdl.trainer.expects import describe_tested, describe_use
from hpcdl.trainer.foldtable import lines, table

if TYPE_CHECKING:
    from hpcdl.run import Run

_NAMED = 20  # classes


@click.command(short_help="Show what came out of a run.")
@options.run_argument
@options.as_json
def command(run: str, cluster: str | None, runs_dir: str | None, as_json: bool) -> int:
    """Show what came out of a run.

    Exit code 0 where the run is done, else 1: then its cause, the lines of the
    log that show it, and what to try.

    \b
    hpcdl result k3f9
    hpcdl result k3f9 --json | jq .test.accuracy
    """
    found = options.find(run, cluster, runs_dir)
    status = found.status()
    result = found.result()
    if as_json:
        facts = result if result is not None else {"state": status.state, "cause": status.cause}
        click.echo(json.dumps(_without_secrets(facts), indent=2))
    elif status.state == "done" and result is not None:
        click.echo(summary_line(result, status))
        for name, text in _details(result):
            click.echo(f"  {name:<10} {text}")
        for text in _output(found):
            click.echo(f"  {'output':<10} {text}")
        figures = len(list(found.paths.figures.glob("*.png")))
        if figures:
            click.echo(f"  {'figures':<10} {figures} in {found.paths.figures}")
        click.echo(f"  {'run':<10} {found.paths.root}")
        if "cross_validation" in result:
            click.echo("\n" + "\n".join(lines(table(result["cross_validation"]))))
    elif status.final:
        click.echo("\n".join(failure_lines(found, status)))
    else:
        click.echo(f"{status.state}: no result yet; hpcdl wait {found.paths.root}")
    return 0 if status.state == "done" else 1


def _without_secrets(result: dict[str, Any]) -> dict[str, Any]:
    """The result without what looks like a secret among a script's arguments."""
    script = result.get("script")
    if not isinstance(script, dict) or not script.get("args"):
        return result
    from hpcdl.report import hidden

    return {**result, "script": {**script, "args": hidden.words(script["args"])}}


def _details(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts below the summary, as (name, text)."""
    rows = []
    model, devices, versions, timing = (_section(result, key) for key in ("model", "devices", "versions", "timing"))
    data = _section(result, "data")
    if model:
        counts = f"{model['trainable_parameters']:,} of {model['parameters']:,} parameters train"
        fold = ""
        if "fold" in model and "file" in model:
            fold = f"; {model['file']}, of the fold that is best in validation"
        rows.append(("model", f"{model['name']}, {counts}{fold}"))
    if data:
        parts = ", ".join(f"{data[f'rows_{part}']:,} {part}" for part in ("train", "validation", "test"))
        names = data.get("class_names") or []
        classes = f"{data['classes']} classes" + (f": {', '.join(names)}" if 0 < len(names) <= _NAMED else "")
        rows.append(("data", f"{parts} images of {'x'.join(map(str, data['image_shape']))}; {classes}"))
    if devices:
        emulated = "; EMULATED on the CPU" if devices.get("emulated") else ""
        replicas = "1 replica" if devices["replicas"] == 1 else f"{devices['replicas']} replicas"
        rows.append(("devices", f"{', '.join(devices['names'])}; {devices['strategy']}, {replicas}{emulated}"))
    if versions:
        rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    rows += _outcome(result)
    if isinstance(result.get("metrics"), dict):
        rows.append(("metrics", ", ".join(metric_texts(result["metrics"]))))
    for message in result.get("metrics_problems") or []:
        rows.append(("", f"metrics.jsonl: {message}"))
    spans = [
        f"{key[:-2].replace('_', ' ')} {duration(timing[key])}"
        for key in ("queue_s", "train_s", "total_s")
        if key in timing
    ]
    if spans:
        rows.append(("time", ", ".join(spans)))
    attempts = result.get("attempts")
    if isinstance(attempts, list) and len(attempts) > 1:
        rows.append(("attempts", ", ".join(f"{a['attempt']}: {a.get('reason')} on {a.get('node')}" for a in attempts)))
    return rows


def _output(run: Run) -> list[str]:
    """The last lines that a script printed: there its result most often stands."""
    from hpcdl.run.logs import last_output

    return last_output(run.paths) if run.is_script() else []


def _outcome(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What validation gave, which epoch that and the test are of, what the model takes, what is doubtful."""
    rows = []
    validation, best = _section(result, "validation"), _section(result, "best")
    scores = []
    for name in ("accuracy", "loss"):
        if isinstance(validation.get(name), float):
            scores.append(f"{name} {validation[name]:.4f}")
    if scores:
        rows.append(("validation", ", ".join(scores)))
    stopped = ""
    if result.get("stopped_early"):
        stopped = f"; stopped early, after {result['epochs_run']}"
    tested = describe_tested(result)
    if tested:
        rows.append(("epoch", tested + stopped))
    elif best:
        rows.append(("best", f"epoch {best['epoch']}: {best['monitor']} {best['value']:.4f}{stopped}"))
    model, data = _section(result, "model"), _section(result, "data")
    if "input" in model and data:
        rows.append(("saved", describe_use(model, data["classes"])))
    for warning in result.get("warnings") or []:
        rows.append(("warning", warning))
    return rows


def _section(result: dict[str, Any], key: str) -> dict[str, Any]:
    section = result.get(key)
    return section if isinstance(section, dict) else {}
