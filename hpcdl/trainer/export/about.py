"""model.json: what every program that uses an exported model must know."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy as np

from hpcdl.contract.version import __version__
from hpcdl.trainer.export.served import Intake

_COLORS = {1: "grey", 3: "rgb"}


def about_model(
    name: str,
    version: int,
    runs: Sequence[str],
    intake: Intake,
    class_names: Sequence[str],
) -> Dict[str, Any]:
    """The content of model.json, without ``test``.

    Keys:
        ``name``: the job's. ``version``: of what is served, seconds since 1970 at the run's end.
        ``runs``: the ids of the runs whose models these are; several: their mean.
        ``shape``: [height, width, channels] of the images that the model takes.
        ``channels``: grey, rgb, or null for another number of them.
        ``stored_channels``: of the images of the training set. If it is 1 and ``shape`` has 3
        channels, the model saw grey images as three equal channels: make an image grey first.
        If it is 3 and ``shape`` has 1, ``tf.image.rgb_to_grayscale`` made them grey.
        ``range``: [black, white] of float images; uint8 pixels times 1/255 are in it.
        ``resize``: how an image of another size becomes one of these, as TensorFlow's
        ``tf.image.resize`` has it: ``method``, ``antialias``, and ``rounded``, whether the result
        is rounded to whole grey levels.
        ``class_names``: by class number, as text.
        ``test``: ``rows``, ``accuracy`` and ``confidence``, the mean of the largest probability,
        of the trained model on the test part; null if its answers are not known.
        ``hpcdl``: the version that wrote the file.
    """
    return {
        "schema_version": 1,
        "name": name,
        "version": version,
        "runs": list(runs),
        "shape": list(intake.shape),
        "channels": _COLORS.get(intake.shape[2]),
        "stored_channels": intake.stored_channels,
        "range": [0, 1],
        "resize": {"method": "bilinear", "antialias": True, "rounded": intake.rounds},
        "class_names": list(class_names),
        "test": None,
        "hpcdl": __version__,
    }


def about_test(labels: Any, probabilities: Any) -> Dict[str, Any]:
    """``test`` of model.json.

    Args:
        labels: int32 (rows,).
        probabilities: float32 (rows, classes), of the trained model.
    """
    return {
        "rows": len(labels),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "confidence": float(np.mean(probabilities.max(axis=1), dtype=np.float64)),
    }


def names_of(class_names: Sequence[str], classes: int) -> List[str]:
    """The name of each class; its number where the set has no names."""
    if class_names:
        return [str(name) for name in class_names]
    return [str(number) for number in range(classes)]
