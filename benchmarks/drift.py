"""Does `hpcdl predict` see that images have changed, and is it silent when they have not?

python benchmarks/drift.py RUN --data mnist.npz --fashion t10k-images-idx3-ubyte.gz

RUN is a run of jobs/mnist_cnn_improved.yaml that is done. One half of the test images, at random,
is the test; twelve changes are made to the other half. The table has the model's accuracy and confidence,
and in how many of 100 draws of n images the change was seen, by the answers alone and with looks.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpcdl.report.drift import Drift, Sample, drift
from hpcdl.trainer.dataset.looks import looks

DRAWS = 100
QUIET_DRAWS = 300
Pixels = Any  # uint8 (rows, 28, 28, 1)


def noisy(sigma: float) -> Callable[[Pixels], Pixels]:
    """Normal noise; sigma is a share of white."""

    def add(images: Pixels) -> Pixels:
        noise = np.random.default_rng(1).normal(0, 255 * sigma, images.shape)
        return np.clip(images + noise, 0, 255).astype(np.uint8)

    return add


def darker(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda images: (images * factor).astype(np.uint8)


def each(change: Callable[[Any], Any]) -> Callable[[Pixels], Pixels]:
    """A change of Pillow images as one of arrays."""

    def apply(images: Pixels) -> Pixels:
        changed = [np.asarray(change(Image.fromarray(image[..., 0]))) for image in images]
        return np.array(changed)[..., None]

    return apply


def blurred(images: Pixels) -> Pixels:
    padded = np.pad(images[..., 0].astype(float), ((0, 0), (1, 1), (1, 1)))
    shifted = [padded[:, y : y + 28, x : x + 28] for y in range(3) for x in range(3)]
    return np.mean(shifted, axis=0).astype(np.uint8)[..., None]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda images: images,
    "noise 0.05": noisy(0.05),
    "noise 0.2": noisy(0.2),
    "darker x0.8": darker(0.8),
    "darker x0.5": darker(0.5),
    "brighter +20": lambda images: np.minimum(images.astype(int) + 20, 255).astype(np.uint8),
    "shifted 2 px": lambda images: np.roll(images, (2, 2), axis=(1, 2)),
    "rotated 15": each(lambda image: image.rotate(15, Image.Resampling.BILINEAR)),
    "blurred": blurred,
    "inverted": lambda images: 255 - images,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fashion", type=Path, required=True)
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    model = tf.keras.models.load_model(options.run / "model" / "model.keras")
    with np.load(options.data) as data:
        images, labels = data["x_test"][..., None], data["y_test"]
    with gzip.open(options.fashion) as file:
        fashion = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28, 1)

    def seen_by_model(pixels: Pixels) -> Sample:  # the saved model takes 0 to 255
        answers = model.predict(pixels.astype(np.float32), batch_size=500, verbose=0)
        return Sample(answers, looks(pixels))

    order = np.random.default_rng(0).permutation(len(images))  # its halves differ in their writers
    images, labels = images[order], labels[order]
    half = len(images) // 2
    test, new, new_labels = seen_by_model(images[:half]), images[half:], labels[half:]
    ones, others = np.flatnonzero(new_labels == 1), np.flatnonzero(new_labels != 1)
    half_ones = np.concatenate([ones, others[: len(ones)]])
    chosen = {"no nines": np.flatnonzero(new_labels != 9), "half are ones": half_ones}
    print("change          accuracy  confidence  psi   n=50      n=500     worse 50, 500  names")
    for name, change in CHANGES.items():
        show(name, test, seen_by_model(change(new)), new_labels)
    for name, rows in chosen.items():
        show(name, test, seen_by_model(new[rows]), new_labels[rows])
    show("Fashion-MNIST", test, seen_by_model(fashion[:5000]), None)
    quiet(test, seen_by_model(new))


def show(name: str, test: Sample, new: Sample, labels: Any) -> None:
    """A line of the table."""
    answers = new.probabilities.argmax(axis=1)
    accuracy = "-" if labels is None else f"{(answers == labels).mean():.3f}"
    whole = drift(test, new, NAMES)
    cells, worse = [], []
    for size in (50, 500):
        verdicts = draws(test, new, size, DRAWS)
        alone = draws(Sample(test.probabilities), Sample(new.probabilities), size, DRAWS)
        cells.append(f"{share(alone, 'changed'):.2f}/{share(verdicts, 'changed'):.2f}")
        worse.append(f"{share(verdicts, 'likely_worse'):.2f}")
    print(
        f"{name:<15} {accuracy:>8}  {whole.confidence['new']:>10.3f}  {whole.psi:.2f}"
        f"  {cells[0]} {cells[1]} {', '.join(worse):>14}  {', '.join(whole.what[:2])}",
        flush=True,
    )


def quiet(test: Sample, new: Sample) -> None:
    """False alarms without a change."""
    for size in (20, 50, 500):
        alarms = draws(test, new, size, QUIET_DRAWS)
        print(
            f"false alarms, n={size}: {round(share(alarms, 'changed') * QUIET_DRAWS)} of {QUIET_DRAWS}"
        )


def draws(test: Sample, new: Sample, size: int, count: int) -> list[Drift]:
    """The verdicts about some of the new images, drawn at random."""
    random = np.random.default_rng(7)
    verdicts = []
    for _ in range(count):
        rows = random.choice(len(new.probabilities), size, replace=False)
        new_looks = None if new.looks is None else new.looks[rows]
        verdicts.append(drift(test, Sample(new.probabilities[rows], new_looks), NAMES))
    return verdicts


def share(verdicts: list[Drift], name: str) -> float:
    return float(np.mean([getattr(verdict, name) for verdict in verdicts]))


NAMES = [str(digit) for digit in range(10)]

if __name__ == "__main__":
    main()
