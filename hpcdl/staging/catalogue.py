"""The sets that Keras knows: their files in its cache, their addresses and published checksums."""

from __future__ import annotations

from dataclasses import dataclass

_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_TORONTO = "https://www.cs.toronto.edu/~kriz"
_FASHION_LABELS = {
    "train": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_FASHION_IMAGES = {
    "train": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "t10k": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
}

EMBEDDED = {
    "digits": "1,797 real handwritten digits (8x8 enlarged to 28x28) that scikit-learn ships"
}


@dataclass(frozen=True)
class Source:
    """A file to fetch.

    Args:
        file: its path below the folder that it is staged in; the name is that in Keras's cache.
        url: where Keras fetches it from.
        digest: the published sha256 or md5, which differ in length; empty if none is published.
    """

    file: str
    url: str
    digest: str


def _fashion() -> tuple[Source, ...]:
    """The files of fashion_mnist, those of each part together."""
    files = []
    for part in ("train", "t10k"):
        labels, images = f"{part}-labels-idx1-ubyte.gz", f"{part}-images-idx3-ubyte.gz"
        digests = {labels: _FASHION_LABELS[part], images: _FASHION_IMAGES[part]}
        for file, digest in digests.items():
            files.append(Source(f"fashion-mnist/{file}", f"{_GOOGLE}/{file}", digest))
    return tuple(files)


# Source: https://github.com/keras-team/keras, keras/src/datasets/*.py (fashion_mnist.py at 75565fb
# has its checksums); the same addresses and files in keras/datasets/*.py at v2.11.0.
SETS = {
    "mnist": (
        Source(
            "mnist.npz",
            f"{_GOOGLE}/mnist.npz",
            "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        ),
    ),
    "fashion_mnist": _fashion(),
    "cifar10": (
        Source(
            "cifar-10-batches-py.tar.gz",
            f"{_TORONTO}/cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
    ),
    "cifar100": (
        Source(
            "cifar-100-python.tar.gz",
            f"{_TORONTO}/cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ),
    ),
}

# What these and Keras's other sets are called in its cache; and its folder of weights
FILES = frozenset(
    [
        *(source.file.partition("/")[0] for sources in SETS.values() for source in sources),
        *(
            "cifar-10-batches-py",
            "cifar-100-python",
            "boston_housing.npz",
            "california_housing.npz",
        ),
        *("imdb.npz", "imdb_word_index.json", "reuters.npz", "reuters_word_index.json", "models"),
    ]
)
