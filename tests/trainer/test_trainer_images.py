"""Images in folders, packed sets and TFRecords are read as they look, held or streamed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcdl.contract import image_folder, machine
from hpcdl.contract.errors import DataError
from hpcdl.contract.spec import DataSpec, OptimizerSpec, TrainSpec
from hpcdl.trainer.dataset import load, packed
from tests.trainer.conftest import each_keras

tensorflow_run = pytest.mark.tensorflow
pytestmark = pytest.mark.filterwarnings("ignore")  # what TensorFlow warns of is not ours
Image = pytest.importorskip("PIL.Image")

TRAIN = TrainSpec(epochs=2, batch_size=20, seed=5, optimizer=OptimizerSpec("sgd", 0.1))


def save_rows(top: Path, pixels, labels, kind="png", **options) -> Path:
    """Writes rows as files in a folder for each class; sorted names have the order of the rows."""
    for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = top / f"class {label}" / f"{row:05}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(image)).save(path, **options)
    return top


def by_class(pixels, labels):
    """Rows in the order in which a folder is read."""
    order = np.argsort(labels, kind="stable")
    return pixels[order], labels[order]


@pytest.fixture
def folder(arrays, tmp_path):
    """The trainer's test set as grey PNG files."""
    for part in ("train", "test"):
        save_rows(tmp_path / "set" / part, arrays[f"x_{part}"], arrays[f"y_{part}"])
    return tmp_path / "set"


def rows_of(part):
    """All images of a part as its source gives them, in [0, 255]."""
    from hpcdl.trainer.dataset.source import Source

    source = Source(part)
    found = [
        source.take(item)[0].numpy()
        for item in source.each(np.arange(part.rows, dtype=np.int32), 32)
    ]
    return np.concatenate(found) * 255


def name_of(part, row: int) -> str:
    """The file of a row."""
    return str(part.reader.name(row))


@each_keras
def test_folder_run_equals_array_run(make_run, run_trainer, arrays):
    """In both images: read from files in each epoch, it trains bit for bit as from an array."""
    ordered = {}
    for part in ("train", "test"):
        ordered[f"x_{part}"], ordered[f"y_{part}"] = by_class(
            arrays[f"x_{part}"], arrays[f"y_{part}"]
        )
    train = replace(TRAIN, time_parts=True)
    plain, files = (
        make_run(train=train),
        make_run(train=train, data=DataSpec(path="set", color="grey", cache="none")),
    )
    np.savez(plain.path / "data.npz", **ordered)
    for part in ("train", "test"):
        save_rows(files.path / "set" / part, arrays[f"x_{part}"], arrays[f"y_{part}"])

    plain, files = run_trainer(plain), run_trainer(files)

    assert (plain.status, files.status) == (0, 0), plain.stderr + files.stderr
    assert "read and decoded again in each epoch" in files.stdout
    losses = [
        [(line["loss"], line["accuracy"]) for line in run.metrics()] for run in (plain, files)
    ]
    assert losses[0] == losses[1]
    results = [run.json("result.json") for run in (plain, files)]
    assert results[0]["test"] == results[1]["test"]
    assert min(result["timing"]["input_images_per_s"] for result in results) > 0
    assert results[1]["data"]["class_names"] == ["class 0", "class 1", "class 2"]
    assert results[0]["data"]["class_names"] is None
    with np.load(files.path / "predictions.npz", allow_pickle=False) as file:
        names = file["files"].tolist()
    assert [name.split("/")[1] for name in names] == [
        f"class {label}" for label in ordered["y_test"]
    ]
    with np.load(plain.path / "predictions.npz") as file:
        assert "files" not in file


@tensorflow_run
@pytest.mark.parametrize("replicas", [1, 2])
def test_streamed_steps_equal_held_steps(tf, strategies, arrays, folder, replicas):
    """Read in each epoch or held in memory, images train alike from any step on."""
    from contextlib import nullcontext

    from hpcdl.contract.spec import MlpSpec
    from hpcdl.trainer import compat
    from hpcdl.trainer.dataset import source as batches
    from hpcdl.trainer.fit.steps import Stepper, TrainingData
    from hpcdl.trainer.model import compiling, models

    def weights(cache, calls):
        """The weights after 35 steps; a new stepper goes on where `calls` end."""
        loaded = load.load(str(folder), DataSpec(color="grey", cache=cache))
        strategy, source = strategies[replicas], batches.Source(loaded.train)
        tf.keras.backend.clear_session()
        compat.seed_everything(1)
        with strategy.scope():
            model = models.build(MlpSpec(dense=[8]), loaded.image_shape, loaded.classes)
            compiling.compile_model(model, MlpSpec(dense=[8]), TRAIN, replicas, loaded.classes)
        compat.build_metrics(
            model, strategy, *source.take(next(source.each(np.arange(2, dtype=np.int32), 2)))
        )
        rows = np.arange(loaded.train.rows, dtype=np.int32)
        step = 0
        for end in calls:
            data = TrainingData(source, rows)
            stepper = Stepper(model, strategy, data, replace(TRAIN, epochs=3), nullcontext)
            while step < end:
                step += stepper(step, end - step)[0]
        return [np.asarray(weight) for weight in model.get_weights()]

    held = weights("memory", [35])
    for calls in ([35], [7, 16, 17, 35]):  # 16 steps an epoch, the last one of a single row
        for one, other in zip(held, weights("none", calls), strict=True):
            np.testing.assert_array_equal(one, other)


@tensorflow_run
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_images_match_pillow(tf, tmp_path, cache):
    """Grey, CMYK, palette, 16 bits, alpha, progressive, and turned by EXIF in its eight ways."""
    from PIL import ImageOps

    random = np.random.default_rng(3)
    smooth = np.kron(random.integers(0, 255, (3, 4, 3)), np.ones((8, 8, 1))).astype(
        np.uint8
    )  # 24 x 32
    picture = Image.fromarray(smooth)
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "a grey.jpg": (picture.convert("L"), {}),
        "b cmyk.jpg": (picture.convert("CMYK"), {}),
        "c progressive.JPEG": (picture, {"progressive": True}),
        "d palette.png": (picture.convert("P"), {}),
        "e alpha.PNG": (picture.convert("RGBA"), {}),
        "f grey.png": (picture.convert("L"), {}),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = picture.transpose(Image.Transpose.ROTATE_90) if orientation > 4 else picture
        made[f"g {orientation}.jpg"] = (turned, {"exif": exif, "quality": 95})
    for label in ("first", "second"):
        (tmp_path / label).mkdir()
        for name, (image, options) in made.items():
            image.save(
                tmp_path / label / name,
                format="PNG" if name.lower().endswith("png") else "JPEG",
                **options,
            )

    loaded = load.load(str(tmp_path), DataSpec(cache=cache, test_split=0.1))

    assert loaded.image_shape == (24, 32, 3)
    assert "14 images are turned upright, as their EXIF says" in loaded.notes
    for part in (loaded.train, loaded.test):
        for row, image in enumerate(rows_of(part)):
            name = name_of(part, row)
            with Image.open(name) as source:
                expected = np.asarray(ImageOps.exif_transpose(source).convert("RGB"), float)
            assert np.abs(image - expected).max() <= (8 if "cmyk" in name else 3), name


@tensorflow_run
def test_resizing_matches_pillow(tf, tmp_path):
    random = np.random.default_rng(3)
    pixels = np.kron(random.integers(0, 255, (8, 5, 8, 3)), np.ones((1, 9, 7, 1))).astype(np.uint8)
    save_rows(tmp_path, pixels, np.arange(8) % 2)
    loaded = load.load(str(tmp_path), DataSpec(image_size=[20, 30], test_split=0.25))
    for row, image in enumerate(rows_of(loaded.train)):
        with Image.open(name_of(loaded.train, row)) as source:
            expected = np.asarray(source.resize((30, 20), Image.Resampling.BILINEAR), float)
        assert np.abs(image - expected).max() <= 2


@tensorflow_run
def test_arrays_are_resized_and_coloured(tf, arrays, tmp_path):
    """Memory holds the arrays as they are; batches have the size and colours of the spec."""
    np.savez(tmp_path / "set.npz", **arrays)
    loaded = load.load(str(tmp_path / "set.npz"), DataSpec(image_size=[20, 30], color="rgb"))
    assert loaded.image_shape == (20, 30, 3)
    assert loaded.train.images.shape == (301, 10, 10, 1), "memory holds them as they are"
    found = rows_of(loaded.train)
    expected = tf.image.resize(
        arrays["x_train"][..., None].astype("f4"), [20, 30], antialias=True
    ).numpy()
    np.testing.assert_allclose(found, np.repeat(expected, 3, -1), atol=1e-3)


def test_parts_and_classes_of_a_folder(arrays, tmp_path):
    """Without a test part each class gives its share; validation images are for training."""
    save_rows(tmp_path / "flat", arrays["x_train"], arrays["y_train"])
    (tmp_path / "flat" / "class 1" / ".DS_Store").write_bytes(b"x")
    loaded = load.load(str(tmp_path / "flat"), DataSpec(test_split=0.1))
    assert np.bincount(loaded.test.labels).tolist() == [10, 10, 10]
    assert loaded.train.rows == 271
    assert "30 images split off as the test part (data.test_split)" in loaded.notes
    names = {name_of(part, row) for part in (loaded.train, loaded.test) for row in range(part.rows)}
    assert len(names) == 301

    for name, part in (("Training", "train"), ("val", "test"), ("test", "test")):
        save_rows(tmp_path / "parts" / name, arrays[f"x_{part}"], arrays[f"y_{part}"])
    loaded = load.load(str(tmp_path / "parts"), DataSpec())
    assert (loaded.train.rows, loaded.test.rows) == (402, 101)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


FOLDERS = {
    "empty": (
        lambda top: [path.unlink() for path in top.rglob("*.png")],
        "class 0: holds no images",
    ),
    "no-image": (
        lambda top: _write(top / "train/class 1/notes.doc", b"x"),
        "notes.doc: is not a .jpg, .jpeg or .png",
    ),
    "text": (
        lambda top: _write(top / "train/class 1/a.jpg", b"hello"),
        "a.jpg: is not a JPEG or PNG image",
    ),
    "no-bytes": (lambda top: _write(top / "train/class 1/a.jpg", b""), "a.jpg: is empty"),
    "cut": (
        lambda top: _cut(top / "train/class 1/00001.png"),
        "00001.png: is cut short: the image has no end",
    ),
    "class-not-in-test": (
        lambda top: [path.unlink() for path in (top / "test/class 2").iterdir()],
        "test/class 2: holds no images; expected some of class class 2",
    ),
    "class-only-in-test": (
        lambda top: os.rename(top / "test/class 2", top / "test/class 9"),
        "train/class 9: does not exist; every part needs a folder with images of class class 9",
    ),
    "sizes": (
        lambda top: Image.new("L", (11, 12)).save(top / "train/class 1/a.png"),
        "images differ in size, from 10x10 to 12x11 pixels",
    ),
    "no-train": (
        lambda top: os.rename(top / "train", top / "testing"),
        "has test, testing but no train folder",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), FOLDERS.values(), ids=FOLDERS)
def test_unusable_image_folder_is_refused(folder, spoil, said):
    spoil(folder)
    with pytest.raises(DataError) as caught:
        load.load(str(folder), DataSpec())
    assert said in caught.value.message


def test_one_class_alone(arrays, tmp_path):
    save_rows(tmp_path, arrays["x_train"][::3], arrays["y_train"][::3])
    with pytest.raises(DataError, match="classes: class 0; expected at least 2"):
        load.load(str(tmp_path), DataSpec())


def test_empty_folder(tmp_path):
    with pytest.raises(DataError, match="is an empty folder"):
        load.load(str(tmp_path), DataSpec())


@tensorflow_run
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_images_damaged_inside_are_all_named(tf, folder, cache):
    spoiled = [folder / "train/class 1" / name for name in ("00001.png", "00004.png")]
    for path in spoiled:
        content = bytearray(path.read_bytes())
        content[45:60] = bytes(15)
        path.write_bytes(content)
    loaded = load.load(str(folder), DataSpec(cache=cache))
    with pytest.raises(DataError, match="2 of 301 images cannot be read") as caught:
        rows_of(loaded.train)
    assert all(str(path) in caught.value.message for path in spoiled)


def example(tf, features):
    """A tf.train.Example of bytes and whole numbers."""

    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    named = {name: feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()


@pytest.fixture
def records(tf, arrays, tmp_path):
    """The set as TFRecords of another maker: two shards for training, one for the test."""
    top = tmp_path / "records"
    top.mkdir()
    for name, part, rows in (
        ("train-0.tfrecord", "train", slice(0, 200)),
        ("train-1.tfrecord", "train", slice(200, None)),
        ("test.tfrecord", "test", slice(None)),
    ):
        with tf.io.TFRecordWriter(str(top / name)) as writer:
            for image, label in zip(
                arrays[f"x_{part}"][rows], arrays[f"y_{part}"][rows], strict=True
            ):
                content = tf.io.encode_png(image[..., None]).numpy()
                writer.write(example(tf, {"image": content, "label": int(label), "id": 7}))
    return top


@tensorflow_run
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_records_equal_their_images(tf, arrays, records, cache):
    loaded = load.load(str(records), DataSpec(image_size=[10, 10], color="grey", cache=cache))
    np.testing.assert_array_equal(loaded.train.labels, arrays["y_train"])
    np.testing.assert_array_equal(np.rint(rows_of(loaded.train))[..., 0], arrays["x_train"])
    np.testing.assert_array_equal(np.rint(rows_of(loaded.test))[..., 0], arrays["x_test"])


@tensorflow_run
@pytest.mark.parametrize("place", [3, 500], ids=["first record", "later record"])
def test_corrupt_shard_is_named(tf, records, place):
    path = records / "train-1.tfrecord"
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-1.tfrecord: cannot be read after 2\d\d records"):
        load.load(str(records), DataSpec(image_size=[10, 10]))


@tensorflow_run
def test_records_without_images_are_refused(tf, tmp_path):
    """The message lists the features of the first record."""
    for name in ("train.tfrecord", "test.tfrecord"):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            writer.write(example(tf, {"text": b"a", "label": 1}))
    with pytest.raises(DataError, match="its first record has the features label, text"):
        load.load(str(tmp_path), DataSpec(image_size=[10, 10]))


def test_set_of_a_function(tmp_path, monkeypatch, arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    (tmp_path / "my_set.py").write_text(
        "import numpy as np\n"
        "def load(path, part=1.0):\n"
        "    with np.load(path) as found:\n"
        "        rows = int(part * len(found['y_train']))\n"
        "        return (found['x_train'][:rows], found['y_train'][:rows]), (found['x_test'], found['y_test'])\n"
        "def half(path):\n    return load(path)[0]\n"
        "def broken():\n    raise KeyError('x')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = str(tmp_path / "set.npz")
    loaded = load.load("", DataSpec(function="my_set:load", args={"path": path, "part": 0.5}))
    assert (loaded.path, loaded.train.rows, loaded.test.rows) == ("my_set:load", 150, 101)

    from hpcdl.contract.errors import UserCodeError

    for function, args, said in (
        ("broken", {}, "data.function my_set:broken failed: KeyError: 'x'"),
        ("nothing", {}, "has no attribute 'nothing'"),
        ("load", {"file": path}, "unexpected keyword argument 'file'"),
        (
            "half",
            {"path": path},
            r"returned tuple; expected \(x_train, y_train\), \(x_test, y_test\)",
        ),
    ):
        with pytest.raises(UserCodeError, match=said):
            load.load("", DataSpec(function=f"my_set:{function}", args=args))


@pytest.mark.parametrize(
    ("cache", "gigabytes", "held"),
    [
        ("auto", "1000", True),
        ("auto", "0.00001", False),
        ("memory", "0.00001", True),
        ("none", "1000", False),
    ],
)
def test_memory_decides_where_images_wait(folder, monkeypatch, cache, gigabytes, held):
    """Images are held in memory if they fit into the job's memory, else read in each epoch."""
    monkeypatch.setenv("HPCDL_MEMORY_GB", gigabytes)
    loaded = load.load(str(folder), DataSpec(cache=cache))
    assert (loaded.train.held, loaded.test.held) == (held, held)
    said = "held in memory" if held else "read and decoded again in each epoch"
    assert said in load.describe(loaded)


def test_memory_limit_is_of_job(monkeypatch):
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setenv("HPCDL_MEMORY_GB", "0.5")
    assert machine.limit_bytes() == 2**29
    monkeypatch.delenv("HPCDL_MEMORY_GB")
    assert 0 < machine.limit_bytes() <= physical


def test_image_size_is_read_without_decoding(tmp_path):
    """A JPEG with 100 KB before its size, as cameras and editors write them; and a PNG."""
    image = Image.new("RGB", (40, 30))
    image.save(tmp_path / "a.jpg", icc_profile=bytes(100_000))
    image.save(tmp_path / "b.png")
    problems: list[str] = []
    heads = image_folder.read_heads([str(tmp_path / "a.jpg"), str(tmp_path / "b.png")], problems)
    assert heads == [image_folder.Head(30, 40, 1)] * 2
    assert not problems


def pack(top: Path, arrays, **about) -> Path:
    """A packed set with the test set's arrays, as `hpcdl data pack` writes it."""
    top.mkdir()
    parts = {}
    for part in ("train", "test"):
        np.save(top / f"{part}.npy", arrays[f"x_{part}"][..., None])
        np.save(top / f"{part}.labels.npy", arrays[f"y_{part}"].astype(np.int32))
        size = (top / f"{part}.npy").stat().st_size
        rows = len(arrays[f"y_{part}"])
        file = {"name": f"{part}.npy", "rows": rows, "bytes": size}
        parts[part] = {"rows": rows, "labels": f"{part}.labels.npy", "files": [file]}
    content = {
        "format": "hpcdl-pack",
        "version": 1,
        "classes": ["a", "b", "c"],
        "image_size": [10, 10],
        "channels": 1,
    }
    content.update(storage="npy", parts=parts, **about)
    (top / "pack.json").write_text(json.dumps(content))
    return top


@tensorflow_run
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_packed_array_is_read_unchanged(tf, arrays, tmp_path, monkeypatch, cache):
    monkeypatch.setattr(packed, "_CHUNK_BYTES", 999)  # several reads, the last one shorter
    loaded = load.load(str(pack(tmp_path / "set", arrays)), DataSpec(cache=cache))
    assert (loaded.class_names, loaded.image_shape) == (["a", "b", "c"], (10, 10, 1))
    np.testing.assert_array_equal(np.rint(rows_of(loaded.train))[..., 0], arrays["x_train"])


@tensorflow_run
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_packed_array_is_resized_and_coloured(tf, arrays, tmp_path, cache):
    loaded = load.load(
        str(pack(tmp_path / "set", arrays)), DataSpec(cache=cache, image_size=[5, 20], color="rgb")
    )
    expected = tf.image.resize(
        arrays["x_test"][..., None].astype("f4"), [5, 20], antialias=True
    ).numpy()
    np.testing.assert_allclose(rows_of(loaded.test), np.repeat(expected, 3, -1), atol=1e-3)


@tensorflow_run
def test_packed_array_truncated_after_opening(tf, arrays, tmp_path):
    loaded = load.load(str(pack(tmp_path / "set", arrays)), DataSpec(cache="memory"))
    _cut(tmp_path / "set/train.npy")
    with pytest.raises(DataError, match=r"train.npy: was cut short meanwhile"):
        rows_of(loaded.train)


def test_bad_packed_set_is_refused(arrays, tmp_path):
    """A shortened, missing or unknown file of the set is named."""
    top = pack(tmp_path / "set", arrays)
    _cut(top / "train.npy")
    with pytest.raises(DataError, match=r"train.npy: has 30,198 bytes; it was packed with 30,228"):
        load.load(str(top), DataSpec())
    (top / "train.npy").unlink()
    with pytest.raises(DataError, match=r"train.npy: is missing"):
        load.load(str(top), DataSpec())
    (top / "pack.json").write_text('{"format": "hpcdl-pack", "version": 2}')
    with pytest.raises(DataError, match="version 2; expected hpcdl-pack version 1"):
        load.load(str(top), DataSpec())
    (top / "pack.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        load.load(str(top), DataSpec())
