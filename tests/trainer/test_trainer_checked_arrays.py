"""The rules for arrays, as the trainer applies them to labels of every size."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.contract.errors import DataError
from hpcdl.contract.pack_layout import read_pack
from hpcdl.files import write_json
from hpcdl.trainer.dataset.checked_arrays import check_classes


def test_small_test_part_is_counted():
    """A test part with fewer rows than classes leaves classes untested."""
    train = np.repeat(np.arange(100, dtype=np.int32), 2)
    problems: list[str] = []

    check_classes({"train": train, "test": np.full(50, 99, np.int32)}, problems)

    assert len(problems) == 1
    assert problems[0].startswith("y_test: has no row of class 0, 1,")


def test_huge_class_number_is_not_counted():
    """Counting up to it would take all memory."""
    problems: list[str] = []
    train = np.array([0, 0, 2**31 - 1, 1], np.int32)

    check_classes({"train": train, "test": train}, problems)

    assert len(problems) == 1
    assert "expected at least 2 rows of each class" in problems[0]


def test_pack_of_arrays_needs_a_size(tmp_path):
    content = {
        "format": "hpcdl-pack",
        "version": 1,
        "classes": ["a", "b"],
        "image_size": None,
        "channels": 1,
        "storage": "npy",
        "parts": {},
    }
    write_json(tmp_path / "pack.json", content)

    with pytest.raises(DataError, match="is damaged"):
        read_pack(str(tmp_path))
