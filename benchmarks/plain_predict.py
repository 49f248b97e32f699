"""Predicts a folder as most scripts do: MODEL FOLDER SIZE CSV."""

import csv
import sys

import tensorflow as tf

file, folder, size, table = sys.argv[1:]
images = tf.keras.utils.image_dataset_from_directory(
    folder, labels=None, shuffle=False, image_size=(int(size), int(size))
)
model = tf.keras.models.load_model(file, compile=False)
answers = model.predict(images, verbose=0)
with open(table, "w", newline="") as stream:
    writer = csv.writer(stream)
    for name, row in zip(images.file_paths, answers):  # noqa: B905 - Python 3.8
        writer.writerow([name, row.argmax(), row.max(), *row])
