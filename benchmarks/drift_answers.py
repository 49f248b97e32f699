"""Trains small networks and notes how each of them sees images that twelve changes were made to.

python benchmarks/drift_answers.py DATA ANSWERS [NAME...]

DATA has mnist.npz, fashion-mnist/ (its four .gz files) and sign_digits/ (a folder for each class).
For each network ANSWERS/NAME.npz holds, by the name of a change, the model's probabilities and the
looks of all test images; `drift.py` reads them. A file that is there is not made again.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpcdl.trainer.dataset.looks import looks

Pixels = Any  # uint8 (rows, height, width, channels)
Classifier = Callable[[Pixels], Any]


@dataclass(frozen=True)
class Data:
    """Images of ten classes, and images of something else."""

    train: Pixels
    train_labels: Any
    test: Pixels
    test_labels: Any
    other: Pixels


def noisy(sigma: float) -> Callable[[Pixels], Pixels]:
    """Normal noise; sigma is a share of white."""

    def add(images: Pixels) -> Pixels:
        noise = np.random.default_rng(1).normal(0, 255 * sigma, images.shape)
        return np.clip(images + noise, 0, 255).astype(np.uint8)

    return add


def darker(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda images: (images * factor).astype(np.uint8)


def rotated(images: Pixels) -> Pixels:
    """By 15 degrees; what comes in from outside is black."""
    turned = np.empty_like(images)
    for row, image in enumerate(images):
        for channel in range(image.shape[-1]):
            plane = Image.fromarray(image[..., channel])
            turned[row, ..., channel] = plane.rotate(15, Image.Resampling.BILINEAR)
    return turned


def blurred(images: Pixels) -> Pixels:
    """The mean of 3x3 pixels."""
    height, width = images.shape[1:3]
    padded = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    total = np.zeros(images.shape, np.float32)
    for y in range(3):
        for x in range(3):
            total += padded[:, y : y + height, x : x + width]
    return (total / 9).astype(np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda images: images,
    "noise 0.05": noisy(0.05),
    "noise 0.2": noisy(0.2),
    "darker x0.8": darker(0.8),
    "darker x0.5": darker(0.5),
    "brighter +20": lambda images: np.minimum(images.astype(int) + 20, 255).astype(np.uint8),
    "shifted 2 px": lambda images: np.roll(images, (2, 2), axis=(1, 2)),
    "rotated 15": rotated,
    "blurred": blurred,
    "inverted": lambda images: 255 - images,
}


def mnist(folder: Path) -> Data:
    with np.load(folder / "mnist.npz") as data:
        train, test = data["x_train"][..., None], data["x_test"][..., None]
        return Data(train, data["y_train"], test, data["y_test"], _idx(folder, "t10k-images-idx3"))


def fashion(folder: Path) -> Data:
    with np.load(folder / "mnist.npz") as data:
        digits = data["x_test"][..., None]
    return Data(
        _idx(folder, "train-images-idx3"),
        _idx(folder, "train-labels-idx1"),
        _idx(folder, "t10k-images-idx3"),
        _idx(folder, "t10k-labels-idx1"),
        digits,
    )


def _idx(folder: Path, name: str) -> Any:
    with gzip.open(folder / "fashion-mnist" / f"{name}-ubyte.gz") as file:
        content = np.frombuffer(file.read(), np.uint8)
    if "labels" in name:
        return content[8:]
    return content[16:].reshape(-1, 28, 28, 1)


def hands(folder: Path) -> Data:
    """600 photos of hands, 40x40 pixels in colour; a half is the test. Digits are the others."""
    images, labels = [], []
    for label in range(10):
        for path in sorted((folder / "sign_digits" / str(label)).iterdir()):
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB").resize((40, 40))))
            labels.append(label)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels, classes = np.array(images)[order], np.array(labels)[order]
    with np.load(folder / "mnist.npz") as data:
        digits = np.pad(data["x_test"][:300], ((0, 0), (6, 6), (6, 6)))
    half = len(labels) // 2
    colour = np.repeat(digits[..., None], 3, axis=-1)
    return Data(pixels[:half], classes[:half], pixels[half:], classes[half:], colour)


def small_digits(folder: Path) -> Data:
    """1,797 digits of 8x8 pixels, which scikit-learn brings along; Fashion-MNIST is the other."""
    from sklearn.datasets import load_digits

    read = load_digits()
    order = np.random.default_rng(0).permutation(len(read.target))
    images = (read.images / 16 * 255).round().astype(np.uint8)[..., None][order]
    labels = read.target[order]
    clothes = _idx(folder, "t10k-images-idx3")[:1200, 2:26:3, 2:26:3]
    return Data(images[:597], labels[:597], images[597:], labels[597:], clothes)


def patches(folder: Path) -> Data:
    """Patches of 16x16 pixels of scikit-learn's two photos, in colour.

    The class is the photo, and in which fifth of its height the patch lies. Hands are the others.
    """
    from sklearn.datasets import load_sample_images

    images, labels = [], []
    for photo, picture in enumerate(load_sample_images().images):
        for y in range(0, picture.shape[0] - 15, 16):
            for x in range(0, picture.shape[1] - 15, 16):
                images.append(picture[y : y + 16, x : x + 16])
                labels.append(5 * photo + 5 * y // picture.shape[0])
    order = np.random.default_rng(0).permutation(len(labels))
    pixels, classes = np.array(images)[order], np.array(labels)[order]
    others = hands(folder)
    return Data(
        pixels[:800],
        classes[:800],
        pixels[800:],
        classes[800:],
        others.test[:, ::2, ::2][:, 2:18, 2:18],
    )


def keras_model(layers: Callable[[Any], list[Any]], epochs: int, **compiled: Any) -> Any:
    """A function that trains a network on data, and gives what it answers."""

    def train(data: Data) -> Classifier:
        import tensorflow as tf

        tf.keras.utils.set_random_seed(3)
        rescaling = tf.keras.layers.Rescaling(1 / 255)
        last = tf.keras.layers.Dense(10, activation="softmax")
        start = tf.keras.Input(data.train.shape[1:])
        model = tf.keras.Sequential([start, rescaling, *layers(tf.keras.layers), last])
        smoothing = compiled.get("label_smoothing", 0.0)
        model.compile(
            compiled.get("optimizer", "adam"),
            tf.keras.losses.CategoricalCrossentropy(label_smoothing=smoothing),
            metrics=["accuracy"],
        )
        targets = np.eye(10, dtype=np.float32)[data.train_labels]
        batch = min(100, len(targets) // 20)
        model.fit(data.train, targets, batch_size=batch, epochs=epochs, verbose=2)
        return lambda images: model.predict(images, batch_size=500, verbose=0)

    return train


def sklearn_model(data: Data) -> Classifier:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.5, max_iter=500)
    model.fit(data.train.reshape(len(data.train), -1) / 255.0, data.train_labels)
    return lambda images: model.predict_proba(images.reshape(len(images), -1) / 255.0)


def plain_cnn(keras: Any) -> list[Any]:
    """That of jobs/mnist_cnn.yaml."""
    return [
        keras.Conv2D(32, 5, activation="relu"), keras.MaxPooling2D(),
        keras.Conv2D(64, 5, activation="relu"), keras.MaxPooling2D(), keras.Flatten(),
    ]  # fmt: skip


def improved_cnn(keras: Any) -> list[Any]:
    """That of jobs/mnist_cnn_improved.yaml."""
    layers: list[Any] = []
    for filters in (32, 64):
        layers += [keras.Conv2D(filters, 5, use_bias=False), keras.BatchNormalization()]
        layers += [keras.ReLU(), keras.MaxPooling2D()]
    dense = [keras.Dense(64, activation="relu"), keras.Dropout(0.4)]
    return [*layers, keras.Flatten(), *dense]


def mlp(keras: Any) -> list[Any]:
    return [keras.Flatten(), keras.Dense(128, activation="relu")]


def dropout_mlp(keras: Any) -> list[Any]:
    dense = [keras.Dense(200, activation="relu"), keras.Dropout(0.3)]
    return [keras.Flatten(), *dense, keras.Dense(100, activation="relu"), keras.Dropout(0.3)]


def pooled_cnn(keras: Any) -> list[Any]:
    """3x3 convolutions, then the mean of all places."""
    layers: list[Any] = []
    for filters, stride in ((16, 2), (32, 1), (32, 2), (64, 1)):
        layers.append(keras.Conv2D(filters, 3, stride, padding="same", use_bias=False))
        layers += [keras.BatchNormalization(), keras.ReLU()]
    return [*layers, keras.GlobalAveragePooling2D()]


def hand_cnn(keras: Any) -> list[Any]:
    layers: list[Any] = []
    for filters in (16, 32, 64):
        layers += [keras.Conv2D(filters, 3, activation="relu"), keras.MaxPooling2D()]
    return [*layers, keras.Flatten(), keras.Dropout(0.4), keras.Dense(64, activation="relu")]


NETWORKS: dict[str, tuple[Callable[[Path], Data], Any]] = {
    "mnist_improved": (mnist, keras_model(improved_cnn, 3, label_smoothing=0.05)),
    "mnist_cnn": (mnist, keras_model(plain_cnn, 5, optimizer="sgd")),
    "fashion_cnn": (fashion, keras_model(plain_cnn, 2)),
    "mnist_mlp": (mnist, keras_model(mlp, 3)),
    "fashion_mlp": (fashion, keras_model(dropout_mlp, 3)),
    "mnist_pooled": (mnist, keras_model(pooled_cnn, 2)),
    "hands": (hands, keras_model(hand_cnn, 30)),
    "small_digits": (small_digits, sklearn_model),
    "patches": (patches, keras_model(plain_cnn, 15)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NETWORKS)}; all of them without")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    options.answers.mkdir(exist_ok=True)
    for name in options.names or NETWORKS:
        path = options.answers / f"{name}.npz"
        if not path.exists():
            read, train = NETWORKS[name]
            data = read(options.data)
            np.savez(path, **seen_by(train(data), data))
            print(f"{path} is there", flush=True)


def seen_by(classifier: Classifier, data: Data) -> dict[str, Any]:
    """The labels, and the probabilities and looks of each change."""
    arrays = {"labels": data.test_labels}
    changed = {name: change(data.test) for name, change in CHANGES.items()}
    for name, images in {**changed, "other": data.other}.items():
        arrays[f"{name}/probabilities"] = np.asarray(classifier(images), np.float32)
        arrays[f"{name}/looks"] = looks(images)
    return arrays


if __name__ == "__main__":
    main()
