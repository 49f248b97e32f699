"""The section `sweep` of a job file: what is searched, how, and how much it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from hpcdl.contract.settings import setting

METHODS = ("grid", "random", "bayes", "asha", "hyperband")
MOST_TRIALS = 1_000_000
AT_ONCE = 8
# What to say where a job that has the section is not started as a sweep
NOT_A_SWEEP = (
    "the job's section sweep is left out: this is one training with the job's own values;"
    " hpcdl sweep JOB starts the sweep"
)


@dataclass(frozen=True)
class SweepSection:
    """Many trials of this job, each with other values; `hpcdl sweep JOB` starts them. `hpcdl submit
    JOB` trains once, with the job's own values.
    """

    over: dict[str, Any] = setting(
        "what is searched: a key of data, model or train (or args.NAME of a script) and its space: "
        "0.001..0.1, log:1e-4..1e-1, int:1..8, int:log:16..512, a|b|c, or a list",
        {},
    )
    method: str = setting(
        "how values are chosen: each combination, at random, by Optuna's TPE, or at random with "
        "poor trials ended early",
        "random",
        choices=METHODS,
    )
    metric: Optional[str] = setting(
        "a metric as in metrics.jsonl; by default val_accuracy; a script has to say it", None
    )
    direction: str = setting(
        "whether the smallest or the largest value is best; auto goes by the words of the metric's "
        "name, as in train.early_stopping.mode",
        "auto",
        choices=("auto", "minimize", "maximize"),
    )
    last: bool = setting(
        "whether the last epoch's value counts; by default the best epoch's", False
    )
    eta: int = setting("asha and hyperband: one in that many trials goes on at each rung", 3, ge=2)
    first: int = setting("asha and hyperband: epochs before the first comparison", 1, ge=1)
    trials: Optional[int] = setting(
        "how many trials; a grid has as many as it has combinations", None, ge=1, le=MOST_TRIALS
    )
    gpu_hours: Optional[float] = setting(
        "GPU-hours after which no other trial begins; without it, trials alone count", None, gt=0
    )
    seed: int = setting("makes two sweeps suggest the same values", 1, ge=0, le=2**31 - 1)
    at_once: Optional[int] = setting(
        f"trials that run at the same time; by default {AT_ONCE}, and 1 on this machine", None, ge=1
    )
    trials_per_gpu: int = setting("trials that share one GPU", 1, ge=1)
    trials_per_task: Optional[int] = setting(
        "trials of one task of the array; by default a task takes trials until its time is used",
        None,
        ge=1,
    )
    fork_server: Optional[bool] = setting(
        "whether a task imports TensorFlow once for its trials; by default it does without GPUs",
        None,
    )
    keep: int = setting("the best trials that keep their model and predictions", 5, ge=1)
