"""One prediction, from its listing of files to result.json."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List

import numpy as np

from hpcdl.contract.errors import DataError, OutOfMemory, Stopped, UserCodeError
from hpcdl.contract.new_images import list_files
from hpcdl.contract.predict_spec import PredictSpec
from hpcdl.contract.spec import SCHEMA_VERSION
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.predict.blocks import Answers, Blocks
from hpcdl.trainer.predict.engine import Engine, choose_engine
from hpcdl.trainer.predict.outcome import Outcome, write_outcome
from hpcdl.trainer.runtime.log import say

_PROGRESS_S = 20.0  # between two lines of progress
_TOLERANCE = 1e-3  # how far a row of probabilities may be from 1


def predict(spec: PredictSpec, run_dir: RunDir) -> None:
    """Predict all images of a folder; what an earlier attempt has saved is not done again.

    Raises:
        DataError: the folder cannot be read, or holds no image that can be used.
        DeviceError, UserCodeError, InternalError: see `hpcdl.contract.errors`.
        Stopped: the stop file is there; what is done is saved.
    """
    blocks = Blocks(run_dir)
    names = _files(spec, blocks)
    done = min(len(names), blocks.done() * spec.block_images)
    run_dir.heartbeat(phase="loading", saved_images=done, steps=len(names))
    engine = choose_engine(spec, names)
    blocks.begin(engine.name)
    try:
        _predict_blocks(spec, run_dir, blocks, engine)
    except Exception as error:
        if type(error).__name__ != "ResourceExhaustedError":  # TensorFlow may not be imported
            raise
        first_line = str(error).strip().partition("\n")[0]
        hint = "ask for more: --set resources.memory_gb=N"
        raise OutOfMemory("out of memory: {}".format(first_line), hint) from error
    run_dir.heartbeat(phase="writing")
    outcome = write_outcome(run_dir, spec, names, blocks, engine)
    if not outcome.images:
        blocks.remove()  # the folder is listed anew when it has been put right
        raise DataError(*_nothing_usable(spec, names, outcome))
    run_dir.write_result(_result(spec, outcome, engine))
    blocks.remove()
    run_dir.heartbeat(phase="done")


def _files(spec: PredictSpec, blocks: Blocks) -> List[str]:
    """The files, as the first attempt lists them."""
    names = blocks.files()
    if names is not None:
        return names
    try:
        names = list_files(spec.folder)
    except OSError as error:
        raise DataError("{}: cannot be read: {}".format(spec.folder, error.strerror or error))
    if not names:
        raise DataError("{}: holds no files; expected images to predict".format(spec.folder))
    blocks.keep_files(names)
    say("{:,} files in {}".format(len(names), spec.folder))
    return names


def _predict_blocks(spec: PredictSpec, run_dir: RunDir, blocks: Blocks, engine: Engine) -> None:
    """Predict and save one block after the other, from the first that is not saved."""
    from hpcdl.trainer.dataset.looks import looks

    total = engine.stream.files
    first = blocks.done()
    done = min(total, first * spec.block_images)
    if first:
        say("{:,} of {:,} files are done already".format(done, total))
    run_dir.heartbeat(phase="predicting", step=done, saved_images=done)
    started = last_line_s = time.perf_counter()
    slowest_s = 0.0
    for number, block in engine.stream.blocks(first):
        probabilities = np.empty((0, len(spec.classes)), np.float32)
        if block.rows:
            probabilities = engine.models(block.images)
            _require_probabilities(probabilities)
        now = time.perf_counter()
        answers = Answers(
            np.array(block.rows, np.int64),
            probabilities,
            looks(block.images),
            block.notes,
            block.unusable,
            now - started,
        )
        blocks.save(number, answers)
        slowest_s = max(slowest_s, now - started)
        started = now
        done = min(total, (number + 1) * spec.block_images)
        run_dir.heartbeat(step=done, saved_images=done, slowest_save_s=slowest_s)
        if now - last_line_s > _PROGRESS_S:
            last_line_s = now
            say("{:,} of {:,} files are done".format(done, total))
        if done < total and run_dir.stop_requested():
            run_dir.heartbeat(phase="stopping")  # at once: it shows what is saved
            raise Stopped("stopped: {:,} of {:,} files are done, and saved".format(done, total))


def _require_probabilities(probabilities: Any) -> None:
    """Raise `UserCodeError` if the values of an image do not add up to 1."""
    sums = probabilities.sum(axis=1)
    if (np.abs(sums - 1) < _TOLERANCE).all() and (probabilities >= 0).all():
        return
    raise UserCodeError(
        "the model's output is not a probability for each class: the values of an image "
        "add up to {:.4g}; expected 1".format(float(sums[np.argmax(np.abs(sums - 1))])),
        "let it end with a softmax, or set model.output: logits, and train again",
    )


def _nothing_usable(spec: PredictSpec, names: List[str], outcome: Outcome) -> List[str]:
    message = "{}: none of its {:,} files can be predicted; the first, {}: {}".format(
        spec.folder, len(names), *outcome.first_unusable
    )
    return [message, "unusable.csv in the run's folder has the reason of each file"]


def _result(spec: PredictSpec, outcome: Outcome, engine: Engine) -> Dict[str, Any]:
    """The content of result.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "state": "done",
        "name": spec.name,
        "images": outcome.images,
        "unusable": outcome.unusable,
        "images_per_s": round(outcome.images / max(outcome.seconds, 1e-9), 2),
        "folder": spec.folder,
        "runs": [member.run for member in spec.members],
        "classes": spec.classes,
        "confidence": outcome.confidence,
        "answers": outcome.answers,
        "explain": outcome.explain,
        "engine": engine.name,
        "devices": dict(
            engine.devices, cuda_visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES")
        ),
        "versions": engine.versions,
    }
