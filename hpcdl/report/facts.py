"""Reads a run's folder: the facts that pages and tables show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcdl.files import read_json, read_json_lines
from hpcdl.formats import several
from hpcdl.report.metrics import last_values, merged
from hpcdl.run import Run, records
from hpcdl.run.epochs import read_epochs
from hpcdl.run.paths import RunPaths, TrialPaths
from hpcdl.run.records import AttemptEvent, Manifest, Submitted
from hpcdl.run.state import Status
from hpcdl.sweeps.trial_job import trial_settings

_LONGEST = 200_000  # characters of a file on a page


@dataclass(frozen=True)
class Facts:
    """One run's files, read once. A missing file gives an empty value."""

    run: Run
    status: Status
    result: dict[str, Any]
    plan: dict[str, Any]
    manifest: Manifest
    submitted: Submitted
    lines: list[dict[str, Any]]
    attempts: list[AttemptEvent]
    job_text: str
    shows_env: bool = False

    @property
    def id(self) -> str:
        """The run's id, the last part of its folder."""
        return self.run.paths.root.name

    @property
    def name(self) -> str:
        """The job's name."""
        name = self.result.get("name") or self.plan.get("name")
        return str(name or self.run.paths.root.parent.name)

    def section(self, name: str) -> dict[str, Any]:
        """A section of result.json; empty if it is missing."""
        section = self.result.get(name)
        if not isinstance(section, dict):
            return {}
        return section

    @property
    def is_script(self) -> bool:
        """Whether the run is a script of its user's or a command, not a training of hpcdl's."""
        if self.plan.get("kind") == "command":
            return True
        return bool(self.plan.get("script") or self.section("script"))

    @property
    def fold(self) -> int | None:
        """The fold of a cross-validation that is shown.

        It is the one whose model is the run's; before there is a model, the one under way.
        """
        fold = self.section("model").get("fold") or self.status.fold
        if not fold:
            return None
        return int(fold)

    @property
    def shown(self) -> RunPaths:
        """The folder of what is shown: the run's, or a fold's."""
        if self.fold is None:
            return self.run.paths
        return self.run.paths.fold(self.fold)

    @cached_property
    def all_epochs(self) -> list[dict[str, Any]]:
        """The epochs of all folds; of a script its lines, each epoch or step once."""
        if self.is_script:
            return merged(self.lines)
        return self.training_lines

    @property
    def training_lines(self) -> list[dict[str, Any]]:
        """The lines that a training of hpcdl's wrote, one for each epoch."""
        if self.is_script:
            return []
        return [line for line in self.lines if {"epoch", "seconds"} <= set(line)]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The epochs, of a cross-validation those of the fold that is shown."""
        return [line for line in self.all_epochs if line.get("fold") == self.fold]

    @property
    def folds(self) -> dict[int, list[dict[str, Any]]]:
        """The epochs of each fold by its number; empty if the run is not a cross-validation."""
        lines: dict[int, list[dict[str, Any]]] = {}
        for line in self.training_lines:
            if "fold" in line:
                lines.setdefault(line["fold"], []).append(line)
        return lines

    @cached_property
    def job(self) -> dict[str, Any]:
        """The job as it was resolved."""
        import yaml

        if self.params:
            return trial_settings(self.job_text, self.params)
        try:
            loaded = yaml.safe_load(self.job_text)
        except yaml.YAMLError:
            return {}
        return loaded if isinstance(loaded, dict) else {}

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameters of a sweep's trial; empty for any other run."""
        paths = self.run.paths
        if not isinstance(paths, TrialPaths):
            return {}
        params = (read_json(paths.trial_file) or {}).get("params")
        return params if isinstance(params, dict) else {}

    @property
    def restored_epoch(self) -> int | None:
        """The epoch whose weights the model has, if early_stopping restored them."""
        early = self.job.get("train", {}).get("early_stopping")
        if not early or not early.get("restore_best", True):
            return None
        best = self.section("best")
        if "epoch" not in best:
            return None
        return int(best["epoch"])

    @property
    def tested_epoch(self) -> int | None:
        """The epoch whose weights were tested: the restored one, else the last."""
        if not self.section("test") or "cross_validation" in self.result:
            return None
        return self.restored_epoch or self.result.get("epochs_run")

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric that a script wrote."""
        if not self.is_script:
            return {}
        values: dict[str, float] = {}
        for name, value in self.section("metrics").items():
            values[name] = value
            if value is None:
                values[name] = math.nan
        return values or last_values(self.all_epochs)

    @property
    def emulated(self) -> bool:
        """Whether parts of the CPU stood in for GPUs."""
        devices = self.section("devices")
        if devices:
            return bool(devices.get("emulated"))
        return bool(self.plan.get("emulate_gpus") and self.plan.get("gpus"))

    @property
    def devices(self) -> str | None:
        """The devices that trained, in a few words: 2 x NVIDIA H100, the CPU, 2 emulated GPUs."""
        names = self.section("devices").get("names")
        if not names:
            return None
        if self.emulated:
            return several(len(names), "emulated GPU")
        kinds: dict[str, int] = {}
        for name in map(str, names):
            device, _, kind = name.partition(" ")  # "GPU:0 NVIDIA H100", "CPU:0"
            if device.startswith("CPU:"):
                kind = "the CPU"
            kinds[kind or name] = kinds.get(kind or name, 0) + 1
        texts = []
        for kind, count in kinds.items():
            if count > 1:
                kind = f"{count} x {kind}"
            texts.append(kind)
        return ", ".join(texts)

    @property
    def submitted_at(self) -> float | None:
        """When the run was submitted, in seconds since 1970."""
        return self.submitted.time

    @property
    def started_at(self) -> float | None:
        """When its first attempt began."""
        for event in self.attempts:
            if event.is_start and event.time is not None:
                return event.time
        return None

    @property
    def ended_at(self) -> float | None:
        """When its last attempt ended; None if the run has not ended."""
        if not self.attempts or not self.status.final:
            return None
        last = self.attempts[-1]
        return last.time if last.is_end else None

    @property
    def total_s(self) -> float | None:
        """Seconds of all attempts together, without waiting."""
        seconds = [end["seconds"] for end in self.ends if end["seconds"] is not None]
        if not seconds:
            return None
        return float(sum(seconds))

    @property
    def gpu_hours(self) -> float | None:
        """GPUs times hours; 0 where they were emulated."""
        if self.total_s is None:
            return None
        if self.emulated:
            return 0.0
        hours: float = self.plan.get("gpus", 0) * self.total_s / 3600
        return hours

    @property
    def ends(self) -> list[dict[str, Any]]:
        """How each attempt ended, in order; of several records of one attempt, the last."""
        last = {}
        for event in self.attempts:
            if event.is_end:
                last[event.attempt] = dict(vars(event))
        return [last[number] for number in sorted(last)]

    @property
    def waited_s(self) -> float | None:
        """Seconds in the queue, before the first attempt and between attempts."""
        waited_s, has_started = 0.0, False
        since = self.submitted.time
        for event in self.attempts:
            if event.is_start:
                has_started = True
                if since is not None and event.time is not None:
                    waited_s += max(0.0, event.time - since)
                    since = None
            elif event.is_end:
                since = event.time
        if not has_started:
            return None
        return waited_s

    @property
    def class_names(self) -> list[str]:
        """The classes' names; their numbers if the data set does not name them."""
        return self.names_of(self.section("data").get("classes") or 0)

    def names_of(self, classes: int) -> list[str]:
        """The names of that many classes; their numbers if the data set does not name them."""
        names = self.section("data").get("class_names")
        if isinstance(names, list) and len(names) == classes:
            return list(map(str, names))
        return list(map(str, range(classes)))


def read(run: Run, shows_env: bool = False) -> Facts:
    """Read a run's folder.

    Args:
        run: the run.
        shows_env: show the values of env and what else is private.
    """
    paths = run.paths
    plan = records.plan(paths)
    return Facts(
        run=run,
        status=run.status(),
        result=run.result() or {},
        plan=plan,
        manifest=Manifest.read(paths),
        submitted=Submitted.read(paths) or Submitted(),
        lines=read_json_lines(paths.metrics) if plan.get("script") else read_epochs(paths),
        attempts=records.read_attempts(paths),
        job_text=read_text(paths.job),
        shows_env=shows_env,
    )


def read_text(path: Path) -> str:
    """The start of a file, as much as a page can show; "" if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    left_out = len(text) - _LONGEST
    if left_out <= 0:
        return text
    return f"{text[:_LONGEST]}\n… ({left_out:,} more characters)"
