"""Everything that a run's folder says of it, as far as the run has come: what a page or a table is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcdl.files import read_json, read_json_lines
from hpcdl.run import Run
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import Status, read_epochs

_ATTEMPT = dict.fromkeys(("job_id", "node", "reason", "from_step", "steps", "seconds", "peak_memory_gb"))
_LONGEST = 200_000  # characters of a file on a page


@dataclass(frozen=True)
class Span:
    """A part of a run's time: what for, how many seconds, and its number among the palette's colours."""

    name: str
    seconds: float
    colour: int


@dataclass(frozen=True)
class Facts:
    """One run's files, read once. What is not there is empty."""

    run: Run
    status: Status
    result: dict[str, Any]
    plan: dict[str, Any]
    manifest: dict[str, Any]
    submitted: dict[str, Any]
    all_epochs: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    job_text: str

    @property
    def id(self) -> str:
        """The run's id, the last part of its folder."""
        return self.run.paths.root.name

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.result.get("name") or self.plan.get("name") or self.run.paths.root.parent.name)

    def section(self, name: str) -> dict[str, Any]:
        """A section of result.json, empty where there is none."""
        found = self.result.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def fold(self) -> int | None:
        """Of a cross-validation the fold that is shown: the one whose model is the run's, else the one under way."""
        found = self.section("model").get("fold") or self.status.fold
        return int(found) if found else None

    @property
    def shown(self) -> RunPaths:
        """The folder of what is shown: the run's, or a fold's."""
        return self.run.paths if self.fold is None else self.run.paths.fold(self.fold)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The epochs, of a cross-validation those of the fold that is shown."""
        return [line for line in self.all_epochs if line.get("fold") == self.fold]

    @property
    def folds(self) -> dict[int, list[dict[str, Any]]]:
        """The epochs of each fold by its number; nothing where it is no cross-validation."""
        numbers = dict.fromkeys(line["fold"] for line in self.all_epochs if "fold" in line)
        return {number: [line for line in self.all_epochs if line["fold"] == number] for number in numbers}

    @cached_property
    def job(self) -> dict[str, Any]:
        """The job as it was resolved."""
        import yaml

        try:
            loaded = yaml.safe_load(self.job_text)
        except yaml.YAMLError:
            return {}
        return loaded if isinstance(loaded, dict) else {}

    @property
    def kept_best(self) -> bool:
        """Whether the weights are those of the best epoch, not of the last."""
        early = self.job.get("train", {}).get("early_stopping")
        return bool(early and early.get("restore_best", True))

    @property
    def emulated(self) -> bool:
        """Whether parts of the CPU stood in for GPUs."""
        return bool(self.section("devices").get("emulated") or self.plan.get("emulate_gpus"))

    @property
    def devices(self) -> str | None:
        """What trained, in few words: 2 x NVIDIA H100, CPU:0, 2 emulated GPUs."""
        names = self.section("devices").get("names")
        if not names:
            return None
        if self.emulated:
            return f"{len(names)} emulated GPUs"
        kinds = [str(name).partition(" ")[2] or str(name) for name in names]  # after "GPU:0 "
        counted = {kind: kinds.count(kind) for kind in kinds}
        return ", ".join(kind if count == 1 else f"{count} x {kind}" for kind, count in counted.items())

    @property
    def total_s(self) -> float | None:
        """Seconds of all attempts together, without waiting."""
        ends = [row["seconds"] for row in self.ends if row.get("seconds") is not None]
        return sum(ends) if ends else None

    @property
    def gpu_hours(self) -> float | None:
        """GPUs times hours; 0 where they were emulated."""
        if self.total_s is None:
            return None
        return 0.0 if self.emulated else self.plan.get("gpus", 0) * self.total_s / 3600

    @property
    def ends(self) -> list[dict[str, Any]]:
        """The last word on how each attempt ended, in order."""
        last = {row["attempt"]: {**_ATTEMPT, **row} for row in self.attempts if row.get("event") == "end"}
        return [last[number] for number in sorted(last)]

    @property
    def waited_s(self) -> float | None:
        """Seconds in the queue, before the first attempt and between attempts."""
        waited, since = 0.0, self.submitted.get("time")
        for row in self.attempts:
            if row.get("event") == "start" and since is not None:
                waited, since = waited + max(0.0, row["time"] - since), None
            elif row.get("event") == "end":
                since = row["time"]
        return waited if any(row.get("event") == "start" for row in self.attempts) else None

    def spans(self) -> list[Span]:
        """Where the time went, in the order in which it happens; what nobody noted is the last one."""
        timing = self.section("timing")
        epochs_s = sum(line["seconds"] for line in self.all_epochs)
        named = [
            ("reading data", timing.get("data_s"), 4),
            ("starting TensorFlow", timing.get("import_s"), 2),
            ("building the model", timing.get("build_s"), 3),
            ("training steps", timing.get("train_s", epochs_s or None), 0),
            ("testing", _sum(timing.get("evaluate_s"), timing.get("predict_s")), 5),
            ("saving", _sum(timing.get("save_blocked_s"), timing.get("save_s")), 1),
        ]
        spans = [Span(name, value, colour) for name, value, colour in named if value is not None]
        if self.total_s is not None:
            rest = self.total_s - sum(span.seconds for span in spans)
            what = "start of the container, validation, all else" if spans else "running"
            spans.append(Span(what, max(0.0, rest), 6))
        if self.waited_s is not None:
            spans.insert(0, Span("waiting in the queue", self.waited_s, 7))
        return spans

    @property
    def class_names(self) -> list[str]:
        """The classes' names, where the data set has some; else their numbers."""
        data = self.section("data")
        names, classes = data.get("class_names"), data.get("classes") or 0
        if isinstance(names, list) and len(names) == classes:
            return [str(name) for name in names]
        return [str(number) for number in range(classes)]

    def files(self) -> list[tuple[str, str]]:
        """The job file and what was sent with it, as they were frozen: (name, text)."""
        paths = self.run.paths
        script = self.plan.get("script")
        chosen = [paths.script, *([paths.user / script] if script else sorted(paths.user.glob("*.py")))]
        found = [("job.yaml", self.job_text)]
        found += [(str(path.relative_to(paths.root)), read_text(path)) for path in chosen if path.is_file()]
        return [(name, text) for name, text in found if text]


def read(run: Run) -> Facts:
    """Read a run's folder."""
    paths = run.paths
    return Facts(
        run=run,
        status=run.status(),
        result=run.result() or {},
        plan=read_json(paths.plan) or {},
        manifest=read_json(paths.manifest) or {},
        submitted=read_json(paths.submitted) or {},
        all_epochs=[line for line in read_epochs(paths) if {"epoch", "seconds"} <= set(line)],
        attempts=read_json_lines(paths.attempts),
        job_text=read_text(paths.job),
    )


def read_text(path: Path) -> str:
    """A file for people; nothing where it cannot be read, and no more than a page can show."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… ({len(text) - _LONGEST:,} more characters)"


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
