"""Saves the trained model, and says what is in result.json."""

from __future__ import annotations

import shutil
from typing import Any, Dict, Optional

from hpcdl.contract import run_files
from hpcdl.contract.model_facts import describe_tested, describe_use
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.fit.pruning import sparsity_of, sparsity_warnings
from hpcdl.trainer.model.model_file import Trained, save_model
from hpcdl.trainer.result import Outcome, result_of
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session
from hpcdl.trainer.stages.building import RunModel, compile_in_scope
from hpcdl.trainer.stages.fitting import Fitted
from hpcdl.trainer.stages.inputs import Inputs
from hpcdl.trainer.stages.testing import Tested


def save(
    session: Session, model: RunModel, inputs: Inputs, fitted: Fitted, tested: Tested
) -> Dict[str, Any]:
    """Save the model; returns the content of result.json, or nothing if worker 0 writes it."""
    run, dataset = session.run, session.dataset
    session.run_dir.heartbeat(phase="saving")
    if model.trained is not model.whole:  # the head alone was compiled
        compile_in_scope(session, model.whole)
    trained = Trained(
        model.whole,
        session.strategy,
        dataset.image_shape,
        dataset.train.scale,
        model.compiled_by_user,
    )

    with session.timed("save_s"):
        saved = _save_model(session, trained)
    if not session.together.first:
        return {}  # worker 0 alone has the metrics of all epochs
    rows = {part: len(indices) for part, indices in inputs.rows._asdict().items()}
    result = result_of(session, Outcome(model.whole, saved, rows, tested.metrics, fitted.state))
    say(describe_use(saved, dataset.classes))
    say(describe_tested(result))
    result["test"].update(tested.more)
    result["precision"] = inputs.precision
    result["jit"] = run.train.jit == "on"
    result["balance"] = inputs.balance.about()
    result["warnings"] = [*dataset.warnings, *model.warnings]
    if run.train.prune is not None:
        result["prune"] = sparsity_of(model.trained)
        result["warnings"] += sparsity_warnings(result["prune"])
    return result


def _save_model(session: Session, trained: Trained) -> Dict[str, Any]:
    """Save the model, again and again if need be; returns what the result says about it.

    All workers save it, for in Keras 2 that reads averages over all replicas. Workers other than
    the first save it into a folder of their own, and remove it.
    """
    run_dir, together = session.run_dir, session.together

    def write() -> Dict[str, Any]:
        problem: Optional[OSError] = None
        saved: Dict[str, Any] = {}
        try:
            saved = save_model(session.run, run_dir, trained)
        except OSError as error:
            problem = error
        if together.any_says(problem is not None):  # then all of them try again
            raise problem or OSError("another worker could not write it")
        return saved

    saved = keep_trying("the model", write)
    if not together.first:
        shutil.rmtree(run_dir.path(run_files.MODEL), ignore_errors=True)
    return saved
