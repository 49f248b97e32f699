"""The page's weights and letters: how they are rounded, measured and written."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.trainer.export.page_errors import Errors
from hpcdl.trainer.export.page_letters import bytes_in_page, from_letters, in_letters
from hpcdl.trainer.export.page_rounding import feedback, whole_steps

pytestmark = pytest.mark.tensorflow


def rounded(matrix, errors, size):
    """The layer's errors, and how many bits its numbers have."""
    rows, columns, steps = whole_steps(matrix, feedback(errors, matrix.shape[1]), size, 24)
    error = np.ldexp(steps.astype(float), rows[:, None] + columns) - matrix
    return error, np.log2(2 * np.abs(steps) + 1).mean()


def test_compensated_rounding_is_better():
    """With no more bits: later columns make up for earlier ones where they see the same things."""
    random = np.random.default_rng(3)
    matrix = random.normal(size=(8, 40))
    causes = random.normal(size=(500, 6)) @ random.normal(size=(6, 40))
    inputs = causes + 0.1 * random.normal(size=(500, 40))
    products = inputs.T @ inputs / np.square(inputs).mean() / len(inputs)

    def changed(error):
        return np.einsum("rc,cd,rd->", error, products, error)

    alone, most_bits = rounded(matrix, Errors(np.ones(8), np.diag(products)), -5)
    for size in np.arange(-8, 8, 0.5):
        together, bits = rounded(matrix, Errors(np.ones(8), products), size)
        if bits <= most_bits:
            break

    assert bits <= most_bits
    assert changed(together) < changed(alone) / 4


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\0" * 600, b"\xff" * 600, *(bytes(range(256)) * 3 + bytes(n) for n in range(6))],
    ids=lambda content: str(len(content)),
)
def test_letters_give_bytes_back(content):
    text = in_letters(content)
    letters = [ord(letter) for letter in text.partition(" ")[2]]

    assert from_letters(text) == content
    assert 2 * len(letters) == bytes_in_page(len(content))
    # No half of a pair, byte order mark, sign of markup, end of a line
    assert all(0xCD0 <= letter < 0xD800 for letter in letters)


def test_letters_survive_a_file(tmp_path):
    content = np.random.default_rng(0).integers(0, 256, 900_000, np.uint8).tobytes()
    page = tmp_path / "page.html"
    page.write_text("a\n" + in_letters(content), encoding="utf-16")

    assert len(set(page.read_text("utf-16"))) > 51_000
    assert from_letters(page.read_text("utf-16").partition("\n")[2]) == content
