"""How numbers and outcomes read: one function per thing that several commands show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.state import Status


def duration(seconds: float) -> str:
    """Seconds as 0:31, 12:05 or 1:02:13."""
    total = round(seconds)
    hours, minutes = divmod(total // 60, 60)
    return f"{hours}:{minutes:02}:{total % 60:02}" if hours else f"{minutes}:{total % 60:02}"


def table(cells: Sequence[Sequence[str]]) -> list[str]:
    """Texts in columns as lines; each column is as wide as its widest text."""
    widths = []
    for column in zip(*cells, strict=True):
        widths.append(max(map(len, column)))
    lines = []
    for texts in cells:
        padded = [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return lines


def epoch_line(epoch: dict[str, Any], epochs: int | None, folds: int | None = None) -> str:
    """One finished epoch."""
    parts = [f"fold {epoch['fold']}/{folds or '?'}"] if "fold" in epoch else []
    parts.append(f"epoch {epoch['epoch']}/{epochs or '?'}")
    for key, name in (
        ("loss", "loss"),
        ("accuracy", "accuracy"),
        ("val_loss", "val_loss"),
        ("val_accuracy", "val"),
    ):
        if isinstance(epoch.get(key), (int, float)):
            parts.append(f"{name} {epoch[key]:.4f}")
    if isinstance(epoch.get("seconds"), (int, float)):
        parts.append(f"{epoch['seconds']:.1f} s")
    return "  ".join(parts)


def script_epoch_line(epoch: dict[str, Any]) -> str:
    """One finished epoch, as a script wrote it down."""
    return "  ".join([f"epoch {epoch['epoch']:g}", *metric_texts(epoch)])


def metric_texts(values: dict[str, Any], most: int = 8) -> list[str]:
    """Metrics of a script as ``loss 0.1234``, without its epoch and step.

    Args:
        values: by name; None for what is no number.
        most: how many.
    """
    texts = []
    for name, value in values.items():
        if name in ("epoch", "step"):
            continue
        texts.append(f"{name} {_metric(value)}")
    return texts[:most]


def _metric(value: float | None) -> str:
    if value is None:
        return "nan"
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def summary_line(result: dict[str, Any], status: Status | None = None) -> str:
    """A run that is done, in one line.

    Args:
        result: its result.json.
        status: its status, which tells of the waits between attempts.
    """
    timing = result.get("timing", {})
    parts = []
    accuracy = (result.get("test") or {}).get("accuracy")
    if isinstance(accuracy, float):
        parts.append(f"test accuracy {accuracy:.4f}{_over_folds(result)}")
    if "model" in result:
        parts.append(f"{result['model']['parameters']:,} parameters")
    if "per_epoch_s" in timing and "images_per_s" in timing:
        parts.append(
            f"{timing['per_epoch_s']:.1f} s an epoch ({timing['images_per_s']:,.0f} images/s)"
        )
    took = (
        f" in {duration(timing['total_s'])}{_with_waits(timing['total_s'], status)}"
        if "total_s" in timing
        else ""
    )
    return f"{result.get('state', 'done')}{took}" + (f": {', '.join(parts)}" if parts else "")


def _with_waits(total_s: float, status: Status | None) -> str:
    """The time from the first start to the end, where waits between attempts make it longer."""
    if status is None or status.attempt < 2 or status.started is None or status.ended is None:
        return ""
    elapsed_s = status.ended - status.started
    return (
        f" ({duration(elapsed_s)} with the waits between attempts)"
        if elapsed_s > total_s + 1
        else ""
    )


def _over_folds(result: dict[str, Any]) -> str:
    """How far the folds of a cross-validation lie apart."""
    validation = result.get("cross_validation")
    if not validation:
        return ""
    deviation = validation["deviation"]["test"]["accuracy"]
    return f" ± {deviation:.4f} in {len(validation['folds'])} folds"


def failure_lines(run: Run, status: Status) -> list[str]:
    """A run that is not done, and what to do next."""
    from hpcdl.run.hints import hint as usual_hint
    from hpcdl.run.logs import telling_lines

    result = run.result() or {}
    cause = f": {status.cause}" if status.cause and status.cause != status.state else ""
    note = result.get("message") or status.note
    lines = [f"{status.state}{cause}. {note}" if note else f"{status.state}{cause}."]
    log_lines: list[dict[str, Any]] = result.get("lines") or telling_lines(run.paths)
    for log_line in log_lines:
        place = f"{log_line['file']}:{log_line['line']}"
        lines.append(f"  log  {place}  {log_line['text'][:160]}")
    if status.state == "lost":
        hint = usual_hint("lost", run.is_script())
    else:
        hint = result.get("hint") or usual_hint(status.cause, run.is_script())
    if hint and status.state != "cancelled":
        lines.append(f"  try  {hint.replace('RUN', str(run.paths.root))}")
    return lines
