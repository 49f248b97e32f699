"""Pillow and numpy give the pixels of the training's decoder, whatever the kind of JPEG or PNG."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from hpcdl.trainer.dataset.resizing import resized

pytestmark = pytest.mark.filterwarnings("ignore")  # what TensorFlow warns of is not ours
Image = pytest.importorskip("PIL.Image")

SIZES = [(70, 90), (48, 40), (128, 96)]  # as it is, smaller, larger


def saved_kinds(folder):
    """An image of noise as each kind of file that the training reads."""
    random = np.random.default_rng(0)
    color = Image.fromarray(random.integers(0, 256, (70, 90, 3), dtype=np.uint8))
    alpha = color.convert("RGBA")
    alpha.putalpha(Image.fromarray(random.integers(0, 256, (70, 90), dtype=np.uint8)))
    palette = color.convert("P", palette=Image.Palette.ADAPTIVE)
    exif = Image.Exif()
    for orientation in (2, 3, 4, 5, 6, 7, 8):
        exif[0x0112] = orientation
        color.save(folder / f"turned {orientation}.jpg", exif=exif)
    color.save(folder / "color.jpg")
    color.save(folder / "progressive.jpg", progressive=True)
    color.convert("L").save(folder / "grey.jpg")
    color.convert("CMYK").save(folder / "inks.jpg")
    color.save(folder / "color.png")
    alpha.save(folder / "alpha.png")
    alpha.convert("LA").save(folder / "grey alpha.png")
    palette.save(folder / "palette.png", transparency=3)
    color.convert("L").save(folder / "grey.png", transparency=7)
    color.convert("1").save(folder / "bits.png")
    return sorted(folder.iterdir())


@pytest.mark.tensorflow
def test_pixels_are_those_of_training(tf, tmp_path):
    from hpcdl.contract.image_heads import read_head
    from hpcdl.trainer.dataset.decode import decode
    from hpcdl.trainer.dataset.pillow import read_image

    for path in saved_kinds(tmp_path):
        orientation = tf.constant(read_head(str(path)).orientation)
        for channels in (1, 3):
            for size in SIZES:
                shape = (*size, channels)
                _, pixels, _ = read_image(str(path), shape, rounds=True)
                expected = decode(tf.io.read_file(str(path)), orientation, shape).numpy()
                assert (pixels == expected).all(), (path, shape)


@pytest.mark.tensorflow
@pytest.mark.parametrize("old", [(7, 1500), (1500, 7), (33, 40), (1, 1)])
def test_resize_is_that_of_tensorflow(tf, old):
    image = np.random.default_rng(1).integers(0, 256, (*old, 3), dtype=np.uint8)

    expected = tf.image.resize(image, (20, 30), antialias=True).numpy()

    assert (resized(image, 20, 30) == expected).all()


@pytest.mark.tensorflow
def test_other_decoder_is_noticed(tf, monkeypatch):
    from hpcdl.trainer.dataset import pillow
    from hpcdl.trainer.dataset.decode import decode

    content = base64.b64decode(pillow._JPEG)
    for channels, checksum in pillow._CHECKSUMS.items():
        pixels = decode(tf.constant(content), None, (13, 21, channels), resizes=False).numpy()
        assert zlib.crc32(pixels.tobytes()) == checksum
    assert pillow.is_alike()

    monkeypatch.setattr(pillow, "_pixels", lambda image, channels: np.asarray(image) ^ 1)
    assert not pillow.is_alike()


def test_resize_without_rounding(tmp_path):
    """Arrays are resized in training without rounding, and so are files then."""
    from hpcdl.trainer.dataset.pillow import read_image

    random = np.random.default_rng(2)
    Image.fromarray(random.integers(0, 256, (30, 30), dtype=np.uint8)).save(tmp_path / "a.png")

    smooth, pixels, _ = read_image(str(tmp_path / "a.png"), (20, 20, 1), rounds=False)
    rounded, same, _ = read_image(str(tmp_path / "a.png"), (20, 20, 1), rounds=True)

    assert (pixels == same).all()
    assert (rounded * 255).round(3) == pytest.approx(same)
    assert 0 < np.abs(smooth - rounded).max() <= 0.5 / 255 + 1e-6


def test_image_too_large_is_unusable(tmp_path, monkeypatch):
    from hpcdl.trainer.dataset.pillow import UnusableImageError, read_image

    Image.new("L", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(UnusableImageError, match="exceeds limit"):
        read_image(str(tmp_path / "a.png"), (8, 8, 1), rounds=True)
