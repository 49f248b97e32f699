"""Transfer learning as users write it: what transfer.py compares hpcdl with. Python 3.8 syntax."""

import json
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

SIDE, BATCH = 96, 32


def dataset(x: Any, y: Any, shuffled: bool = False) -> Any:
    """Images resized to 96x96, grey to RGB, as MobileNetV2 takes them."""

    def prepare(image: Any, label: Any) -> Any:
        image = tf.image.grayscale_to_rgb(tf.image.resize(image[..., tf.newaxis], [SIDE, SIDE]))
        return tf.keras.applications.mobilenet_v2.preprocess_input(image), label

    data = tf.data.Dataset.from_tensor_slices((x, y))
    if shuffled:
        data = data.shuffle(len(x))
    return (
        data.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )


def main(data: str, weights: str, epochs: int, result: str) -> None:
    with np.load(data) as arrays:
        x_train, y_train, x_test, y_test = (
            arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")
        )
    base = tf.keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3)
    )
    base.load_weights(weights)
    base.trainable = False
    layers = [
        base,
        tf.keras.layers.GlobalAveragePooling2D(),
        tf.keras.layers.Dense(10, activation="softmax"),
    ]
    model = tf.keras.Sequential(layers)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    begins, ends = [], []
    clock = tf.keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begins.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()),
    )
    started = time.perf_counter()
    model.fit(dataset(x_train, y_train, shuffled=True), epochs=epochs, verbose=2, callbacks=[clock])
    accuracy = float(model.evaluate(dataset(x_test, y_test), verbose=0)[1])
    whole_s = time.perf_counter() - started
    with open(result, "w") as file:
        json.dump(
            {
                "whole_s": whole_s,
                "epochs_s": np.subtract(ends, begins).tolist(),
                "accuracy": accuracy,
            },
            file,
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
