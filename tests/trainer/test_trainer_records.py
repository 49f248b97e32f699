"""TFRecords and IDX files under the names and with the content that their makers give them."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from hpcdl.contract.errors import DataError
from hpcdl.contract.record_files import find_records
from hpcdl.contract.spec import DataSpec
from hpcdl.preflight import arrays as checked_arrays
from hpcdl.preflight import image_sets
from hpcdl.trainer.dataset import load
from hpcdl.trainer.dataset.arrays import read_arrays

tensorflow_run = pytest.mark.tensorflow
SPEC = DataSpec(image_size=[10, 10], color="grey")


def plant(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    return top


# Files; how many train and test
NAMED = {
    "own": (["train-0.tfrecord", "train-1.tfrecord", "test.tfrecord"], (2, 1)),
    "train-alone": (["train-0.tfrecord"], (1, 0)),
    "validation": (["train-0.tfrecord", "validation-0.tfrecord"], (2, 0)),
    "imagenet": (["train-00000-of-01024", "train-00001-of-01024", "validation-00000-of-00128"], (3, 0)),
    "tfds": (
        ["mnist-train.tfrecord-00000-of-00001", "mnist-test.tfrecord-00000-of-00001", "dataset_info.json"], (1, 1),
    ),
    "kaggle-folders": (["train/00-192x192-798.tfrec", "val/00-192x192-232.tfrec", "test/00.tfrec"], (2, 1)),
    "plural": (["train/part.tfrecords", "test/part.tfrecords"], (1, 1)),
    "cassava": (["ld_train00-1338.tfrec", "ld_train01-1338.tfrec", "ld_test00-1.tfrec"], (2, 1)),
    "part-sets": (["training_set/a.tfrecord", "test_set/a.tfrecord"], (1, 1)),
    "capitals": (["Train.TFRecord", "TEST.TFRECORDS"], (1, 1)),
    "eval": (["train.tfrecord", "eval.tfrecord"], (1, 1)),
    "dev-and-test": (["train.tfrecord", "dev.tfrecord", "test.tfrecord"], (2, 1)),
    "underscore": (["cats_train.tfrecord", "cats_test.tfrecord"], (1, 1)),
    "no-parts": (["00-192x192-798.tfrec", "01-192x192-798.tfrec"], (2, 0)),
    "slim": (
        [*(f"flowers_{part}_00000-of-00005.tfrecord" for part in ("train", "validation", "test")), "labels.txt"],
        (2, 1),
    ),
    "object-detection": (["coco_train.record-00000-of-00100", "coco_test.record-00000-of-00100"], (1, 1)),
    "record": (["train.record", "test.record", "label_map.pbtxt"], (1, 1)),
    "counted": (["train_000_of_010.tfrecords", "test_0_of_1.tfrecords"], (1, 1)),
    "short": (["train.tfr", "test.tfr"], (1, 1)),
    "indexed": (["train.tfrecord", "train.tfindex", "test.tfrecord", "test.tfrecord.md5", "a.idx"], (1, 1)),
    "half-copied": (["train.tfrecord", "train2.tfrecord.part", "test.tfrecord"], (1, 1)),
    "system-files": (["train.tfrecord", "._train.tfrecord", "test.tfrecord", "@eaDir/x.tfrecord"], (1, 1)),
}  # fmt: skip


@pytest.mark.cases("C21", "C22")
@pytest.mark.parametrize(("names", "counts"), NAMED.values(), ids=NAMED)
def test_record_files_by_name(tmp_path, names, counts):
    """The check passes what the trainer takes; no test part is needed."""
    top = plant(tmp_path, *names)
    files = find_records(str(top))
    assert files is not None and not files.problems
    assert (len(files.parts["train"]), len(files.parts.get("test", []))) == counts
    looked = image_sets.look(top, SPEC)
    assert looked is not None and looked.problems == []


@pytest.mark.cases("C21")
def test_unused_record_files_are_reported(tmp_path):
    files = find_records(
        str(plant(tmp_path, "train.tfrecord", "validation.tfrecord", "pred.tfrecord", "x.tfrecord"))
    )
    assert files is not None
    assert files.notes == [
        "validation.tfrecord belong to the training part",
        "pred.tfrecord, x.tfrecord are left out: they are named neither like train nor test",
    ]


@pytest.mark.cases("C22")
@pytest.mark.parametrize(
    "names", [["photos/cat/1.jpg"], ["train/cat/1.jpg", "test/cat/1.jpg"], ["train.csv"]]
)
def test_other_files_are_not_records(tmp_path, names):
    assert find_records(str(plant(tmp_path, *names))) is None


@pytest.mark.cases("C22")
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_records_are_named(tmp_path, pack):
    (tmp_path / "train.tfrecord").write_bytes(pack(bytes(range(200))))
    looked = image_sets.look(tmp_path, SPEC)
    with pytest.raises(DataError) as caught:
        load.load(str(tmp_path), SPEC)
    for said in (str(looked), caught.value.message):
        assert "train.tfrecord are compressed as a whole" in said
        assert "gunzip" in said


def _feature(tf, value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(value).tolist()))


def write_records(tf, path, rows) -> None:
    """A TFRecord file of these features."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for features in rows:
            named = {name: _feature(tf, value) for name, value in features.items()}
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()
            )


@pytest.fixture
def rows(tf, arrays):
    """The training images as features, 60 of them, labels from 0 to 2."""
    found = []
    for image, label in zip(arrays["x_train"][:60], arrays["y_train"][:60], strict=True):
        found.append(
            {
                "image/encoded": tf.io.encode_png(image[..., None]).numpy(),
                "image/class/label": int(label),
            }
        )
    return found


@tensorflow_run
@pytest.mark.cases("C21", "C22")
def test_record_labels_from_one(tf, tmp_path, rows):
    """As ImageNet has them: the labels' own numbers are the classes' names."""
    shifted = [dict(row, **{"image/class/label": row["image/class/label"] + 1}) for row in rows]
    write_records(tf, tmp_path / "train-00000-of-00002", shifted[:30])
    write_records(tf, tmp_path / "train-00001-of-00002", shifted[30:])
    loaded = load.load(str(tmp_path), SPEC)
    assert (loaded.train.rows, loaded.test.rows, loaded.classes) == (48, 12, 3)
    assert loaded.class_names == ["1", "2", "3"]
    assert any(
        "labels go from 1 to 3: label 1 becomes class number 0" in note for note in loaded.notes
    )


BAD = {
    "raw": ({"image_raw": bytes(3072), "label": 1, "height": 32, "width": 32, "depth": 3},
            "image_raw of its first record holds bare pixels (3,072 bytes, an image of 32x32x3)"),
    "raw-without-size": ({"image_raw": bytes(3072), "label": 1}, "3,072 bytes that are not a JPEG or PNG"),
    "gif": ({"image/encoded": b"GIF89a" + bytes(50), "label": 1}, "they begin with 47494638"),
    "text-label": ({"image": b"\xff\xd8\xff", "label": b"cat"}, "label of its first record holds 1 text; expected one"),
    "float-label": ({"image": b"\xff\xd8\xff", "label": 1.0}, "label of its first record holds 1 floats"),
    "one-hot": ({"image": b"\xff\xd8\xff", "label": [0, 1]}, "label of its first record holds 2 whole numbers"),
}  # fmt: skip


@tensorflow_run
@pytest.mark.cases("C32")
@pytest.mark.parametrize(("features", "said"), BAD.values(), ids=BAD)
def test_records_that_are_not_images(tf, tmp_path, features, said):
    """The first record says why, before anything is decoded."""
    write_records(tf, tmp_path / "train.tfrecord", [features])
    with pytest.raises(DataError) as caught:
        load.load(str(tmp_path), SPEC)
    assert said in caught.value.message


@tensorflow_run
@pytest.mark.cases("C22")
def test_thousand_shards_are_opened(tf, tmp_path, rows):
    """ImageNet has 1,024 of them, and a process may have that many files open by default."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 300:
        pytest.skip("this process may not have 300 files open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        for number in range(150):
            write_records(tf, tmp_path / f"train-{number:05}-of-00150", [rows[number % 60]])
        assert load.load(str(tmp_path), SPEC).train.rows == 120
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


PUBLISHED = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
DOTTED = (
    "train-images.idx3-ubyte",
    "train-labels.idx1-ubyte",
    "t10k-images.idx3-ubyte",
    "t10k-labels.idx1-ubyte",
)
# The names of train's images and labels, and of test's
IDX = {
    "published": PUBLISHED,
    "dotted": DOTTED,
    "packed": (f"{PUBLISHED[0]}.gz", f"{DOTTED[1]}.GZ", f"{DOTTED[2]}.gz", f"{PUBLISHED[3]}.gz"),
    "capitals": (
        "TRAIN-IMAGES.IDX3-UBYTE", "Train-Labels.idx1-ubyte", "T10K-images.idx3-ubyte", "T10K-LABELS.IDX1-UBYTE",
    ),
    "emnist": (
        "emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte",
        "emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte",
    ),
    "own-folders": (
        "train-images-idx3-ubyte/train-images-idx3-ubyte", "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte/t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte",
    ),
}  # fmt: skip


def write_idx(top: Path, names, arrays) -> Path:
    for name, array in zip(names, ("x_train", "y_train", "x_test", "y_test"), strict=True):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        content = _idx(arrays[array])
        (top / name).write_bytes(
            gzip.compress(content) if name.lower().endswith(".gz") else content
        )
    return top


@pytest.mark.cases("C23")
@pytest.mark.parametrize("names", IDX.values(), ids=IDX)
def test_idx_files_under_their_names(tmp_path, arrays, names, cli, monkeypatch):
    """The trainer, the check and staging take them; what is staged has the standard names."""
    top = write_idx(tmp_path / "set", names, arrays)
    loaded = load.load(str(top), DataSpec())
    np.testing.assert_array_equal(loaded.train.images[..., 0], arrays["x_train"])
    np.testing.assert_array_equal(loaded.test.labels, arrays["y_test"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert image_sets.look(top, DataSpec()) is None
    assert [row["shape"] for row in checked_arrays.look(top).values()] == [
        [301, 10, 10],
        [301],
        [101, 10, 10],
        [101],
    ]
    answer = cli("data", "stage", "mine", "--from", top, "--data-root", tmp_path / "data")
    assert answer.out == f"{tmp_path}/data/mine\n", answer.err
    standard = {
        name.removesuffix(".gz")
        for name in (path.name for path in (tmp_path / "data/mine").iterdir())
    }
    assert standard == set(IDX["published"])
    assert load.load(str(tmp_path / "data/mine"), DataSpec()).train.rows == 301


@pytest.mark.cases("C23")
def test_kaggle_zip_has_files_twice(tmp_path, arrays):
    top = write_idx(write_idx(tmp_path, IDX["dotted"], arrays), IDX["own-folders"], arrays)
    assert load.load(str(top), DataSpec()).train.rows == 301


@pytest.mark.cases("C23")
def test_idx_files_of_several_sets(tmp_path, arrays):
    """EMNIST unpacks all its sets into one folder: which is wanted is not guessed."""
    write_idx(tmp_path, IDX["emnist"], arrays)
    write_idx(tmp_path, [name.replace("letters", "digits") for name in IDX["emnist"]], arrays)
    _, problems = read_arrays(str(tmp_path))
    assert (
        "x_train: may be in " in problems[0]
        and "put the four files of one set into a folder" in problems[0]
    )
    assert len(problems) == 4


@pytest.mark.cases("C23")
def test_gzip_is_recognised_by_content(tmp_path, arrays, cli, monkeypatch):
    """Browsers unpack files and leave their name, or take the ending away and unpack nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    top = write_idx(tmp_path / "set", IDX["published"], arrays)
    for number, path in enumerate(sorted(top.iterdir())):
        content = path.read_bytes()
        if number % 2:
            path.write_bytes(gzip.compress(content))
        else:
            path.rename(f"{path}.gz")
    loaded = load.load(str(top), DataSpec())
    np.testing.assert_array_equal(loaded.train.images[..., 0], arrays["x_train"])
    assert [row["shape"] for row in checked_arrays.look(top).values()] == [
        [301, 10, 10],
        [301],
        [101, 10, 10],
        [101],
    ]


@pytest.mark.cases("C23", "C22")
def test_idx_labels_from_one(tmp_path, arrays):
    """EMNIST's letters have labels 1 to 26: 26 classes, not 27 with an empty one."""
    shifted = {name: array + (name[0] == "y") for name, array in arrays.items()}
    top = write_idx(tmp_path / "set", IDX["emnist"], shifted)
    loaded = load.load(str(top), DataSpec())
    np.testing.assert_array_equal(loaded.train.labels, arrays["y_train"])
    np.testing.assert_array_equal(loaded.test.labels, arrays["y_test"])
    classes = int(arrays["y_train"].max()) + 1
    assert loaded.classes == classes
    assert loaded.class_names == [str(number) for number in range(1, classes + 1)]
    assert loaded.notes == [
        f"labels go from 1 to {classes}: label 1 becomes class number 0, and so on"
    ]


@pytest.mark.cases("C23")
def test_packed_idx_files_are_named(tmp_path, arrays):
    """The message names files that look like IDX files and have to be unpacked first."""
    for name in ("train-images.idx", "t10k-images-idx3-ubyte.zip"):
        (tmp_path / name).touch()
    _, problems = read_arrays(str(tmp_path))
    assert (
        "the folder holds t10k-images-idx3-ubyte.zip, train-images.idx: unpack it first"
        in problems[0]
    )


@pytest.mark.cases("C22")
def test_test_records_are_never_trained_on(tmp_path):
    """Where no name begins or ends with a part, one that has a part's name in it is not taken for training."""
    top = plant(tmp_path, "pets_test_of_cats.tfrecord", "pets_learn_of_cats.tfrecord")
    files = find_records(str(top))
    assert files is not None
    assert (
        "pets_test_of_cats.tfrecord may be of another part than the training"
        in files.problems[0][0]
    )


DEEPER = {
    "tfds": (["mnist/3.0.1/mnist-train.tfrecord-00000-of-00001"], "mnist/3.0.1"),
    "torchvision": (
        ["MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/t10k-labels-idx1-ubyte"],
        "MNIST/raw",
    ),
    "kaggle": (["tfrecords-192/train/00.tfrec", "tfrecords-224/train/00.tfrec"], "tfrecords-192"),
}


@pytest.mark.cases("C22", "C23")
@pytest.mark.parametrize(("names", "place"), DEEPER.values(), ids=DEEPER)
def test_files_further_down_are_named(tmp_path, names, place):
    """Archives unpack into folders of folders: the right data.path is said, not that these are no images."""
    top = plant(tmp_path / "set", *names)
    looked = image_sets.look(top, DataSpec(image_size=[4, 4]))
    assert looked and looked.problems == [
        (f"its TFRecord or IDX files lie in {top}/{place}", f"set data.path to {top}/{place}")
    ]
    with pytest.raises(DataError, match=f"set data.path to {top}/{place}$"):
        load.load(str(top), DataSpec(image_size=[4, 4]))
