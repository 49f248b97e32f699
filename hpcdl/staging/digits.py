"""The embedded data set: scikit-learn's real handwritten digits as an MNIST-style ``.npz``."""

from __future__ import annotations

from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.extras import DIGITS, pip_install


def write_digits(path: Path, test_rows: int = 360, seed: int = 1) -> None:
    """Write scikit-learn's digits as an ``.npz`` file: uint8 images of 28x28, integer labels.

    Source: the test part of the UCI "Optical Recognition of Handwritten Digits" set,
    https://archive.ics.uci.edu/dataset/80, as in `sklearn.datasets.load_digits`.
    The bytes are the same every time: the split is drawn with a fixed seed.

    Args:
        path: the file to write; its name ends in ``.npz``.
        test_rows: how many of the 1,797 rows become the test part.
        seed: of the split.

    Raises:
        UserError: scikit-learn is not installed.
    """
    import numpy as np

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        install = pip_install(*DIGITS)
        raise UserError(
            f"the digits come with scikit-learn, which is not installed: {install}"
        ) from error
    digits = load_digits()
    # Bilinear, pixel centres aligned: row i of the enlarged image lies at
    # (i + 1/2) * 8/28 - 1/2 of the small one
    places = np.clip((np.arange(28) + 0.5) * 8 / 28 - 0.5, 0, 7)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(8)[None, :]))
    images = np.einsum("ip,jq,npq->nij", weights, weights, digits.images) * (255 / 16)
    images = np.rint(images).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(labels))
    test, train = order[:test_rows], order[test_rows:]
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            x_train=images[train],
            y_train=labels[train],
            x_test=images[test],
            y_test=labels[test],
        )
