"""What is served: the mean of trained models as a graph that decodes images as training did."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Sequence, Tuple

import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.dataset.decode import decode
from hpcdl.trainer.dataset.load import Dataset
from hpcdl.trainer.dataset.source import fitted
from hpcdl.trainer.export.members import Member
from hpcdl.trainer.model.own_code import own_code

_SCALE = 1 / 255  # as `Part.scale` of a set of uint8 images


class Intake(NamedTuple):
    """How the images of a data set became those that the models take.

    shape: (height, width, channels) of the latter.
    stored_channels: of the images in the set.
    rounds: whether a resized image was rounded to whole grey levels: files are, arrays are not.
    """

    shape: Tuple[int, ...]
    stored_channels: int
    rounds: bool

    @property
    def decodes(self) -> bool:
        """Whether JPEG and PNG files can be turned into such images."""
        return self.stored_channels in (1, 3)


def intake_of(dataset: Dataset) -> Intake:
    """The intake of the models that were trained on a data set."""
    stored = tuple(dataset.test.images.shape[1:])
    shape = tuple(dataset.image_shape)
    return Intake(shape, stored[2], dataset.test.reader is not None and stored == shape)


class Served(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """Trained models as one graph: their mean probabilities.

    Only the variables are tracked. With a model of Keras 3 as an attribute, TensorFlow would save
    each variable twice.

    Args:
        members: one model or several.
        intake: how images were read in training.
        class_names: by class number.
    """

    def __init__(
        self, members: Sequence[Member], intake: Intake, class_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.intake = intake
        self.kept = _variables(members)
        self._mean = _mean_of(members)  # a function, which nothing tracks
        self._names = tf.constant(list(class_names))

    def probabilities(self, images: Any) -> Any:
        """float32 (rows, classes) of float32 images in [0, 1]."""
        return self._mean(images)

    def single(self) -> Any:
        """A concrete function of ``images``, one float32 image in [0, 1], to ``probabilities``."""
        spec = tf.TensorSpec([1, *self.intake.shape], tf.float32, "images")

        def named(images: Any) -> Dict[str, Any]:
            return {"probabilities": self.probabilities(images)}

        return tf.function(named, input_signature=[spec]).get_concrete_function()

    def signatures(self) -> Dict[str, Any]:
        """What a SavedModel serves, by name.

        ``serving_default`` takes ``image_bytes``, the content of JPEG or PNG files; ``pixels``
        takes ``images``, uint8. Both give ``probabilities``, ``label`` and ``confidence``. Without
        a decoder for the set's channels, ``serving_default`` takes pixels, too.
        """
        images = tf.TensorSpec([None, *self.intake.shape], tf.uint8, "images")
        pixels = tf.function(self._of_pixels, input_signature=[images]).get_concrete_function()
        if not self.intake.decodes:
            return {"serving_default": pixels, "pixels": pixels}
        content = tf.TensorSpec([None], tf.string, "image_bytes")
        of_files = tf.function(self._of_files, input_signature=[content])
        return {"serving_default": of_files.get_concrete_function(), "pixels": pixels}

    def _of_pixels(self, images: Any) -> Dict[str, Any]:
        return self._answer(tf.cast(images, tf.float32) * _SCALE)

    def _of_files(self, image_bytes: Any) -> Dict[str, Any]:
        spec = tf.TensorSpec(self.intake.shape, tf.float32)
        return self._answer(tf.map_fn(self._decoded, image_bytes, fn_output_signature=spec))

    def _decoded(self, content: Any) -> Any:
        """One file as a float32 image in [0, 1]. EXIF's orientation cannot be read in a graph."""
        shape = self.intake.shape
        if self.intake.rounds:
            return tf.cast(decode(content, None, shape), tf.float32) * _SCALE
        stored: Any = (None, None, self.intake.stored_channels)
        image = tf.cast(decode(content, None, stored, resizes=False), tf.float32) * _SCALE
        return tf.ensure_shape(fitted(image[None], shape)[0], shape)

    def _answer(self, images: Any) -> Dict[str, Any]:
        probabilities = self.probabilities(images)
        return {
            "probabilities": probabilities,
            "label": tf.gather(self._names, tf.argmax(probabilities, axis=1)),
            "confidence": tf.reduce_max(probabilities, axis=1),
        }


def _variables(members: Sequence[Member]) -> Any:
    return [
        compat.tensorflow_variable(variable)
        for member in members
        for variable in member.model.variables
    ]


def _mean_of(members: Sequence[Member]) -> Callable[[Any], Any]:
    """A function from images to the mean of the members' probabilities."""

    def mean(images: Any) -> Any:
        each = []
        for member in members:
            with own_code(member.code):  # a layer may import when it is called
                outputs = tf.cast(member.model(images, training=False), tf.float32)
            each.append(tf.nn.softmax(outputs) if member.gives_logits else outputs)
        if len(each) == 1:  # bit for bit what the model gives
            return each[0]
        total = each[0]
        for probabilities in each[1:]:  # not add_n, which few programs for small devices have
            total += probabilities
        return total / len(each)

    return mean
