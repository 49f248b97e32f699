"""How much a rounding error in each weight of a .tflite file changes the answers.

An error e in the weights of one row (the weights of one sum) changes the answers' square by about
``rows[row] * e @ columns @ e``: K-FAC's form of the Gauss-Newton matrix
(https://arxiv.org/abs/1503.05671), with the mean size of each layer measured from the gradients of
whole images.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional

import numpy as np

from hpcdl.trainer.export.lite_file import LiteFile
from hpcdl.trainer.export.lite_gradient import (
    DEPTHWISE,
    Layer,
    LiteGraph,
    NoGradientError,
    gradients,
)
from hpcdl.trainer.runtime.log import say

_IMAGES = 200  # whose products of columns are added; a thousand columns need that many
# The first of them. With 80, MobileNetV2's page differed by 0.0010 instead of 0.0008
_WITH_GRADIENTS = 200
_BATCH = 10
_MOST_PLACES = 4000  # of a batch, whose products are added
_MOST_COLUMNS = 1500  # of a matrix; a row of more weights has a diagonal one
_ROUNDED_WITHOUT = (
    "page: the gradients of {} are not known here: each weight is rounded in proportion to its "
    "row's largest, and the page may differ more from the trained model; it says by how much"
)
_LEAST = 1e-3  # of a layer's mean: images of other kinds use what these do not


class Errors(NamedTuple):
    """rows: (rows,); columns: (columns, columns), or its diagonal; see the module."""

    rows: Any
    columns: Any


def errors_of_weights(content: bytes, images: Any) -> Optional[Dict[int, Errors]]:
    """What errors in each layer do, by the number of the weights' tensor.

    Args:
        content: the .tflite file.
        images: float32 (rows, height, width, channels) in [0, 1], of the kind that the model knows.

    Returns:
        None where the file has an operation whose gradient is not known; the log says which.
    """
    graph, file = LiteGraph(content), LiteFile(content)
    classes = file.shape(file.outputs[0])[-1]
    random = np.random.default_rng(0)
    sums: Dict[int, Any] = {}
    images = images[:_IMAGES]
    for first in range(0, len(images), _BATCH):
        part = images[first : first + _BATCH]
        signs = random.choice([-1.0, 1.0], (len(part), classes)).astype(np.float32)
        signs -= signs.mean(axis=1, keepdims=True)  # the same to all answers changes nothing
        try:
            layers, slopes = gradients(graph, part, signs if first < _WITH_GRADIENTS else None)
        except NoGradientError as error:
            say(_ROUNDED_WITHOUT.format(error))
            return None
        for layer, slope in zip(layers, slopes):
            weights = layer.operation.inputs[1]
            measured = [_squares(layer, slope), _products(layer)]
            if weights in sums:
                measured = [before + more for before, more in zip(sums[weights], measured)]
            sums[weights] = measured
    return {weights: _errors(*measured) for weights, measured in sums.items()}


def _products(layer: Layer) -> Any:
    """Products of columns, or of each with itself, added over images and places."""
    if layer.operation.code == DEPTHWISE:
        return np.ones(1)
    patches = layer.patches.numpy()
    places = patches.reshape(-1, patches.shape[2])
    places = places[:: len(places) // _MOST_PLACES + 1]
    if places.shape[1] > _MOST_COLUMNS:
        return (places**2).sum(axis=0, dtype=float)
    return (places.T @ places).astype(float)


def _squares(layer: Layer, slopes: Any) -> Any:
    """The squares of each weight's gradient by an image, added for each row; 0: no gradients."""
    if slopes is None:
        return 0.0
    patches, slopes = layer.patches.numpy(), slopes.numpy()
    if layer.operation.code == DEPTHWISE:
        of_weights = np.einsum("npkc,npc->nkc", patches, slopes)
        return (of_weights**2).mean(axis=1).sum(axis=0, dtype=float)
    places, columns, rows = patches.shape[1], patches.shape[2], slopes.shape[2]
    if places * (columns + rows) < columns * rows:  # fewer products without the gradients
        alike = np.matmul(patches, patches.transpose(0, 2, 1))
        return (slopes * np.matmul(alike, slopes)).sum(axis=(0, 1)).astype(float)
    of_weights = np.matmul(slopes.transpose(0, 2, 1), patches)
    return np.einsum("nrc,nrc->r", of_weights, of_weights).astype(float)


def _errors(rows: Any, columns: Any) -> Errors:
    """With least values, and columns of mean 1."""
    rows = rows + _LEAST * rows.mean() + 1e-30
    diagonal = columns if columns.ndim == 1 else np.diag(columns)
    columns = columns / (diagonal.mean() + 1e-30)
    return Errors(rows / max(1, len(diagonal)), columns)
