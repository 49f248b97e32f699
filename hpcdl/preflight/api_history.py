"""When names came to TensorFlow, Keras and numpy, or left them, and what to use instead.

Sources: https://github.com/tensorflow/tensorflow/releases (2.16), https://keras.io/keras_3,
the tags of https://github.com/keras-team/keras,
https://numpy.org/doc/stable/release/1.24.0-notes.html,
https://numpy.org/doc/stable/numpy_2_0_migration_guide.html
"""

from __future__ import annotations

_KERAS_3 = "Keras 3 (TensorFlow 2.16)"
# Names of `keras` and of `tensorflow.keras` that left with Keras 3, with what tf.keras has instead
_LEFT_WITH_KERAS_3 = {
    "utils.np_utils": "utils",
    "utils.generic_utils": "utils",
    "utils.multi_gpu_model": "Model with tf.distribute",
    "layers.core": "layers",
    "layers.convolutional": "layers",
    "layers.pooling": "layers",
    "layers.recurrent": "layers",
    "layers.normalization": "layers",
    "layers.embeddings": "layers",
    "layers.merge": "layers",
    "layers.advanced_activations": "layers",
    "layers.CuDNNLSTM": "layers.LSTM",
    "layers.CuDNNGRU": "layers.GRU",
    "engine": "layers and tf.keras.models",
    "wrappers.scikit_learn": "wrappers, and the package scikeras",
    "objectives": "losses",
    "losses.Reduction": "losses: reduction takes a text",
}
_LEFT_PREPROCESSING = ("image.ImageDataGenerator", "text", "sequence.TimeseriesGenerator")
_LEFT_TENSORFLOW_1 = ("placeholder", "Session", "global_variables_initializer", "app", "flags")
_HISTORY = {
    "tensorflow.keras.optimizers.Lion": "it came with TensorFlow 2.13",
    "tensorflow.keras.wrappers": "it left with TensorFlow 2.13",
    "tensorflow.contrib": "it left with TensorFlow 2.0; TensorFlow Addons has some of it",
    "tensorflow.examples": "it left with TensorFlow 2.0; see tf.keras.datasets",
    "tensorflow.estimator": "it left with TensorFlow 2.16",
    "tensorflow.keras.ops": f"it came with {_KERAS_3}",
    "tensorflow.keras.random": f"it came with {_KERAS_3}",
    "tensorflow.keras.layers.experimental": f"it left with {_KERAS_3}; see tf.keras.layers",
    "keras.ops": f"it came with {_KERAS_3}",
    "keras.random": f"it came with {_KERAS_3}",
    "numpy.bool": "it left with numpy 1.24 and came back with 2.0; see bool",
}
for _name in _LEFT_TENSORFLOW_1:
    _HISTORY[f"tensorflow.{_name}"] = f"it left with TensorFlow 2.0; see tf.compat.v1.{_name}"
for _name, _instead in _LEFT_WITH_KERAS_3.items():
    for _root in ("keras", "tensorflow.keras"):
        _HISTORY[f"{_root}.{_name}"] = f"it left with Keras 3; see tf.keras.{_instead}"
for _name in _LEFT_PREPROCESSING:
    _new_name = f"tf.keras.preprocessing.{_name}"
    _HISTORY[f"keras.preprocessing.{_name}"] = f"it left keras with Keras 3; see {_new_name}"
for _name in ("float", "int", "object", "complex", "str"):
    _HISTORY[f"numpy.{_name}"] = f"it left with numpy 1.24; see {_name}"
for _name in ("float_", "unicode_", "Inf", "NaN", "infty", "product"):
    _HISTORY[f"numpy.{_name}"] = "it left with numpy 2.0"


def history(name: str) -> str:
    """With which version a name came or left, in words; "" if that is not known."""
    beginnings = [listed for listed in _HISTORY if f"{name}.".startswith(f"{listed}.")]
    return _HISTORY[max(beginnings, key=len)] if beginnings else ""
