"""The models of other runs that a job names: from a run's name to its file and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpcdl.cache import cached_sha256
from hpcdl.cluster.schema import Cluster
from hpcdl.contract import run_files
from hpcdl.contract.spec import RunSpec, SpecError, StartSpec
from hpcdl.errors import JobError, NoRunError, Problem, UserError
from hpcdl.job import Job
from hpcdl.job.from_run import FromRun, names_models
from hpcdl.run import Run, find_run
from hpcdl.text import hpcdl_command, show

START = "model.start"
TEACHER = "train.distill.teacher"


@dataclass(frozen=True)
class OtherModel:
    """A saved model of another run.

    Args:
        key: the job's key that names the run.
        file: the model's.
        result: that run's result.json; of a cross-validation, that of the fold.
    """

    key: str
    file: Path
    result: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of the run, or of its fold."""
        return self.file.parents[1]

    def spec(self) -> RunSpec:
        """What that run was asked to do.

        Raises:
            SpecError: a newer hpcdl wrote it.
            OSError: it cannot be read.
        """
        for folder in self.file.parents:
            path = folder / run_files.SPEC
            if path.exists():
                return RunSpec.from_json(path.read_text(encoding="utf-8"))
        raise FileNotFoundError(f"{self.folder / run_files.SPEC} is missing")


def with_other_runs(job: Job, cluster: Cluster, runs_dir: str | None = None) -> Job:
    """The job with the files of the models that it names, and with the model that it starts from.

    Args:
        job: the job.
        cluster: its runs_root is where runs are looked for.
        runs_dir: is used instead of it.

    Raises:
        JobError: there is no such run, or it has no model to use; every reason at once.
    """
    if not names_models(job):
        return job
    places = [Path(runs_dir)] if runs_dir else [Path(cluster.runs_root), Path("runs").absolute()]
    finder = _Finder(job, list(dict.fromkeys(places)))
    changes: dict[str, Any] = {}
    if isinstance(job.model, FromRun):
        changes |= finder.start(job.model)
    if job.train is not None and job.train.distill is not None:
        distill = job.train.distill
        texts = [distill.teacher] if isinstance(distill.teacher, str) else distill.teacher
        teachers = [model for model in map(finder.teacher, texts) if model is not None]
        files = [str(model.file) for model in teachers]
        hashes = [cached_sha256(model.file) for model in teachers]
        changes["train"] = replace(
            job.train, distill=replace(distill, teacher=files, sha256=hashes)
        )
    if finder.problems:
        raise JobError(job.source, finder.problems)
    return replace(job, **changes)


def other_models(spec: RunSpec) -> Iterator[OtherModel]:
    """The models of other runs that a training needs.

    Raises:
        OSError: a run's result.json cannot be read.
        ValueError: it is not JSON.
    """
    files = [(START, spec.start.model)] if spec.start is not None else []
    if spec.train.distill is not None:
        files += [(TEACHER, path) for path in spec.train.distill.teacher]
    for key, text in files:
        file = Path(text)
        path = file.parents[1] / run_files.RESULT
        yield OtherModel(key, file, json.loads(path.read_text(encoding="utf-8")))


class _Finder:
    """Finds the models of runs, and collects what is wrong with them.

    Args:
        job: names the runs.
        roots: the folders of runs to look in.
    """

    def __init__(self, job: Job, roots: Sequence[Path]) -> None:
        self._job = job
        self._roots = roots
        self.problems: list[Problem] = []

    def _add(self, key: str, message: str) -> None:
        place = self._job.places.get(key, self._job.source)
        self.problems.append(Problem(place, key, message))

    def start(self, model: FromRun) -> dict[str, Any]:
        """The fields of the job that change: its model becomes that of the run."""
        other = self._model(START, model.start)
        if other is None:
            return {}
        try:
            of_run = other.spec().model
        except (OSError, SpecError) as error:
            self._add(START, f"{model.start} cannot be read: {error}")
            return {}
        settings = asdict(of_run)
        for name, value in model.rest.items():
            if name not in settings:
                self._add(
                    f"model.{name}", f"the model of {model.start} has no such key: leave it out"
                )
            elif value != settings[name] and not _same_file(name, value):
                message = f"is {show(value)}, but {show(settings[name])} in {model.start}"
                self._add(f"model.{name}", f"{message}: leave it out, start takes it from there")
        start = StartSpec(str(other.file), cached_sha256(other.file))
        return {"model": of_run, "start": start}

    def teacher(self, text: str) -> OtherModel | None:
        """The model of a teacher; None, and a problem, if it cannot teach."""
        other = self._model(TEACHER, text)
        if other is None:
            return None
        about = other.result["model"]
        if about.get("weights_only"):
            self._add(TEACHER, f"{text} saved weights alone; expected a whole model")
            return None
        if about.get("needs") or about.get("safe_mode") is False:
            files = ", ".join(about.get("needs", [])) or "a Lambda layer"
            message = f"the model of {text} needs code of its own ({files})"
            self._add(TEACHER, f"{message}; expected a model of Keras's own layers")
            return None
        return other

    def _model(self, key: str, text: str) -> OtherModel | None:
        """The saved model of a run; None, and a problem, if there is none."""
        try:
            run = self._run(text)
        except NoRunError as error:
            self._add(key, str(error))
            return None
        except UserError as error:
            self._add(key, f"{text}: {error}")
            return None
        result = run.result() or {}
        name = run.name
        if result.get("state") != "done":
            state = run.status(ask=False).state
            message = f"{name} is {state}; expected a run that is done: wait for it"
            self._add(key, f"{message} ({hpcdl_command('wait', name)}), or name another one")
            return None
        about = result.get("model")
        if not isinstance(about, dict) or not about.get("file"):
            self._add(key, f"{name} has no model: expected a training that is done")
            return None
        file = run.paths.root / about["file"]
        path = file.parents[1] / run_files.RESULT
        try:
            other = OtherModel(key, file.resolve(strict=True), json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            self._add(key, f"the model of {name} cannot be read: {error}")
            return None
        if not _is_described(other.result):
            message = (
                f"{name} was trained by an older hpcdl, which did not note what its model takes"
            )
            self._add(key, f"{message}: train it again")
            return None
        return other

    def _run(self, text: str) -> Run:
        """The run that a text names, also by its model's file, as job.yaml of a run has it."""
        path = Path(text)
        if path.is_absolute() and path.is_file():
            for folder in path.parents:
                if (folder / "manifest.json").exists():
                    return Run(folder)
        return find_run(text, self._roots)


def _is_described(result: dict[str, Any]) -> bool:
    """Whether a run's result.json says what its model takes and gives."""
    model, data = result.get("model"), result.get("data")
    if not isinstance(model, dict) or not isinstance(data, dict):
        return False
    takes = model.get("input")
    return isinstance(takes, dict) and "shape" in takes and "output" in model and "classes" in data


def _same_file(name: str, value: Any) -> bool:
    """Whether a key is a path, which that run has in its absolute form."""
    return name in ("weights", "features_cache") and isinstance(value, str)
