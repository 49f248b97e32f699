"""The folder of a scaling report: which runs it compares, and its page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl.errors import RunError, UserError
from hpcdl.files import read_json, write_json
from hpcdl.oserrors import refusal
from hpcdl.run import kinds

_SCHEMA_VERSION = 1
PREFIX = "scale-"  # of the folder's name


@dataclass(frozen=True)
class ScalePaths:
    """The files of a scaling report's folder: ``<runs_root>/<name>-scale/scale-<time>-<letters>``.

    Its runs are ordinary ones of a job ``<name>-scale``. They lie next to it.
    """

    root: Path

    @property
    def record(self) -> Path:
        """What is compared; by this file the folder is known."""
        return self.root / "scale.json"

    @property
    def page(self) -> Path:
        """The page."""
        return self.root / "report.html"


@dataclass(frozen=True)
class ScaleRun:
    """The run of one size.

    Args:
        gpus: GPUs of a node.
        nodes: how many nodes.
        folder: the run's folder; "" if it was not sent.
    """

    gpus: int
    nodes: int
    folder: str = ""


@dataclass(frozen=True)
class ScaleRecord:
    """What is compared (scale.json).

    Args:
        job: the job's name.
        source: the job as the user named it.
        passes: how often the whole job trains on all rows, of which the runs are a short part; 0
            if that is not known.
        per_gpu: rows of a step on each GPU, if the batch grows with the GPUs; else None.
        sets: the ``key=value`` texts of data, model and train with which the job was measured.
        steps: the steps of a run.
        names_nodes: whether a recommendation must say how many nodes: they were compared, or the
            job asks for several.
        runs: the run of each size.
    """

    job: str
    source: str
    passes: float
    per_gpu: int | None
    sets: Sequence[str]
    steps: int
    names_nodes: bool = False
    runs: Sequence[ScaleRun] = ()

    @classmethod
    def read(cls, paths: ScalePaths) -> ScaleRecord:
        """Read scale.json.

        Raises:
            RunError: it is missing or damaged.
        """
        value = kinds.usable(read_json(paths.record) or {}, _RECORD)
        if value is None:
            raise RunError(
                f"{paths.record} cannot be read, or is damaged; "
                "its runs are good: hpcdl compare shows them"
            )
        runs = []
        for run in value["runs"]:
            folder = run["folder"]
            if folder:  # next to this one, wherever both were moved
                folder = str(paths.root.parent / Path(folder).name)
            runs.append(ScaleRun(run["gpus"], max(1, run["nodes"]), folder))
        return cls(
            value["job"],
            value["source"],
            value["passes"],
            value["per_gpu"],
            value["sets"],
            value["steps"],
            value["names_nodes"],
            runs,
        )

    def write(self, paths: ScalePaths) -> None:
        """Write scale.json, and make the folder if need be.

        Raises:
            RunError: it cannot be written.
        """
        runs: list[dict[str, Any]] = []
        for run in self.runs:
            runs.append({"gpus": run.gpus, "nodes": run.nodes, "folder": Path(run.folder).name})
        try:
            paths.root.mkdir(parents=True, exist_ok=True)
            write_json(
                paths.record,
                {
                    **vars(self),
                    "sets": list(self.sets),
                    "runs": runs,
                    "schema_version": _SCHEMA_VERSION,
                },
            )
        except OSError as error:
            raise refusal(
                f"cannot write {paths.root}", error, "choose another --runs-dir"
            ) from error


_RECORD = kinds.object_with(
    {
        "job": kinds.text,
        "source": kinds.text,
        "passes": kinds.amount,
        "per_gpu": kinds.or_none(kinds.whole),
        "sets": kinds.list_of(kinds.text),
        "steps": kinds.whole,
        "names_nodes": kinds.flag,
        "runs": kinds.list_of(
            kinds.object_with({"gpus": kinds.whole, "nodes": kinds.whole, "folder": kinds.text})
        ),
    }
)


def folder_at(text: str) -> ScalePaths | None:
    """The folder of a scaling report that the user gave; None if the text is a job.

    Raises:
        UserError: it is a folder, but not of a scaling report.
    """
    path = Path(os.path.expanduser(text))
    if not path.is_dir():
        return None
    paths = ScalePaths(path.absolute())
    if not paths.record.exists():
        if os.sep not in text and text not in (".", ".."):
            return None  # a job may have the name of a folder that lies here
        raise UserError(
            f"{text} is a folder, but not of a scaling report (it has no scale.json); "
            "expected a job, or the folder that hpcdl scale printed"
        )
    return paths
