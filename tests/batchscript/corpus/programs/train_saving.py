"""Trains for long, and goes on where it was when it is started again."""

import argparse

import numpy as np
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--backup", default="backup")
arguments = parser.parse_args()

images = np.random.default_rng(0).random((256, 32, 32, 3), dtype=np.float32)
labels = np.arange(256) % 10

model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(10)])
model.compile(
    optimizer="adam", loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
backup = tf.keras.callbacks.BackupAndRestore(arguments.backup)
model.fit(images, labels, epochs=arguments.epochs, callbacks=[backup])
model.save("last.keras")
