"""The kinds that a trained model is exported as: their names, and the file or folder of each.

`hpcdl.trainer.export.kinds` makes them. A new kind needs a row here and a maker there.
"""

from __future__ import annotations

import difflib
from typing import Dict, Iterator, List, Sequence, Tuple

TABLE = "export.json"  # a row for each kind, with what was measured
ABOUT = "model.json"  # what every program that uses the model must know

# By name: the file or folder in the folder of exports
FILES: Dict[str, str] = {
    "serving": "serving",
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "dynamic": "model.dynamic.tflite",
    "float16": "model.float16.tflite",
    "int8": "model.int8.tflite",
    "int16x8": "model.int16x8.tflite",
    "keras": "model.keras",
    "h5": "model.h5",
    "onnx": "model.onnx",
    "page": "model.html",
}
# What is measured on training images before it is made
CALIBRATED = ("int8", "int16x8")


def kind_problems(kinds: Sequence[str]) -> Iterator[Tuple[int, str, str]]:
    """What is wrong with a list of kinds.

    Returns:
        (place in the list, what was expected there, a hint to add to the message).
    """
    seen: List[str] = []
    for place, kind in enumerate(kinds):
        if kind not in FILES:
            yield place, "one of {}".format(", ".join(FILES)), _did_you_mean(kind)
        elif kind in seen:
            yield place, "each kind once", ""
        seen.append(kind)


def _did_you_mean(kind: str) -> str:
    name = kind.strip().lower().replace("-", "_").replace(" ", "_")
    close = difflib.get_close_matches(_OTHER_NAMES.get(name, name), FILES, n=1, cutoff=0.6)
    return "; did you mean {}?".format(close[0]) if close else ""


# What people call them elsewhere
_OTHER_NAMES = {
    "html": "page",
    "web": "page",
    "lite": "tflite",
    "litert": "tflite",
    "float32": "tflite",
    "fp16": "float16",
    "half": "float16",
    "quantized": "int8",
    "uint8": "int8",
    "savedmodel": "saved_model",
    "tf": "saved_model",
    "hdf5": "h5",
    "tfserving": "serving",
    "tf_serving": "serving",
}
