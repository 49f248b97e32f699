"""The training on several nodes that nodes_start.py compares hpcdl with, as one writes it by hand. Python 3.8 syntax.

    srun python plain_workers.py DATA.npz SPOKE HOST:PORT...

One worker for each address; SPOKE gets the time of the end of the first step, from worker 0.
"""

import json
import os
import sys
import time

import numpy as np

data, spoke, addresses = sys.argv[1], sys.argv[2], sys.argv[3:]
rank = int(os.environ["SLURM_PROCID"])
os.environ["TF_CONFIG"] = json.dumps(
    {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
)
import tensorflow as tf  # noqa: E402 - it reads TF_CONFIG

BATCH_ROWS = 100
layers = tf.keras.layers


def main() -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with np.load(data) as arrays:
        images = arrays["x_train"][..., np.newaxis].astype("float32") / 255
        labels = arrays["y_train"].astype("int32")
    with strategy.scope():
        model = tf.keras.Sequential(
            [
                layers.Input((28, 28, 1)),
                layers.Conv2D(32, 5, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 5, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(10, activation="softmax"),
            ]
        )
        optimizer = tf.keras.optimizers.SGD(0.01)
        optimizer.build(model.trainable_variables)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=0)
    batches = batches.batch(BATCH_ROWS, drop_remainder=True).repeat()
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    feed = iter(strategy.experimental_distribute_dataset(batches.with_options(options)))

    def of_replica(batch):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            answers = model(batch[0], training=True)
            losses = tf.keras.losses.sparse_categorical_crossentropy(batch[1], answers)
            loss = tf.reduce_sum(losses) / BATCH_ROWS
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))  # noqa: B905 - Python 3.9
        return loss

    step = tf.function(lambda batch: strategy.run(of_replica, args=(batch,)))
    float(step(next(feed)))
    if rank == 0:
        with open(spoke + ".aside", "w") as file:
            file.write(str(time.time()))
        os.replace(spoke + ".aside", spoke)
    for _ in range(3):  # the other worker has its first step, too
        float(step(next(feed)))


if __name__ == "__main__":
    main()
