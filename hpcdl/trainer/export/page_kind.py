"""A page as one of the kinds that a run exports: it shows test images, and is measured."""

from __future__ import annotations

import json
from typing import Any, Callable

import numpy as np

from hpcdl.trainer.export.lite import LiteModel
from hpcdl.trainer.export.measure import TestImages
from hpcdl.trainer.export.page import Tested, write_page
from hpcdl.trainer.export.page_letters import ENCODING
from hpcdl.trainer.export.page_text import model_in

_ROWS = 200  # test images on which the page is compared with the trained model
_LARGE_BYTES = 30_000_000  # of a model: fewer images then, for a call takes long
_FEW_ROWS = 20


def make_page(tflite: bytes, about: str, test: TestImages, known: Any, path: str) -> None:
    """Write the page.

    Args:
        tflite: the model as a float32 file.
        about: the path of model.json.
        test: images, and what the trained model said of them.
        known: uint8 images of the train part.
        path: of the page.

    Raises:
        NotExported: the page cannot run the model.
    """
    with open(about, encoding="utf-8") as file:
        described = json.load(file)
    few = test.first(_FEW_ROWS if len(tflite) > _LARGE_BYTES else _ROWS)
    images = np.rint(few.images * 255).astype(np.uint8)
    trained = few.trained
    if not described["resize"]["rounded"]:  # the trained model saw finer levels than a page has
        trained = _run(tflite, images.astype(np.float32) / np.float32(255))
    write_page(path, tflite, described, Tested(images, few.labels, trained, known), _run)


def page_model(path: str) -> Callable[[Any], Any]:
    """The model in a page, run by TensorFlow Lite: what the page's own program computes as well."""
    with open(path, encoding=ENCODING) as file:
        return LiteModel(None, model_in(file.read()))


def _run(content: bytes, images: Any) -> Any:
    model = LiteModel(None, content)
    return np.stack([model(image) for image in images])
