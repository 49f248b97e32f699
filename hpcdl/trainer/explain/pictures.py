"""Heat maps of the pictures in predictions.npz, if the run asks for them."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from hpcdl.trainer.dataset.source import Source
from hpcdl.trainer.explain.heat_maps import Asked, heat_maps
from hpcdl.trainer.session import Session


def explain_pictures(
    session: Session, model: Any, source: Source, arrays: Optional[Dict[str, Any]]
) -> Optional[Dict[str, Any]]:
    """Add ``heat_rows`` and ``heat`` to the arrays of predictions.npz: where the model looked.

    Args:
        session: the training.
        model: from images to classes.
        source: the test images.
        arrays: of predictions.npz, with the pictures; None if the model gives no probabilities.

    Returns:
        ``test.explain`` of result.json: ``method``, ``images`` (with a map), ``fall`` (of the
        answer's probability, where the hottest tenth is hidden; the mean), ``random_fall`` (where
        a random tenth is); where it applies ``left_out`` (images that there was no
        time for), ``layer``, ``gap``, and ``problem`` (why there are no maps). None if the run
        asks for none.
    """
    test = session.run.test
    method = test.method(among_many=bool(session.run.train.cross_validation))
    if method == "none":
        return None
    if arrays is None:
        if test.explain == "auto":
            return None  # the log has said that there are no predictions
        problem = "the model's output is not one probability per class"
        return {"method": method, "images": 0, "problem": problem}
    rows = np.concatenate([arrays["picture_rows"], arrays["unsure_rows"]])
    classes = arrays["probabilities"][rows].argmax(axis=1).astype(np.int32)
    height, width = arrays["pictures"].shape[1:3]
    made = heat_maps(session, method, model, source, Asked(rows, classes, height, width))
    arrays.update(made.arrays)
    return made.about
