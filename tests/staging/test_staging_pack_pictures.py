"""What becomes of one image file: each kind decoded as it looks, upright, of one colour; what was done is said."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hpcdl.staging import pillow_picture
from hpcdl.staging.pillow_picture import Conversion, SourceFile, read
from hpcdl.staging.tfrecord_writer import record

random = np.random.default_rng(7)
SMOOTH = np.asarray(
    Image.fromarray(random.integers(0, 256, (4, 5, 3), np.uint8)).resize(
        (50, 40), Image.Resampling.BICUBIC
    )
)
GREY = SMOOTH[..., 0]


@pytest.fixture
def look(tmp_path):
    """Reads an image's bytes as pack does: the Picture, and its pixels."""

    def run(content, channels=3, size=None, name="x.jpg"):
        path = tmp_path / name
        path.write_bytes(content)
        seen = path.stat()
        wanted = Conversion(str(tmp_path), channels, size)
        found = read(wanted, SourceFile(name, 0, seen.st_size, seen.st_mtime_ns))
        pixels = (
            np.frombuffer(found.data, np.uint8).reshape(*found.size, channels)
            if not found.why
            else None
        )
        return found, pixels

    return run


def saved(image, kind, **options):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def with_alpha():
    image = Image.fromarray(SMOOTH).convert("RGBA")
    image.putalpha(Image.fromarray(GREY))
    return image


def palette(transparent):
    image = Image.fromarray(SMOOTH).quantize(16)
    shown = np.asarray(image.convert("RGB"))
    return saved(image, "PNG", **({"transparency": bytes(range(16))} if transparent else {})), shown


def deep_grey():
    return (np.arange(40 * 50).reshape(40, 50) * 32).astype(np.uint16)


def in_each_channel(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def in_eight_bits():
    return in_each_channel(np.rint(deep_grey() / 257).astype(np.uint8))


def animated():
    more = [Image.fromarray(GREY)]
    return saved(Image.fromarray(SMOOTH).quantize(16), "GIF", save_all=True, append_images=more)


def grey_and_alpha():
    return saved(Image.fromarray(GREY).convert("LA"), "PNG")


KINDS = {
    "png": (lambda: saved(SMOOTH, "PNG"), SMOOTH, []),
    "bmp": (lambda: saved(SMOOTH, "BMP"), SMOOTH, []),
    "tiff": (lambda: saved(SMOOTH, "TIFF"), SMOOTH, []),
    "webp": (lambda: saved(SMOOTH, "WEBP", lossless=True), SMOOTH, []),
    "ppm": (lambda: saved(SMOOTH, "PPM"), SMOOTH, []),
    "grey png": (lambda: saved(GREY, "PNG"), in_each_channel(GREY), ["grey"]),
    "1 bit": (lambda: saved(Image.fromarray(GREY > 99), "PNG"), in_each_channel((GREY > 99) * np.uint8(255)), ["grey"]),
    "grey and alpha": (grey_and_alpha, in_each_channel(GREY), ["alpha", "grey"]),
    "alpha": (lambda: saved(with_alpha(), "PNG"), SMOOTH, ["alpha"]),
    "palette": (lambda: palette(False)[0], palette(False)[1], ["palette"]),
    "palette, alpha": (lambda: palette(True)[0], palette(True)[1], ["alpha", "palette"]),
    "16 bits": (lambda: saved(deep_grey(), "PNG"), in_eight_bits(), ["deep", "grey"]),
    "16 bits tiff": (lambda: saved(deep_grey(), "TIFF"), in_eight_bits(), ["deep", "grey"]),
    "animated gif": (animated, palette(False)[1], ["animated", "palette"]),
    "animated png": (
        lambda: saved(SMOOTH, "PNG", save_all=True, append_images=[Image.fromarray(255 - SMOOTH)]), SMOOTH, ["animated"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_kind_is_decoded(look, kind):
    make, shown, handled = KINDS[kind]

    found, pixels = look(make())

    assert (found.why, found.size, sorted(found.handled)) == ("", (40, 50), handled)
    np.testing.assert_array_equal(pixels, shown)


def test_cmyk_jpeg_keeps_its_colours(look):
    found, pixels = look(saved(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=98))

    assert found.handled == ("cmyk",)
    assert np.abs(pixels.astype(int) - SMOOTH).mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_image(look, kind, orientation):
    """The picture is stored in each of the eight ways; all show the same."""
    ways = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a.transpose(1, 0, 2), 2), 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(ways[orientation](SMOOTH))
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}

    found, pixels = look(saved(stored, kind, exif=exif, **options))

    assert (found.size, found.handled) == ((40, 50), ("rotated",) if orientation > 1 else ())
    assert np.abs(pixels.astype(int) - SMOOTH).max() <= (0 if kind != "JPEG" else 12)


def test_orientation_tag_is_found(look):
    """As cameras write it: not the first tag, big or little endian, and XMP instead of EXIF."""
    jpeg = saved(SMOOTH, "JPEG", quality=98)
    for order, entries in (
        (">", [(0x010F, 3, 1, 7), (0x0112, 3, 1, 6)]),
        ("<", [(0x0112, 3, 1, 3)]),
    ):
        tiff = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, len(entries))
        tiff += b"".join(struct.pack(f"{order}HHIHxx", *entry) for entry in entries)
        segment = b"Exif\0\0" + tiff + b"\0\0\0\0"
        content = (
            jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]
        )

        found, _ = look(content)

        assert (found.handled, found.size) == (
            ("rotated",),
            (50, 40) if entries[-1][3] == 6 else (40, 50),
        )
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:tiff="t"><a tiff:Orientation="3"/></x:xmpmeta>'
    content = jpeg[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + jpeg[2:]
    assert look(content)[0].handled == ("rotated",)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_blocks": 2}]
)
@pytest.mark.parametrize("pixels", [SMOOTH, GREY], ids=["rgb", "grey"])
def test_plain_jpeg_matches_pillow_reader(look, monkeypatch, pixels, options):
    """The shortcut for plain JPEG files gives the pixels of Image.open."""
    content = saved(
        pixels, "JPEG", comment=b"x", icc_profile=b"y" * 99, exif=Image.Exif(), **options
    )
    opened = []
    original = Image.open

    def watched(*arguments, **named):
        opened.append(arguments)
        return original(*arguments, **named)

    monkeypatch.setattr(Image, "open", watched)

    direct = look(content)
    assert opened == [], "for it is as slow as decoding"
    monkeypatch.setattr(pillow_picture, "plain_frame", lambda content: None)
    own = look(content)

    assert len(opened) == 1
    assert direct[0] == own[0]
    np.testing.assert_array_equal(
        direct[1], np.asarray(original(io.BytesIO(content)).convert("RGB"))
    )


@pytest.mark.parametrize("cut", [3, 30, 300, 600, -30, -2])
def test_cut_jpeg_is_refused(look, cut):
    found, _ = look(saved(SMOOTH, "JPEG")[:cut])

    assert found.why.startswith(("cannot be decoded: ", "is not a JPEG"))
    assert found.sha256


def test_damaged_heads_never_escape(look):
    """Whatever stands in the first bytes, there is an image or a reason."""
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"):
        content = bytearray(saved(Image.fromarray(SMOOTH).resize((8, 8)), kind))
        for _ in range(60):
            damaged = bytearray(content)
            for place in random.integers(0, min(len(content), 200), 3):
                damaged[place] = random.integers(0, 256)
            found, pixels = look(bytes(damaged))
            assert (pixels is not None) != bool(found.why)


def test_float_images_are_refused(look):
    found, _ = look(saved(GREY.astype(np.float32), "TIFF"), name="x.tif")

    assert found.why == "cannot be decoded: its pixels have 32 bits; expected 8 or 16"


def test_grey_is_luma_of_colours(look):
    found, pixels = look(saved(SMOOTH, "PNG"), channels=1)
    same, grey = look(saved(GREY, "PNG"), channels=1)

    luma = SMOOTH @ np.array([0.299, 0.587, 0.114])
    assert (found.handled, same.handled) == (("color",), ())
    assert np.abs(pixels[..., 0] - luma).max() <= 1
    np.testing.assert_array_equal(grey[..., 0], GREY)


IN_TENSORFLOW = """
import json, sys
import numpy as np, tensorflow as tf
folder = sys.argv[1]
cases = np.load(folder + "/cases.npz")
worst = {}
for name in [name for name in cases.files if name.startswith("in")]:
    ours = cases["out" + name[2:]].astype(int)
    theirs = tf.image.resize(cases[name], ours.shape[:2], antialias=True).numpy().round()
    worst[name] = int(np.abs(ours - theirs).max())
shape = {"image/encoded": tf.string, "image/filename": tf.string, "image/class/text": tf.string,
         "image/class/label": tf.int64, "image/height": tf.int64, "image/width": tf.int64}
features = {name: tf.io.FixedLenFeature([], kind) for name, kind in shape.items()}
records = []
for shard in sorted(tf.io.gfile.glob(folder + "/out/*.tfrecord")):
    for example in tf.data.TFRecordDataset(shard):
        found = tf.io.parse_single_example(example, features)
        pixels = tf.io.decode_image(found["image/encoded"], channels=3, expand_animations=False).numpy()
        row = {name: value.numpy() for name, value in found.items() if name != "image/encoded"}
        row = {name: value.decode() if isinstance(value, bytes) else int(value) for name, value in row.items()}
        records.append({**row, "shard": shard.rpartition("/")[2], "pixels": pixels.tolist()})
print(json.dumps([worst, records]))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What TensorFlow says: of resized images, and of a set of TFRecords with an image of each kind."""
    from hpcdl.cli import main

    folder = tmp_path_factory.mktemp("tensorflow")
    noise = random.integers(0, 256, (97, 131, 3), np.uint8)
    cases = {}
    for number, (pixels, size) in enumerate(
        [
            (SMOOTH, (20, 25)),
            (SMOOTH, (13, 17)),
            (SMOOTH, (80, 77)),
            (noise, (24, 32)),
            (noise, (96, 200)),
            (noise, (1, 1)),
        ]
    ):
        path = folder / f"{number}.png"
        path.write_bytes(saved(pixels, "PNG"))
        stat = path.stat()
        found = read(
            Conversion(str(folder), 3, size),
            SourceFile(path.name, 0, stat.st_size, stat.st_mtime_ns),
        )
        assert found.handled == ("resized",)
        cases[f"in{number}"], cases[f"out{number}"] = (
            pixels,
            np.frombuffer(found.data, np.uint8).reshape(*size, 3),
        )
    np.savez(folder / "cases.npz", **cases)  # type: ignore[arg-type]  # numpy has an option of its own there
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in ("first", "zweite é"):
        (folder / "set" / label).mkdir(parents=True)
        for kind, (make, _, _) in KINDS.items():
            (folder / f"set/{label}/{kind}").write_bytes(make())
        for name, options in {"plain": {}, "turned": {"exif": exif}}.items():
            (folder / f"set/{label}/{name}.jpg").write_bytes(
                saved(SMOOTH, "JPEG", quality=95, **options)
            )
        (folder / f"set/{label}/bits.png").write_bytes(
            saved(Image.fromarray(GREY).quantize(4), "PNG", bits=2)
        )
    argv = [
        "data",
        "pack",
        folder / "set",
        "--to",
        folder / "out",
        "--format",
        "tfrecord",
        "--shard-mb",
        "0.05",
    ]
    assert main([str(word) for word in argv]) == 0
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", IN_TENSORFLOW, folder],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, *json.loads(done.stdout)


@pytest.mark.tensorflow
def test_resizing_matches_tensorflow(seen):
    _, worst, _ = seen

    assert len(worst) == 6
    assert max(worst.values()) <= 2, worst


@pytest.mark.tensorflow
def test_tensorflow_reads_the_records(seen):
    folder, _, records = seen
    about = json.loads((folder / "out/pack.json").read_text())
    lines = [json.loads(line) for line in (folder / "out/images.jsonl").read_text().splitlines()]
    labels = {
        part: np.load(folder / f"out/{part}.labels.npy").tolist() for part in ("train", "test")
    }

    assert about["classes"] == ["first", "zweite é"]
    rows = [row for part in ("train", "test") for row in records if row["shard"].startswith(part)]
    assert [row["image/class/label"] for row in rows] == labels["train"] + labels["test"]
    assert [row["image/filename"] for row in rows] == [line["file"] for line in lines]
    shards = {part: [file["name"] for file in about["parts"][part]["files"]] for part in labels}
    assert {
        part: sorted({row["shard"] for row in records if row["shard"].startswith(part)})
        for part in labels
    } == shards
    assert len(shards["train"]) > 1
    for row, line in zip(rows, lines, strict=True):
        assert (
            row["image/class/text"] == line["class"] == about["classes"][row["image/class/label"]]
        )
        pixels = np.array(row["pixels"])
        assert list(pixels.shape[:2]) == line["size"] == [row["image/height"], row["image/width"]]
        kind = row["image/filename"].split("/")[1]
        if kind in KINDS:
            np.testing.assert_array_equal(pixels, KINDS[kind][1], kind)


def test_unchanged_images_keep_their_bytes(look, tmp_path):
    """A record keeps the JPEG's own bytes unless the image is resized."""
    content = saved(SMOOTH, "JPEG")
    (tmp_path / "x.jpg").write_bytes(content)
    seen = (tmp_path / "x.jpg").stat()
    file = SourceFile("x.jpg", 1, seen.st_size, seen.st_mtime_ns)

    kept, resized = (
        read(Conversion(str(tmp_path), 3, size, ("a", "b")), file) for size in (None, (8, 9))
    )

    assert content in kept.data and content not in resized.data
    assert b"\x89PNG" in resized.data


def test_record_ignores_feature_order():
    assert record({"b": b"x" * 300, "a": 1 << 40}) == record({"a": 1 << 40, "b": b"x" * 300})
