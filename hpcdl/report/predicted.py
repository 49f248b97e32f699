"""What came out of a prediction, and the verdicts of its images against its runs' own test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.contract import run_files
from hpcdl.contract.predict_spec import Member, PredictSpec
from hpcdl.contract.settings import SpecError
from hpcdl.errors import HpcdlError, RunError
from hpcdl.report import verdicts

if TYPE_CHECKING:
    from hpcdl.report.drift import Drift, Sample
    from hpcdl.run.paths import RunPaths


def read_spec(paths: RunPaths) -> PredictSpec:
    """What was asked of a prediction.

    Raises:
        RunError: predict.json is missing or damaged.
    """
    try:
        return PredictSpec.from_json(paths.prediction.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SpecError) as error:
        raise RunError(f"{paths.prediction} cannot be read: {error}") from error


def read_new_images(paths: RunPaths) -> Sample:
    """The predicted images, as the models see them.

    Raises:
        RunError: predictions.npz is missing or damaged.
    """
    import numpy as np

    from hpcdl.report.drift import Sample
    from hpcdl.report.evaluation import UNREADABLE, looks_of

    try:
        with np.load(paths.predictions) as arrays:
            probabilities = arrays["probabilities"]
            return Sample(probabilities, looks_of(dict(arrays.items()), len(probabilities)))
    except UNREADABLE as error:
        raise RunError(f"{paths.predictions} cannot be read: {error}") from error


def test_file(member: Member) -> Path:
    """Where the test's answers of a model lie: next to the folder of the model."""
    return Path(member.run, member.file).parent.parent / run_files.PREDICTIONS


def drift_keys(paths: RunPaths) -> dict[str, Any]:
    """The keys ``drift`` and ``drift_problem`` of a prediction's result.json.

    Nothing is raised: without its runs' own test a prediction is as good as with it.
    """
    from hpcdl.report.drift import drift, read_sample

    try:
        spec = read_spec(paths)
        test = read_sample([test_file(member) for member in spec.members])
        verdict = drift(test, read_new_images(paths), spec.classes)
    except HpcdlError as error:
        return {"drift": None, "drift_problem": str(error)}
    return {"drift": verdict.to_json()}


def drift_of(result: Mapping[str, Any]) -> Drift | None:
    """The verdicts in a prediction's result.json; None if there are none, or they are damaged."""
    from hpcdl.report.drift import Drift

    section = result.get("drift")
    if not isinstance(section, dict):
        return None
    try:
        values = {each.name: section[each.name] for each in fields(Drift) if each.name != "outside"}
        return Drift(**values, outside=section.get("outside"))
    except KeyError:
        return None


def verdict_lines(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The two verdicts of a prediction, each with its name; or why there are none."""
    verdict = drift_of(result)
    if verdict is None:
        why = result.get("drift_problem") or "there is nothing to compare with"
        return [("changed", f"not known: {why}")]
    return [("changed", verdicts.changed(verdict)), ("worse", verdicts.worse(verdict))]
