"""``hpcdl result``: the result of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.cli.result_prediction import prediction_details
from hpcdl.cli.run_lines import failure_lines, summary_line
from hpcdl.contract.fold_table import table
from hpcdl.contract.model_facts import describe_tested, describe_use
from hpcdl.contract.tables import aligned
from hpcdl.errors import UserError
from hpcdl.formats import duration, several
from hpcdl.run import states
from hpcdl.run.device_summary import device_text
from hpcdl.run.exported import read_exported
from hpcdl.run.paths import sweep_of
from hpcdl.run.score import metric_texts
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.state import Status

_MOST_NAMES = 20  # classes up to which their names are shown


@click.command(short_help="Show the result of a run.")
@options.run_name
@options.as_json
def command(run_name: str, places: options.Places, as_json: bool) -> int:
    """Show the result of a run.

    Exit code 0: the run is done. 1: it is not; if it has failed, the cause, the
    lines of the log that show it, and what to try are printed.

    \b
    hpcdl result k3f9
    hpcdl result k3f9 --json | jq .test.accuracy
    """
    run = options.find(run_name, places)
    root = run.paths.root
    if sweep_of(run.paths) == root:
        raise UserError(
            f"{root} is a sweep; {hpcdl_command('report', root, '--text')} shows what came out of "
            f"it, and {hpcdl_command('result', f'{root}/0')} the result of a trial"
        )
    status = run.status()
    result = run.result()
    if as_json:
        content = result
        if content is None:
            content = {"state": status.state, "cause": status.cause}
        click.echo(json.dumps(_without_secrets(content), indent=2))
    elif status.state == states.DONE and result is not None:
        _print_result(run, status, result)
    elif status.final:
        click.echo("\n".join(failure_lines(run, status)))
    else:
        click.echo(f"{status.state}: no result yet; {hpcdl_command('wait', run.paths.root)}")
    return 0 if status.state == states.DONE else 1


def _print_result(run: Run, status: Status, result: dict[str, Any]) -> None:
    """Print a summary, and below it the details, each with its name."""
    click.echo(summary_line(result, status))
    details = _details(run, result)
    details += [("output", text) for text in _output(run)]
    figures = len(list(run.paths.figures.glob("*.png")))
    if figures:
        details.append(("figures", f"{figures} in {run.paths.figures}"))
    if run.paths.predictions_csv.exists():
        details.append(("answers in", str(run.paths.predictions_csv)))
    details.append(("run", str(run.paths.root)))
    for name, text in details:
        click.echo(f"  {name:<10} {text}")
    if "cross_validation" in result:
        lines = aligned(table(result["cross_validation"]))
        click.echo("\n" + "\n".join(lines))


def _without_secrets(result: dict[str, Any]) -> dict[str, Any]:
    """The result without what looks like a secret among a script's arguments."""
    script = result.get("script")
    if not isinstance(script, dict) or not script.get("args"):
        return result
    from hpcdl.report import hidden

    return {**result, "script": {**script, "args": hidden.words(script["args"])}}


def _details(run: Run, result: dict[str, Any]) -> list[tuple[str, str]]:
    """What stands below the summary, as (name, text)."""
    details = prediction_details(result)
    if _section(result, "model"):
        details.append(("model", _model(result["model"])))
    if _section(result, "data"):
        details.append(("data", _data(result["data"])))
    if _section(result, "devices"):
        details.append(("devices", _devices(result["devices"])))
    versions = [f"{name} {version}" for name, version in _section(result, "versions").items()]
    if versions:
        details.append(("versions", ", ".join(versions)))
    details += _outcome(run, result)
    if isinstance(result.get("metrics"), dict):
        details.append(("metrics", ", ".join(metric_texts(result["metrics"]))))
    for message in result.get("metrics_problems") or []:
        details.append(("", f"metrics.jsonl: {message}"))
    spans = _spans(_section(result, "timing"))
    if spans:
        details.append(("time", ", ".join(spans)))
    used = device_text(_section(result, "timing"))
    if used:
        details.append(("used", used))
    return details + _attempts(result.get("attempts") or [])


def _model(model: dict[str, Any]) -> str:
    counts = f"{model['trainable_parameters']:,} of {model['parameters']:,} parameters train"
    fold = ""
    if "fold" in model and "file" in model:
        fold = f"; {model['file']}, of the fold that is best in validation"
    return f"{model['name']}, {counts}{fold}"


def _data(data: dict[str, Any]) -> str:
    counts = [f"{data[f'rows_{part}']:,} {part}" for part in ("train", "validation", "test")]
    names = data.get("class_names") or []
    classes = f"{data['classes']} classes"
    if 0 < len(names) <= _MOST_NAMES:
        classes += f": {', '.join(names)}"
    shape = "x".join(map(str, data["image_shape"]))
    return f"{', '.join(counts)} images of {shape}; {classes}"


def _devices(devices: dict[str, Any]) -> str:
    replicas = several(devices["replicas"], "replica")
    text = f"{', '.join(devices['names'])}; {devices['strategy']}, {replicas}"
    if devices.get("emulated"):
        text += "; EMULATED on the CPU"
    return text


def _spans(timing: dict[str, Any]) -> list[str]:
    """How long the run's parts took: queue 12 s, train 3 min."""
    spans = []
    for key in ("queue_s", "train_s", "total_s"):
        if key in timing:
            name = key.removesuffix("_s")
            spans.append(f"{name} {duration(timing[key])}")
    return spans


def _attempts(attempts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The workers of the last attempt, if there were several, and how all attempts ended."""
    details = []
    nodes = attempts[-1].get("nodes") or [] if attempts else []
    if len(nodes) > 1:
        workers = [f"worker {rank} on {node}" for rank, node in enumerate(nodes)]
        details.append(("workers", ", ".join(workers)))
    if len(attempts) > 1:
        details.append(("attempts", ", ".join(map(_attempt, attempts))))
    return details


def _attempt(attempt: dict[str, Any]) -> str:
    nodes = "+".join(attempt.get("nodes") or []) or attempt.get("node")
    return f"{attempt['attempt']}: {attempt.get('reason')} on {nodes}"


def _output(run: Run) -> list[str]:
    """The last lines that a script printed, where most scripts print their result."""
    from hpcdl.run.logs import last_output

    return last_output(run.paths) if run.is_script() else []


def _outcome(run: Run, result: dict[str, Any]) -> list[tuple[str, str]]:
    """The scores of validation, the tested epoch, what the saved model takes, and warnings."""
    details = []
    validation, best = _section(result, "validation"), _section(result, "best")
    scores = []
    for name in ("accuracy", "loss"):
        if isinstance(validation.get(name), float):
            scores.append(f"{name} {validation[name]:.4f}")
    if scores:
        details.append(("validation", ", ".join(scores)))
    stopped = ""
    if result.get("stopped_early"):
        stopped = f"; stopped early, after {result['epochs_run']}"
    tested = describe_tested(result)
    if tested:
        details.append(("epoch", tested + stopped))
    elif best:
        score = f"{best['monitor']} {best['value']:.4f}"
        details.append(("best", f"epoch {best['epoch']}: {score}{stopped}"))
    model, data = _section(result, "model"), _section(result, "data")
    if "input" in model and data:
        details.append(("saved", describe_use(model, data["classes"])))
    details += [("attacked", text) for text in _attacked(_section(result, "test"))]
    exported = [row.kind for row in read_exported(run.paths) if not row.why]
    if exported:
        details.append(("exported", ", ".join(exported)))
    for warning in result.get("warnings") or []:
        details.append(("warning", warning))
    return details


def _attacked(test: dict[str, Any]) -> list[str]:
    """The accuracy under attack, a line for each epsilon."""
    attack = _section(test, "attack")
    texts = []
    for measured in attack.get("by_epsilon") or []:
        scores = f"{measured['fgsm']:.4f} under FGSM, {measured['pgd']:.4f} under PGD"
        texts.append(f"epsilon {measured['epsilon']:g}: accuracy {scores}")
    if texts and "accuracy" in attack:
        texts[0] += f"; {attack['accuracy']:.4f} without, on {attack['rows']:,} images"
    return texts


def _section(result: dict[str, Any], key: str) -> dict[str, Any]:
    section = result.get(key)
    return section if isinstance(section, dict) else {}
