"""The files that a prediction leaves: predictions.csv, predictions.npz, unusable.csv."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from hpcdl.contract import prediction_table as table
from hpcdl.contract import run_files
from hpcdl.contract.atomic import replacing
from hpcdl.contract.file_names import shown
from hpcdl.contract.predict_spec import PredictSpec
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.predict.blocks import Blocks
from hpcdl.trainer.predict.engine import Engine
from hpcdl.trainer.predict.heat import NoHeatError, heat_maps

PICTURES = 24  # of the least certain images
_MOST_PIXELS = 96  # of a picture's longer side


class Outcome(NamedTuple):
    """What came out of a prediction, in numbers.

    images: how many were predicted.
    unusable: how many files could not be.
    first_unusable: the first of these, and why; two empty texts if there is none.
    seconds: how long reading and predicting took, of all attempts.
    confidence: the mean probability of the answers.
    answers: how often each class was the answer, by its name.
    explain: what the heat maps are; see `hpcdl.trainer.predict.heat`. None without pictures.
    """

    images: int
    unusable: int
    first_unusable: Tuple[str, str]
    seconds: float
    confidence: float
    answers: Dict[str, int]
    explain: Optional[Dict[str, Any]]


def write_outcome(
    run_dir: RunDir, spec: PredictSpec, names: List[str], blocks: Blocks, engine: Engine
) -> Outcome:
    """Write the three files from the saved blocks, each whole or not at all.

    predictions.npz holds ``files`` text (rows,), ``probabilities`` float32 (rows, classes),
    ``looks`` float32 (rows, 5), and for people ``picture_rows`` int32 and ``pictures`` uint8
    (rows, height, width, channels): the least certain images, the least certain one first; and
    ``heat_rows`` and ``heat`` uint8 (rows, height, width): where the models looked.
    """
    for name, write in (
        (run_files.PREDICTIONS_CSV, _write_predictions),
        (run_files.UNUSABLE_CSV, _write_unusable),
    ):
        path = run_dir.path(name)
        keep_trying(name, lambda: write(path, spec, names, blocks))  # noqa: B023 - called at once
    saved = list(blocks.all())
    rows = np.concatenate([answers.rows for answers in saved])
    probabilities = np.concatenate([answers.probabilities for answers in saved])
    unusable: Dict[int, str] = {}
    for answers in saved:
        unusable.update(answers.unusable)
    explain = None
    if len(rows):
        arrays = {
            "files": np.array([shown(names[row]) for row in rows], np.str_),
            "probabilities": probabilities,
            "looks": np.concatenate([answers.looks for answers in saved]),
        }
        pictures, explain = _pictures(run_dir, rows, probabilities, engine)
        arrays.update(pictures)
        path = run_dir.path(run_files.PREDICTIONS)
        keep_trying(run_files.PREDICTIONS, lambda: _save(path, arrays))
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(spec.classes))
    first = min(unusable, default=-1)
    return Outcome(
        images=len(rows),
        unusable=len(unusable),
        first_unusable=(shown(names[first]), unusable[first]) if unusable else ("", ""),
        seconds=sum(answers.seconds for answers in saved),
        confidence=round(float(probabilities.max(axis=1).mean()), 6) if len(rows) else 0.0,
        answers=dict(zip(spec.classes, counts.tolist())),
        explain=explain,
    )


def _write_predictions(path: str, spec: PredictSpec, names: List[str], blocks: Blocks) -> None:
    with _csv(path) as writer:
        writer.writerow(table.header(spec.classes))
        for answers in blocks.all():
            for row, values, notes in zip(
                answers.rows, answers.probabilities.tolist(), answers.notes
            ):
                texts = [str(notes)] if notes else []
                writer.writerow(table.row(names[row], values, spec.classes, texts))


def _write_unusable(path: str, spec: PredictSpec, names: List[str], blocks: Blocks) -> None:
    with _csv(path) as writer:
        writer.writerow(table.UNUSABLE_HEADER)
        for answers in blocks.all():
            for row, why in answers.unusable.items():
                writer.writerow(table.unusable_row(names[row], why))


@contextlib.contextmanager
def _csv(path: str) -> Iterator[Any]:
    """A writer of a CSV file, which appears when it is whole."""
    with replacing(path) as file:
        stream = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        yield table.writer(stream)
        stream.flush()
        stream.detach()


def _save(path: str, arrays: Dict[str, Any]) -> None:
    with replacing(path) as file:
        np.savez(file, **arrays)


def _pictures(
    run_dir: RunDir, rows: Any, probabilities: Any, engine: Engine
) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    """The least certain images, with heat. What cannot be read a second time is left out."""
    order = np.argsort(probabilities.max(axis=1), kind="stable")[:PICTURES]
    places: List[int] = []
    images: List[Any] = []
    for place in order:
        image = engine.stream.one(int(rows[place]))
        if not isinstance(image, str):
            places.append(int(place))
            images.append(image)
    if not images:
        return {}, None

    def beat() -> None:
        run_dir.heartbeat()
        if run_dir.stop_requested():  # what matters is written at once
            raise NoHeatError("the run was asked to end")

    explain, heat = heat_maps(engine.models, np.stack(images), beat)
    picture_rows = np.array(places, np.int32)
    arrays = {
        "picture_rows": picture_rows,
        "pictures": np.stack([_small(image) for image in images]),
        "heat_rows": picture_rows[: len(heat)],
        "heat": np.stack([_small(heated) for heated in heat]) if len(heat) else heat,
    }
    return arrays, explain


def _small(image: Any) -> Any:
    """An image of at most so many pixels, by every second, third, ... one."""
    step = -(-max(image.shape[:2]) // _MOST_PIXELS)
    return image[::step, ::step]
