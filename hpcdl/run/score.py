"""What a run has reached, in a few words for a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.formats import metric, percent, several
from hpcdl.run import states

if TYPE_CHECKING:
    from hpcdl.run.evidence import Evidence
    from hpcdl.run.paths import RunPaths
    from hpcdl.run.state import Status


def score(paths: RunPaths, status: Status, evidence: Evidence) -> str:
    """What a run has reached.

    Of a training that is its test accuracy, of a prediction how many images, once it is done; of a
    script its newest metrics, or its last line.

    Args:
        paths: the run.
        status: its status.
        evidence: its files.
    """
    result: dict[str, Any] = {}
    if evidence.result is not None:
        result = evidence.result.keys
    if evidence.is_script:
        return _script_score(paths, status, result)
    if status.state != states.DONE:
        return ""
    if "images" in result:
        return prediction_text(result)
    accuracy = (result.get("test") or {}).get("accuracy")
    return f"test accuracy {accuracy:.4f}" if isinstance(accuracy, float) else ""


def prediction_text(result: dict[str, Any]) -> str:
    """What came out of a prediction: 2,000 images, 3 unusable, likely worse.

    Args:
        result: its result.json.
    """
    texts = [several(result["images"], "image")]
    if result.get("unusable"):
        texts.append(f"{result['unusable']:,} unusable")
    drift = result.get("drift")
    if drift and drift["likely_worse"]:
        texts.append("likely worse than in the test")
    elif drift and drift["likely_worse"] is None:
        share = percent(drift.get("outside"), 0)
        texts.append(f"{share} unlike any in the test")
    elif drift and drift["changed"]:
        texts.append("changed")
    return ", ".join(texts)


def metric_texts(values: dict[str, Any], most: int = 8) -> list[str]:
    """Metrics of a script as ``loss 0.1234``, without its epoch and step.

    Args:
        values: by name; None for a value that is not a number.
        most: how many metrics.
    """
    texts = []
    for name, value in values.items():
        if name not in ("epoch", "step"):
            texts.append(f"{name} {metric(value)}")
    return texts[:most]


def _script_score(paths: RunPaths, status: Status, result: dict[str, Any]) -> str:
    """A script's newest metrics or, once it is done, the last line that it printed."""
    from hpcdl.run.logs import last_output

    values = status.metrics
    if status.state == states.DONE:
        values = result.get("metrics") or {}
    texts = metric_texts(values, most=2)
    if not texts and status.state == states.DONE:
        texts = last_output(paths, 1)
    return ", ".join(texts)
