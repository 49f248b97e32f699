"""The folder of a scaling report with its runs, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpcdl.run.paths import RunPaths
from hpcdl.scaling.folder import ScalePaths, ScaleRecord, ScaleRun

START = 1_764_300_000.0


def lines_of(values: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def write_run(folder: Path, gpus: int, rate: float, use: float | None = None, **plan: Any) -> None:
    """A short run that is done: five seconds until its first step, epochs of 30 s, and samples."""
    folder.mkdir(parents=True)
    paths = RunPaths(folder)
    starts = {"event": "start", "attempt": 1, "node": "n", "time": START}
    ends = {**starts, "event": "end", "reason": "done", "seconds": 140.0, "time": START + 140}
    epochs, now = [], START + 5
    for number, seconds in enumerate((34.0, 30.0, 31.0, 30.0), 1):
        now += seconds
        images_per_s = rate * 30 / seconds
        epoch = {"epoch": number, "seconds": seconds, "images_per_s": images_per_s, "time": now}
        epochs.append({**epoch, "steps": 50, "loss": 1.0 / number})
    samples: list[dict[str, Any]] = [{"node": "n", "cpus": 8, "gpus": [{"name": "H100"}] * gpus}]
    for number in range(9):
        sample = {"attempt": 1, "time": START + 15 * number + 15, "seconds": 15.0, "cpus": 2.0}
        training = 3 <= number < 8  # wholly after the first epoch and before the last one's end
        samples.append({**sample, "use": [use if training else 1.0] * gpus})
    timing = {"import_s": 2.0, "build_s": 1.0, "saves": 1, "save_blocked_s": 0.5, "total_s": 140.0}
    data: dict[str, Any] = {"rows_train": 60_000, "rows_validation": 0, "rows_test": 10}
    data.update(image_shape=[28, 28, 1], classes=10)
    files = {
        paths.manifest: {"command_line": []},
        paths.plan: {"name": "a", "gpus": gpus, "cpus": 8, **plan},
        paths.spec: {"train": {"batch_size": 128}, "data": {}, "model": {}, "saving": {}},
        paths.submitted: {"backend": "slurm", "job_id": "7", "time": START - 60},
        paths.result: {"state": "done", "attempts": [], "timing": timing, "data": data},
    }
    for path, value in files.items():
        path.write_text(json.dumps(value))
    paths.attempts.write_text(lines_of([starts, ends]))
    paths.metrics.write_text(lines_of(epochs))
    if use is not None:
        paths.devices.write_text(lines_of(samples))


def write_report(
    root: Path,
    rates: dict[int, float],
    uses: dict[int, float] | None = None,
    job: str = "a",
    **plan: Any,
) -> ScalePaths:
    """A scaling report whose runs are done; a size without a rate was not sent."""
    paths = ScalePaths(root / job / "scale-20251128-0320-aaaa")
    runs = []
    for gpus, rate in rates.items():
        folder = root / job / f"20251128-0320-aaa{gpus}"
        if rate:
            write_run(folder, gpus, rate, (uses or {}).get(gpus), **plan)
        runs.append(ScaleRun(gpus, 1, str(folder) if rate else ""))
    ScaleRecord(job, f"{job}.yaml", 10.0, None, [], 200, runs=runs).write(paths)
    return paths
