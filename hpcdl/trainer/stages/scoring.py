"""Scores a model on some rows of a data set."""

from __future__ import annotations

from typing import Any, Callable, Dict

from hpcdl.trainer.fit.evaluation import Evaluator
from hpcdl.trainer.model import models
from hpcdl.trainer.session import Session
from hpcdl.trainer.stages.building import RunModel


def scorer(
    session: Session, model: RunModel, source: Any, rows: Any
) -> Callable[[], Dict[str, float]]:
    """A function that scores the model on these rows: metrics by name, empty without rows."""
    if not len(rows):
        return dict
    evaluator = Evaluator(model.trained, session.strategy, source, session.scoring_rows)

    def score() -> Dict[str, float]:
        with models.blame_user_code(session.run.model, "failed in evaluation"):
            return evaluator(rows, session.run_dir.heartbeat)

    return score
