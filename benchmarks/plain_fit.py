"""The course's plain Keras training of the two MNIST models: what fit.py compares hpcdl with. Python 3.8 syntax."""

import json
import sys
import time

import numpy as np
import tensorflow as tf

layers = tf.keras.layers
MODELS = {
    "mnist_cnn": (
        (28, 28, 1),
        [
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
        ],
        tf.keras.optimizers.SGD(0.01),
    ),
    "mnist_mlp": (
        (784,),
        [layers.Dense(500, activation="relu") for _ in range(3)],
        tf.keras.optimizers.Adam(0.001),
    ),
}


def main(name: str, data: str, epochs: int, result: str) -> None:
    shape, hidden, optimizer = MODELS[name]
    with np.load(data) as arrays:
        x_train = arrays["x_train"].reshape((-1, *shape)).astype("float32") / 255
        y_train = arrays["y_train"]
        x_test = arrays["x_test"].reshape((-1, *shape)).astype("float32") / 255
        y_test = arrays["y_test"]
    model = tf.keras.Sequential(
        [layers.Input(shape), *hidden, layers.Dense(10, activation="softmax")]
    )
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    begins, ends = [], []
    clock = tf.keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begins.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()),
    )
    started = time.perf_counter()
    model.fit(x_train, y_train, batch_size=100, epochs=epochs, verbose=2, callbacks=[clock])
    fit_s = time.perf_counter() - started
    accuracy = float(model.evaluate(x_test, y_test, verbose=0)[1])
    with open(result, "w") as file:
        epochs_s = np.subtract(ends, begins).tolist()
        json.dump({"fit_s": fit_s, "epochs_s": epochs_s, "accuracy": accuracy}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
