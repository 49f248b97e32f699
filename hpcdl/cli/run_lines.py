"""How a run's epochs and its outcome read in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.formats import duration
from hpcdl.run import states
from hpcdl.run.score import metric_texts, prediction_text
from hpcdl.text import with_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.run import Run
    from hpcdl.run.state import Status
    from hpcdl.sweeps.followers import Moved

_EPOCH_METRICS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "val_loss",
    "val_accuracy": "val",
}
_LONGEST_LOG_LINE = 160  # characters


def epoch_line(epoch: dict[str, Any], epochs: int | None, folds: int | None = None) -> str:
    """One finished epoch.

    Args:
        epoch: its line of metrics.jsonl.
        epochs: how many there will be, if known.
        folds: how many folds a cross-validation has, if known.
    """
    parts = []
    if "fold" in epoch:
        parts.append(f"fold {epoch['fold']}/{folds or '?'}")
    parts.append(f"epoch {epoch['epoch']}/{epochs or '?'}")
    for key, name in _EPOCH_METRICS.items():
        if isinstance(epoch.get(key), (int, float)):
            parts.append(f"{name} {epoch[key]:.4f}")
    if isinstance(epoch.get("seconds"), (int, float)):
        parts.append(f"{epoch['seconds']:.1f} s")
    return "  ".join(parts)


def script_epoch_line(epoch: dict[str, Any]) -> str:
    """One finished epoch, as a script wrote it down."""
    return "  ".join([f"epoch {epoch['epoch']:g}", *metric_texts(epoch)])


def summary_line(result: dict[str, Any], status: Status | None = None) -> str:
    """A run that is done, in one line.

    Args:
        result: the content of its result.json.
        status: its status, which knows the waits between attempts.
    """
    timing = result.get("timing", {})
    line = str(result.get("state", states.DONE))
    if "total_s" in timing:
        line += f" in {duration(timing['total_s'])}{_with_waits(timing['total_s'], status)}"
    details = []
    if "images" in result:
        details.append(prediction_text(result))
    accuracy = (result.get("test") or {}).get("accuracy")
    if isinstance(accuracy, float):
        details.append(f"test accuracy {accuracy:.4f}{_deviation(result)}")
    if "model" in result:
        details.append(f"{result['model']['parameters']:,} parameters")
    if "per_epoch_s" in timing and "images_per_s" in timing:
        speed = f"{timing['images_per_s']:,.0f} images/s"
        details.append(f"{timing['per_epoch_s']:.1f} s an epoch ({speed})")
    if details:
        line += f": {', '.join(details)}"
    return line


def _with_waits(total_s: float, status: Status | None) -> str:
    """The time from the first start to the end, if waits between attempts make it longer."""
    if status is None or status.attempt < 2 or status.started is None or status.ended is None:
        return ""
    elapsed_s = status.ended - status.started
    if elapsed_s <= total_s + 1:
        return ""
    return f" ({duration(elapsed_s)} with the waits between attempts)"


def _deviation(result: dict[str, Any]) -> str:
    """How far the folds of a cross-validation lie apart; empty for any other run."""
    validation = result.get("cross_validation")
    if not validation:
        return ""
    deviation = validation["deviation"]["test"]["accuracy"]
    return f" ± {deviation:.4f} in {len(validation['folds'])} folds"


def follower_lines(moved: Sequence[Moved]) -> list[str]:
    """What became of the runs that come after one that was sent again."""
    lines = []
    for follower in moved:
        root = follower.run.paths.root
        if follower.error:
            lines.append(f"{root} does not wait for it: {follower.error}")
        elif follower.was_cancelled:
            lines.append(f"sent again, too, to run after it: {root}")
        else:
            lines.append(f"waits for its new job: {root}")
    return lines


def failure_lines(run: Run, status: Status) -> list[str]:
    """A run that is not done: its cause, the lines of the log that show it, and what to do next."""
    from hpcdl.run.logs import telling_lines

    result = run.result() or {}
    outcome = status.state
    if status.cause and status.cause != status.state:
        outcome += f": {status.cause}"
    note = result.get("message") or status.note
    lines = [f"{outcome}. {note}" if note else f"{outcome}."]
    log_lines: list[dict[str, Any]] = result.get("lines") or telling_lines(run.paths)
    for log_line in log_lines:
        place = f"{log_line['file']}:{log_line['line']}"
        lines.append(f"  log  {place}  {log_line['text'][:_LONGEST_LOG_LINE]}")
    hint = _hint(run, status, result)
    if hint:
        lines.append(f"  try  {with_run(hint, run.paths.root)}")
    return lines


def _hint(run: Run, status: Status, result: dict[str, Any]) -> str | None:
    """What to do about the end of a run; None if nothing is."""
    from hpcdl.run.hints import hint as usual_hint

    if status.state == states.CANCELLED:
        return None
    if status.state == states.LOST:
        return usual_hint(states.LOST, run.is_script())
    return result.get("hint") or usual_hint(status.cause, run.is_script())
