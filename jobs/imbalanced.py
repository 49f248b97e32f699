"""An unbalanced set made on purpose: MNIST with a hundredth of the nines, to try train.balance."""

import os

import numpy as np


def load(rare=(9,), keep=0.01, file="mnist.npz"):
    """The training part with a share `keep` of the rows of `rare` classes; the test part unchanged.

    Args:
        rare: class numbers.
        keep: the share of their training rows that stays: the first ones.
        file: an .npz file in Keras's layout; without a folder, one in data_root.
    """
    with np.load(os.path.join(os.environ["HPCDL_DATA_ROOT"], file)) as arrays:
        x_train, y_train, x_test, y_test = (
            arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")
        )
    stays = np.ones(len(y_train), bool)
    for label in rare:
        places = np.flatnonzero(y_train == label)
        stays[places[round(keep * len(places)) :]] = False
    return (x_train[stays], y_train[stays]), (x_test, y_test)
