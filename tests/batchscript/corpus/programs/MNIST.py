"""A small network on MNIST, as a first course trains it."""

import numpy as np
import tensorflow as tf

with np.load("/gpfs/scratch/nct00/mnist.npz") as data:
    images, labels = data["x_train"] / 255.0, data["y_train"]

model = tf.keras.Sequential(
    [
        tf.keras.layers.Flatten(input_shape=(28, 28)),
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images, labels, batch_size=100, epochs=1)
