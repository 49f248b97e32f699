"""Exports are held against the answers to the training's own test images, and to no others."""

from types import SimpleNamespace

import numpy as np
import pytest

from hpcdl.trainer.export.errors import NotExported
from hpcdl.trainer.export.known_answers import read_answers, require_same_images

LABELS = np.array([0, 1, 2], np.int32)


def dataset(labels):
    return SimpleNamespace(path="/data/digits.npz", test=SimpleNamespace(labels=labels))


@pytest.mark.parametrize(
    ("labels", "change"),
    [([1, 0, 2], "in another order"), ([0, 1], "there are 2, and there were 3")],
)
def test_changed_test_images_are_noticed(labels, change):
    require_same_images(LABELS, dataset(LABELS))

    with pytest.raises(NotExported, match=r"/data/digits\.npz.*train it again") as raised:
        require_same_images(LABELS, dataset(np.array(labels, np.int32)))

    assert change in str(raised.value)


def test_missing_and_damaged_answers_are_named(tmp_path):
    with pytest.raises(NotExported, match=r"there is no .*predictions\.npz"):
        read_answers(str(tmp_path))
    whole = tmp_path / "predictions.npz"
    np.savez(whole, labels=LABELS, probabilities=np.eye(3, dtype=np.float32))
    labels, probabilities = read_answers(str(tmp_path))
    assert (probabilities.argmax(axis=1) == labels).all()

    for content in (whole.read_bytes()[:200], b"damaged", b""):
        whole.write_bytes(content)
        with pytest.raises(NotExported, match="is damaged; train it again"):
            read_answers(str(tmp_path))
    np.savez(whole, labels=LABELS)
    with pytest.raises(NotExported, match="is damaged"):
        read_answers(str(tmp_path))
