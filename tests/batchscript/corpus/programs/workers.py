"""One process on each node trains the same model."""

import numpy as np
import tensorflow as tf

resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
with strategy.scope():
    model = tf.keras.Sequential([tf.keras.layers.Dense(10)])
    model.compile(optimizer="adam", loss="mse")

rows = np.random.default_rng(0).random((1024, 16), dtype=np.float32)
model.fit(rows, rows[:, :10], batch_size=128, epochs=3)
