"""Scores the trained model on the test rows, and looks at its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional

from hpcdl.trainer.explain.pictures import explain_pictures
from hpcdl.trainer.fit.predictions import Predictor, predicted, write_predictions
from hpcdl.trainer.fit.robustness import accuracy_under_attack
from hpcdl.trainer.model import models
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session
from hpcdl.trainer.stages.building import RunModel
from hpcdl.trainer.stages.fitting import Fitted
from hpcdl.trainer.stages.inputs import Inputs
from hpcdl.trainer.stages.scoring import scorer


@dataclass
class Tested:
    """What the test rows say: metrics by name, and what the section `test` of the run asks for."""

    metrics: Dict[str, float]
    more: Dict[str, Any]


def evaluate(session: Session, model: RunModel, inputs: Inputs, fitted: Fitted) -> Tested:
    """Score the model on the test rows, look at its answers, and write predictions.npz."""
    session.run_dir.heartbeat(phase="evaluating", epoch=fitted.epochs, step=fitted.state["step"])
    score = scorer(session, model, inputs.test, inputs.rows.test)
    with session.timed("evaluate_s"):
        metrics = score()
    values = "  ".join("{} {:.4f}".format(name, value) for name, value in metrics.items())
    seconds = session.timing["evaluate_s"]
    say("test  {}  {:,} rows  {:.1f} s".format(values, len(inputs.rows.test), seconds))
    with session.timed("predict_s"):
        arrays = _predict(session, model, inputs)
    more = {**_explain(session, model, inputs, arrays), **_attack(session, model, inputs)}
    if arrays is not None:
        write_predictions(session.run_dir, arrays)
    return Tested(metrics, more)


def _predict(session: Session, model: RunModel, inputs: Inputs) -> Optional[Dict[str, Any]]:
    """The probabilities that the model gives each test row, for `hpcdl report`."""
    run, dataset = session.run, session.dataset
    gives_logits = run.model.output == "logits"
    predictor = Predictor(
        model.trained, session.strategy, inputs.test, gives_logits, session.scoring_rows
    )
    with models.blame_user_code(run.model, "failed in prediction"):
        return predicted(
            predictor,
            inputs.test_images,
            dataset.test.labels,
            dataset.classes,
            session.run_dir,
            dataset.test.files(),
        )


def _explain(
    session: Session, model: RunModel, inputs: Inputs, arrays: Optional[Dict[str, Any]]
) -> Dict[str, Any]:
    """Add heat maps to the arrays of predictions.npz; returns what the result says of them."""
    with session.timed("explain_s"):
        about = explain_pictures(session, model.whole, inputs.test_images, arrays)
    if about is None:
        return {}
    if "problem" in about:
        model.warnings.append("test.explain: no heat maps: {}".format(about["problem"]))
    return {"explain": about}


def _attack(session: Session, model: RunModel, inputs: Inputs) -> Dict[str, Any]:
    """What the result says of the model under attack, if the run asks for it."""
    if not session.run.test.attack:
        return {}
    labels = session.dataset.test.labels
    with session.timed("attack_s"):
        about = accuracy_under_attack(session, model.whole, inputs.test_images, labels)
    if "problem" in about:
        model.warnings.append("test.attack: not measured: {}".format(about["problem"]))
    return {"attack": about}
