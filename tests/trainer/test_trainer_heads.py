"""JPEG files of phones and editors: trainer, check and `hpcdl data pack` read them alike."""

from __future__ import annotations

import io

import numpy as np
import pytest

from hpcdl.contract import image_folder
from hpcdl.contract.spec import DataSpec
from hpcdl.preflight import image_sets
from hpcdl.staging.pillow_picture import Conversion, SourceFile
from hpcdl.staging.pillow_picture import read as read_for_pack
from hpcdl.trainer.dataset import load

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.filterwarnings("ignore")  # what TensorFlow warns of is not ours


def smooth(seed: int = 1, size=(24, 32)):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[0] // 8, size[1] // 8, 3))
    return Image.fromarray(np.kron(pixels, np.ones((8, 8, 1))).astype(np.uint8))


def jpeg(picture=None, **options) -> bytes:
    out = io.BytesIO()
    (picture or smooth()).save(out, "JPEG", quality=95, subsampling=0, **options)
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    smooth().save(out, "PNG")
    return out.getvalue()


def after(content: bytes, marker: int, extra: bytes) -> bytes:
    """The file with something after the first segment of a kind."""
    at = 2
    while content[at + 1] != marker:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content[:end] + extra + content[end:]


def thumbnail() -> bytes:
    """EXIF with a whole JPEG in it."""
    exif = Image.Exif()
    exif[0x0112] = 1
    return bytes(exif.tobytes()) + jpeg(smooth(2, (8, 8)))


WHOLE = {
    "zeros-after-the-end": jpeg() + bytes(70_000),
    "video-after-the-end": jpeg() + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 1000,
    "padding-after-app0": after(jpeg(), 0xE0, b"\0\0"),
    "fill-bytes": after(jpeg(), 0xE0, b"\xff\xff\xff"),
    "padding-after-tables": after(jpeg(), 0xDB, bytes(5)),
    "padding-before-the-scan": after(jpeg(), 0xC4, bytes(3)),
    "progressive-and-zeros": jpeg(progressive=True) + bytes(200_000),
    "large-head": jpeg(icc_profile=bytes(100_000)),
    "thumbnail": jpeg(exif=thumbnail()),
    "png-and-zeros": png() + bytes(70_000),
}


@pytest.mark.cases("C20")
@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_whole_images_are_read(tmp_path, content):
    path = tmp_path / "1.jpg"
    path.write_bytes(content)
    assert image_folder.read_head(str(path)) == image_folder.Head(24, 32, 1)
    stat = path.stat()
    picture = read_for_pack(
        Conversion(str(tmp_path), 3, None), SourceFile("1.jpg", 0, stat.st_size, stat.st_mtime_ns)
    )
    assert (picture.why, picture.size) == ("", (24, 32))
    pixels = np.frombuffer(picture.data, np.uint8).reshape(24, 32, 3).astype(int)
    assert np.abs(pixels - np.asarray(smooth(), int)).max() < 12


CUT = {
    "no-end": (jpeg()[:-2], "is cut short: the image has no end"),
    "thumbnail-alone-ends": (jpeg(exif=thumbnail())[:-20], "is cut short: the image has no end"),
    "in-the-head": (jpeg()[:200], "is cut short or damaged: its head has no end"),
    "no-markers": (b"\xff\xd8" + bytes(5000), "is cut short or damaged: its head has no end"),
    "png": (png()[:-12], "is cut short: the image has no end"),
    "webp": (
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(50),
        "is not a JPEG or PNG image but WebP; hpcdl data pack converts it",
    ),
    "gif": (b"GIF89a" + bytes(50), "is not a JPEG or PNG image but GIF"),
    "page": (b"\n<!DOCTYPE html><html>" + bytes(50), "is not a JPEG or PNG image but a web page"),
    "segment-without-length": (
        b"\xff\xd8\xff\xe0\0\0" + jpeg()[20:],
        "a segment in its head has no length",
    ),
}


@pytest.mark.cases("C20")
@pytest.mark.parametrize(("content", "said"), CUT.values(), ids=CUT)
def test_other_files_are_refused(tmp_path, content, said):
    path = tmp_path / "1.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        image_folder.read_head(str(path))


@pytest.mark.tensorflow
@pytest.mark.cases("C20", "C30")
@pytest.mark.parametrize("color", ["grey", "rgb"])
def test_unusual_images_are_decoded(tf, tmp_path, color):
    """What the check lets through TensorFlow decodes: padding, trailing bytes, four inks."""
    contents = dict(WHOLE, cmyk=jpeg(smooth().convert("CMYK")), grey=jpeg(smooth().convert("L")))
    for name, content in contents.items():
        for label in ("cat", "dog"):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{name}.jpg").write_bytes(content)
    loaded = load.load(str(tmp_path), DataSpec(color=color, test_split=0.1))
    for part in (loaded.train, loaded.test):
        assert part.reader is not None
        for name, pixels in zip(
            part.files(), part.reader.read_all().numpy().astype(int), strict=True
        ):
            is_grey = color == "grey" or "grey" in name
            expected = np.asarray(smooth().convert("L" if is_grey else "RGB"), int).reshape(
                24, 32, -1
            )
            assert np.abs(pixels - expected).max() < 16, name


@pytest.mark.cases("C30")
def test_sixteen_bits_are_doubted(tmp_path, monkeypatch):
    """A 12-bit scan in a PNG of 16 bits is nearly black: TensorFlow takes the upper 8 bits."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scan = np.tile(np.linspace(0, 4095, 32).astype(np.uint16), (32, 1))
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            picture = Image.fromarray(scan) if number < 3 else smooth(number, (32, 32))
            picture.save(tmp_path / "set" / name / f"{number}.png")

    said = "6 PNG images have 16 bits a value, of which the upper 8 are taken"
    loaded = load.load(str(tmp_path / "set"), DataSpec(image_size=[32, 32]))
    assert [note for note in loaded.notes if said in note]
    looked = image_sets.look(tmp_path / "set", DataSpec(image_size=[32, 32]))
    assert looked and looked.problems == [] and [note for note in looked.notes if said in note]
