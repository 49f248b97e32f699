"""The course's MNIST script: a CNN of 62,346 parameters, trained for five epochs with plain Keras.

It knows nothing of hpcdl: it reads mnist.npz from the folder of staged data, or
from the path given as its argument, and prints what it reached.
"""

import os
import sys

import numpy as np
import tensorflow as tf

path = (
    sys.argv[1]
    if len(sys.argv) > 1
    else os.path.join(os.environ.get("HPCDL_DATA_ROOT", "."), "mnist.npz")
)
with np.load(path) as data:
    x_train, y_train = data["x_train"][..., None] / np.float32(255), data["y_train"]
    x_test, y_test = data["x_test"][..., None] / np.float32(255), data["y_test"]

print("TensorFlow", tf.__version__, "sees", tf.config.list_physical_devices("GPU") or "no GPU")

model = tf.keras.Sequential(
    [
        tf.keras.layers.Input((28, 28, 1)),
        tf.keras.layers.Conv2D(32, 5, activation="relu"),
        tf.keras.layers.MaxPooling2D(),
        tf.keras.layers.Conv2D(64, 5, activation="relu"),
        tf.keras.layers.MaxPooling2D(),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.summary()
model.fit(x_train, y_train, batch_size=100, epochs=int(os.environ.get("EPOCHS", "5")), verbose=2)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy {accuracy:.4f}, loss {loss:.4f}")
