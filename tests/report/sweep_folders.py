"""Sweep folders made by the real claims, with values that follow from the parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcdl.files import write_json
from hpcdl.run import Run
from hpcdl.sweeps.claims import Claims, Proposal
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.pruning import asha_prunes, rungs
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted
from hpcdl.sweeps.suggest import grid_point, random_point
from tests.report import made

Curve = Callable[[dict[str, Any], int], float]
OVER: dict[str, Any] = {
    "train.optimizer.learning_rate": "log:1e-4..1e-1",
    "train.batch_size": "int:log:16..256",
    "model.dropout": "0..0.6",
    "model.filters": [[16, 32], [32, 64], [64, 128]],
}
SENT = 1_796_000_000.0


def accuracy(params: dict[str, Any], epoch: int) -> float:
    """Best at a rate of 0.003 and a small dropout; it grows with the epochs."""
    far: float = abs(math.log10(params["train.optimizer.learning_rate"]) + 2.5)
    dropout: float = params["model.dropout"]
    return 0.99 - 0.08 * far**2 - 0.05 * dropout - 0.5 * math.exp(-epoch / 3)


def new_sweep(root: Path, **changes: Any) -> tuple[SweepPaths, SweepSettings]:
    """A sweep's folder before its first trial."""
    job = {**made.JOB, "name": "mnist-sweep", **changes.pop("job", {})}
    folder = made.base(root, job, None)
    for name in ("attempts.jsonl", "heartbeat.json"):
        (folder / name).unlink(missing_ok=True)
    paths = SweepPaths(folder)
    for part in (paths.tasks, paths.claims, paths.open, paths.trials):
        part.mkdir()
    content = {
        "name": job["name"],
        "over": OVER,
        "method": "asha",
        "metric": "val_accuracy",
        "direction": "maximize",
        "trials": 60,
        "at_once": 8,
        "epochs": 27,
        "gpus": 1,
        "gpu_hours": 50.0,
        **changes,
    }
    settings = SweepSettings(**content)
    settings.write(paths)
    array = SentArray(job_id="4711", tasks=8, at_once=8, sent=SENT)
    SweepSubmitted(backend="slurm", cluster="generic", time=SENT, arrays=[array]).write(paths)
    return paths, settings


def fill(paths: SweepPaths, settings: SweepSettings, curve: Curve, **how: Any) -> None:
    """Run all trials, one after the other, by the real claims.

    Args:
        paths: of the sweep.
        settings: of the sweep.
        curve: the metric by parameters and epoch.
        how: ``failing`` numbers with their results, ``running`` numbers, ``only`` that many trials.
    """
    space = settings.space

    def propose(number: int, state: Any) -> Proposal:
        if settings.method == "grid":
            return Proposal(grid_point(space, number))
        return Proposal(random_point(space, settings.seed, number))

    budget = how.get("only", settings.trials)
    for task in range(2):
        keys = [f"4711_{task}.{slot}" for slot in range(len(how.get("running", ())) + 1)]
        for key in keys:
            claims = Claims(paths, key, budget, propose)
            while (trial := claims.claim()) is not None:
                is_over = _train(paths, settings, claims, trial, curve, how)
                if not is_over:
                    break
                claims.finish(trial)


def sweep(root: Path, curve: Curve = accuracy, how: dict[str, Any] | None = None, **changes: Any):
    """A whole sweep's folder, as a run."""
    paths, settings = new_sweep(root, **changes)
    fill(paths, settings, curve, **(how or {}))
    return Run(paths.root)


def _train(paths, settings, claims, trial, curve, how) -> bool:
    """Train a trial; whether it has ended."""
    failing = how.get("failing", {})
    folder = paths.trial(trial.number)
    start = {"event": "start", "attempt": 1, "node": "n1", "job_id": "4711_0", "time": made.START}
    end = {**start, "event": "end", "reason": "done", "seconds": 270.0, "time": made.START + 270}
    made.write_lines(folder / "attempts.jsonl", [start, end])
    if trial.number in failing:
        write_json(
            paths.result(trial.number), {"state": "failed", "value": None, **failing[trial.number]}
        )
        return True
    metrics = paths.trial(trial.number) / "metrics.jsonl"
    write_json(paths.trial(trial.number) / "run.json", {})
    levels = []
    if settings.method == "asha":
        levels = rungs(settings.first_epochs, settings.epochs, settings.eta)
    lines, values, state = [], [], "done"
    for epoch in range(1, settings.epochs + 1):
        value = curve(trial.params, epoch)
        values.append(value)
        line = {"epoch": epoch, settings.metric: value, "loss": 1 / epoch}
        lines.append({**line, "seconds": 1.0, "steps": 10 * epoch})
        if trial.number in how.get("running", ()) and epoch == settings.epochs // 2:
            break
        if epoch in levels:
            claims.note_rung(trial.number, epoch, value)
            numbers = []
            for other, at_rung in claims.state.rungs.get(epoch, {}).items():
                score = settings.score(at_rung)
                if other != trial.number:
                    numbers.append(math.nan if score is None else score)
            if asha_prunes(settings.score(value), numbers, settings.eta):
                state = "pruned"
                break
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if trial.number in how.get("running", ()):
        return False
    finite = [value for value in values if math.isfinite(value)]
    choose = max if settings.direction == "maximize" else min
    best = choose(finite) if finite else None
    result = {
        "state": state,
        "value": best,
        "epoch": values.index(best) + 1 if finite else None,
        "epochs": len(values),
        "seconds": 10.0 * len(values),
    }
    write_json(paths.result(trial.number), result)
    return True
