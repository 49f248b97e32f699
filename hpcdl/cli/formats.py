"""How numbers and outcomes read: one function per thing that several commands show."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.state import Status

_TRY = {
    "data": "look at the data set: hpcdl data list",
    "device": 'hpcdl shell RUN, then: python -c "import tensorflow as tf; print(tf.config.list_physical_devices())"',
    "out_of_memory": "ask for more memory (resources.memory_gb or cpus), or a smaller train.batch_size",
    "time_limit": "ask for more time: --set resources.time=HH:MM:SS",
    "user_code": "hpcdl logs RUN shows where; hpcdl shell RUN opens the same container",
    "internal": "hpcdl logs RUN shows more; hpcdl resume RUN goes on from the last checkpoint",
    "spec": "hpcdl logs RUN shows more",
}


def duration(seconds: float) -> str:
    """Seconds as 0:31, 12:05 or 1:02:13."""
    total = round(seconds)
    hours, minutes = divmod(total // 60, 60)
    return f"{hours}:{minutes:02}:{total % 60:02}" if hours else f"{minutes}:{total % 60:02}"


def epoch_line(row: dict[str, Any], epochs: int | None) -> str:
    """One finished epoch."""
    parts = [f"epoch {row['epoch']}/{epochs or '?'}"]
    for key, name in (("loss", "loss"), ("accuracy", "accuracy"), ("val_loss", "val_loss"), ("val_accuracy", "val")):
        if isinstance(row.get(key), (int, float)):
            parts.append(f"{name} {row[key]:.4f}")
    parts.append(f"{row['seconds']:.1f} s")
    return "  ".join(parts)


def summary_line(result: dict[str, Any]) -> str:
    """A run that is done, in one line."""
    timing = result.get("timing", {})
    parts = []
    if "test" in result:
        parts.append(f"test accuracy {result['test']['accuracy']:.4f}")
    if "model" in result:
        parts.append(f"{result['model']['parameters']:,} parameters")
    if "per_epoch_s" in timing:
        parts.append(f"{timing['per_epoch_s']:.1f} s an epoch ({timing['images_per_s']:,.0f} images/s)")
    took = f" in {duration(timing['total_s'])}" if "total_s" in timing else ""
    return f"{result.get('state', 'done')}{took}" + (f": {', '.join(parts)}" if parts else "")


def failure_lines(run: Run, status: Status) -> list[str]:
    """A run that is not done, and what to do next."""
    result = run.result() or {}
    cause = f": {status.cause}" if status.cause and status.cause != status.state else ""
    note = result.get("message") or status.note
    lines = [f"{status.state}{cause}." + (f" {note}" if note else "")]
    for log, number, text in excerpt(run):
        lines.append(f"  log  {log}:{number}  {text}")
    hint = result.get("hint") or _TRY.get(status.cause or "")
    if status.state == "lost":
        hint = "hpcdl resume RUN goes on from the last checkpoint"
    if hint and status.state != "cancelled":
        lines.append(f"  try  {hint.replace('RUN', str(run.paths.root))}")
    return lines


def excerpt(run: Run, most: int = 3) -> list[tuple[str, int, str]]:
    """The last lines that say something, of the last log: (file, line number, text)."""
    logs = run.logs() or sorted(run.paths.logs.glob("*.out"))
    if not logs:
        return []
    with logs[-1].open(encoding="utf-8", errors="replace") as stream:
        tail = deque(((n, line.strip()) for n, line in enumerate(stream, 1) if line.strip()), maxlen=most)
    name = str(logs[-1].relative_to(run.paths.root))
    return [(name, number, text[:160]) for number, text in tail]
