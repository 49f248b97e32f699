"""Grad-CAM: where the last layer that still has places speaks for the answer."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Tuple

import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.explain.answers import Answers

_FEWEST_PLACES = 6  # in each direction: maps of 3x3 did worse than chance where it was measured


class _Output(NamedTuple):
    """What a layer gave: (rows, height, width, channels)."""

    layer: str
    values: Any


def grad_cam(answers: Answers, model: Any, images: Any, classes: Any) -> Tuple[Any, str]:
    """Heat maps from the output of one layer, times its slope.

    The slope counts at each place by itself, as https://arxiv.org/abs/2011.08891 has it: the mean
    over all places of https://arxiv.org/abs/1610.02391 is wrong for a head that flattens, and the
    same for one that averages.

    The layers' calls are watched during one eager pass, so that nested networks need no other
    model: Keras 3 cannot make one from an input to an inner output.

    Args:
        answers: the model.
        model: the same, whose layers are watched.
        images: float32 (rows, height, width, channels) in [0, 1].
        classes: int32 (rows,).

    Returns:
        float32 (rows, height, width), and the layer's name.

    Raises:
        ValueError: no layer with weights gives an image.
    """
    outputs: List[_Output] = []
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)

        def note(layer: Any, _inputs: Any, values: Any) -> None:
            # Layers that only scale the images come before the first one with a kernel
            is_image = tf.is_tensor(values) and values.shape.rank == 4
            if is_image and (outputs or compat.has_kernel(layer)):
                tape.watch(values)
                outputs.append(_Output(layer.name, values))

        with compat.watched_calls(model, note):
            score = answers.score(images, classes)
    chosen = _chosen(outputs, images.shape)
    if chosen is None:
        raise ValueError("no layer with weights gives an image, which Grad-CAM needs")
    slope = tape.gradient(score, chosen.values)
    if slope is None:
        raise ValueError("the answer does not depend on layer {}".format(chosen.layer))
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(slope * chosen.values, tf.float32), -1, keepdims=True))
    heat = tf.image.resize(heat, images.shape[1:3])
    return heat[..., 0].numpy(), chosen.layer


def _chosen(outputs: List[_Output], shape: Any) -> Optional[_Output]:
    """The last output of a size that can be read; without one, the last with more than one place.

    Args:
        outputs: in the order of the pass.
        shape: (rows, height, width, channels) of the images.
    """
    last: Optional[_Output] = None
    for output in outputs:
        height, width = map(int, output.values.shape[1:3])  # known: the pass is an eager one
        is_image = min(height, width) > 1 and height <= shape[1] and width <= shape[2]
        is_fine = min(height, width) >= _FEWEST_PLACES
        if is_image and (is_fine or last is None or min(last.values.shape[1:3]) < _FEWEST_PLACES):
            last = output
    return last
