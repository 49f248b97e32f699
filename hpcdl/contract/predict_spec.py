"""predict.json: what the host asks of a prediction, and the trainer reads in the container."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, List

from hpcdl.contract.settings import SpecError

BLOCK_IMAGES = 128  # so many are lost at most when a run is killed


@dataclass(frozen=True)
class Member:
    """One model of a prediction: that of a run which is done.

    Args:
        run: the run's folder.
        file: the saved model, in that folder.
        shape: (height, width, channels) of the images that it takes.
        white: the value that it takes for white; black is 0.
        output: ``softmax`` or ``logits``.
        user: the folder of the user's files, as they were frozen with the run.
        needs: those of them that are needed to load it; installed packages by their names.
        weights_only: whether the file holds its weights alone.
        safe_mode: whether Keras may refuse the Python code of Lambda layers.
        lite: the model for TensorFlow Lite in that folder, in float32, if its answers were measured
            to be the saved model's; else empty.
    """

    run: str
    file: str
    shape: List[int]
    white: float
    output: str = "softmax"
    user: str = ""
    needs: List[str] = field(default_factory=list)
    weights_only: bool = False
    safe_mode: bool = True
    lite: str = ""


@dataclass(frozen=True)
class PredictSpec:
    """One prediction: the models, whose mean counts, and the images.

    Args:
        name: the run's.
        folder: the images', which may lie in folders below it.
        classes: the names of the classes, by number.
        members: the models.
        gpus: 0 or 1.
        emulate_gpus: whether a CPU device stands in for the GPU.
        block_images: so many files are read between two saves.
        hpcdl_version: of the host that wrote this.
    """

    name: str
    folder: str
    classes: List[str]
    members: List[Member]
    gpus: int = 0
    emulate_gpus: bool = False
    block_images: int = BLOCK_IMAGES
    hpcdl_version: str = ""

    def to_json(self) -> str:
        """The content of predict.json."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PredictSpec:
        """Read predict.json.

        Raises:
            SpecError: it is not one, or lacks a key.
        """
        try:
            content = json.loads(text)
            content["members"] = [_filled(Member, member) for member in content["members"]]
            spec: PredictSpec = _filled(cls, content)
        except (ValueError, TypeError, KeyError) as error:
            raise SpecError("predict.json cannot be used: {!r}; predict again".format(error))
        if not spec.members:
            raise SpecError("predict.json names no model; predict again")
        return spec


def _filled(cls: Any, content: Dict[str, Any]) -> Any:
    """A record from the keys that it knows; newer versions of hpcdl may write more."""
    known = {each.name for each in fields(cls)}
    return cls(**{key: value for key, value in content.items() if key in known})
