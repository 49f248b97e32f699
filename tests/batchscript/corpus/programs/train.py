"""Trains on random images; keeps nothing before its end."""

import argparse

import numpy as np
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--data")
parser.add_argument("--out", default="model.keras")
arguments = parser.parse_args()

rng = np.random.default_rng(arguments.seed)
images = rng.random((256, 32, 32, 3), dtype=np.float32)
labels = rng.integers(0, 10, 256)

model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(10)])
model.compile(
    optimizer=tf.keras.optimizers.SGD(arguments.lr),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(images, labels, epochs=arguments.epochs)
model.save(arguments.out)
