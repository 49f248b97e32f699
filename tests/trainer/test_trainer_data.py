"""Every fault of a data set is found at once, with the array's name; good ones are read alike."""

import numpy as np
import pytest

from hpcdl.contract.errors import DataError
from hpcdl.contract.spec import DataSpec
from hpcdl.trainer.dataset import load as data


@pytest.fixture
def load(tmp_path, arrays):
    def load(**changes):
        changed = {
            name: array for name, array in {**arrays, **changes}.items() if array is not None
        }
        np.savez(tmp_path / "data.npz", **changed)
        return data.load(str(tmp_path / "data.npz"), DataSpec())

    return load


def problems(load, **changes):
    with pytest.raises(DataError) as caught:
        load(**changes)
    return str(caught.value)


def test_npz_is_read(load, arrays):
    dataset = load()
    assert (dataset.image_shape, dataset.classes, dataset.train.rows, dataset.test.rows) == (
        (10, 10, 1),
        3,
        301,
        101,
    )
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.scale == 1 / 255
    np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["x_train"])
    np.testing.assert_array_equal(dataset.test.labels, arrays["y_test"])


@pytest.mark.parametrize("packed", [False, True], ids=["idx", "idx.gz"])
def test_idx_folder_equals_npz(load, arrays, write_idx, tmp_path, packed):
    idx, npz = data.load(str(write_idx(tmp_path / "idx", arrays, packed)), DataSpec()), load()
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(idx, part).images, getattr(npz, part).images)
        np.testing.assert_array_equal(getattr(idx, part).labels, getattr(npz, part).labels)


def test_label_forms_become_class_numbers(load, arrays):
    """One-hot, column and float labels give the same class numbers."""
    plain = load().train.labels
    for given in (
        np.eye(3)[arrays["y_train"]],
        arrays["y_train"][:, None],
        arrays["y_train"].astype("f8"),
    ):
        np.testing.assert_array_equal(load(y_train=given).train.labels, plain)


@pytest.mark.parametrize("dtype", ["int64", "float64", "float32"])
def test_other_dtypes_give_same_images(load, arrays, dtype):
    plain, other = load().train, load(x_train=arrays["x_train"].astype(dtype)).train
    np.testing.assert_allclose(other.images * other.scale, plain.images * plain.scale, rtol=1e-6)


def test_floats_to_one_are_unscaled(load, arrays):
    dataset = load(x_train=arrays["x_train"] / 255, x_test=arrays["x_test"] / 255)
    assert dataset.train.images.dtype == np.float32
    assert dataset.train.scale == 1


def broken(array, value):
    copy = array.astype("f4")
    copy.flat[7] = value
    return copy


FAULTS = [
    ("x_train", lambda a: None, "is not in data.npz; found"),
    ("x_train", lambda a: a[:, 0], "has shape (301, 10)"),
    ("x_train", lambda a: np.zeros((301, 10, 10, 5), "u1"), "1 to 4 channels"),
    ("x_train", lambda a: a[:0], "has shape (0, 10, 10)"),
    ("x_train", lambda a: a[:-1], "has 300 images but y_train has 301 labels"),
    ("x_test", lambda a: a[:, :9], "expected (10, 10, 1) as in x_train"),
    ("x_test", lambda a: np.zeros((101, 10, 10, 3), "u1"), "expected (10, 10, 1) as in x_train"),
    ("x_train", lambda a: broken(a, np.nan), "1 values that are NaN or infinite"),
    ("x_train", lambda a: broken(a, np.inf), "1 values that are NaN or infinite"),
    ("x_train", lambda a: broken(a, 256), "to 256.0 (float32); expected [0, 1] or [0, 255]"),
    ("x_train", lambda a: a.astype("i2") - 200, "(int16); expected [0, 1] or [0, 255]"),
    ("x_train", lambda a: a.astype("c8"), "dtype complex64"),
    ("x_train", lambda a: a.astype(object), "dtype object"),
    ("y_train", lambda a: a.astype(str), "dtype <U"),
    ("y_train", lambda a: a - 1.0, "go from -1.0 to 1.0"),
    ("y_train", lambda a: a + 0.5, "fractions"),
    ("y_train", lambda a: np.ones((301, 3)), "not one-hot"),
    ("y_train", lambda a: a * 0, "class 0 alone"),
    ("y_train", lambda a: a.astype("i4") + 1, "class 0 has 0"),
    ("y_train", lambda a: np.where(np.arange(301) == 5, 3, a), "class 3 has 1"),
    ("y_train", lambda a: np.arange(301) * 7_000_000, "at least 2 rows of each class"),
    ("y_train", lambda a: np.arange(301) * 10**9, "expected class numbers from 0"),
    ("y_test", lambda a: a + 1, "holds class 3; expected classes 0 to 2"),
]


@pytest.mark.parametrize(("name", "change", "message"), FAULTS, ids=[fault[2] for fault in FAULTS])
def test_fault_names_array_and_expectation(load, arrays, name, change, message):
    text = problems(load, **{name: change(arrays[name])})
    assert message in text
    assert name in text
    assert len(text.splitlines()) == 2, "one fault is one line"


def test_different_ranges_are_refused(load, arrays):
    """Training and test images with different ranges of values are a mistake."""
    text = problems(load, x_train=arrays["x_train"].astype("f4"), x_test=arrays["x_test"] / 255)
    assert "x_test: values go up to 0." in text


def test_all_array_faults_are_reported(load, arrays):
    text = problems(
        load,
        x_train=broken(arrays["x_train"], np.nan),
        y_train=arrays["y_train"].astype("f4") - 1,
        x_test=None,
        y_test=arrays["y_test"].astype(object),
    )
    assert [line.split(":")[0].strip() for line in text.splitlines()[1:]] == [
        "x_test",
        "y_test",
        "x_train",
        "y_train",
    ]


def test_missing_path_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.npz: no such file"):
        data.load(str(tmp_path / "nowhere.npz"), DataSpec())


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_truncated_npz_is_recognised(load, tmp_path, keep):
    load()
    whole = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(DataError, match=r"cannot be read as .npz"):
        data.load(str(tmp_path / "short.npz"), DataSpec())


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
def test_flipped_byte_is_recognised(arrays, tmp_path, packed):
    (np.savez_compressed if packed else np.savez)(tmp_path / "data.npz", **arrays)
    content = bytearray((tmp_path / "data.npz").read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x_train: .*damaged"):
        data.load(str(tmp_path / "data.npz"), DataSpec())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:500], "holds 484 bytes after its header; expected 30100"),
        (lambda content: b"\x00\x00\x0d" + content[3:], "starts with 00000d03; expected 00000803"),
        (lambda content: b"", "starts with nothing"),
    ],
)
def test_damaged_idx_file_is_named(arrays, write_idx, tmp_path, damage, message):
    folder = write_idx(tmp_path / "idx", arrays, packed=False)
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError) as caught:
        data.load(str(folder), DataSpec())
    assert "x_train (train-images-idx3-ubyte): " + message in str(caught.value)


def test_all_bad_idx_files_are_named(arrays, write_idx, tmp_path):
    folder = write_idx(tmp_path / "idx", arrays, packed=True)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"not gzip")
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError) as caught:
        data.load(str(folder), DataSpec())
    starts = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert starts == [
        "x_train (train-images-idx3-ubyte.gz)",
        "x_test",
        "y_test (t10k-labels-idx1-ubyte.gz)",
    ]


def test_validation_rows_depend_on_seed_only():
    labels = np.arange(300) % 3
    training, validation = data.split_rows(labels, 0.1, seed=1)
    assert (len(training), len(validation)) == (270, 30)
    assert sorted([*training, *validation]) == list(range(300))
    np.testing.assert_array_equal(data.split_rows(labels, 0.1, seed=1)[1], validation)
    assert set(data.split_rows(labels, 0.1, seed=2)[1]) != set(validation)


def test_validation_split_is_stratified():
    labels = np.repeat([0, 1, 2], [100, 20, 10])
    _, validation = data.split_rows(labels, 0.2, seed=1)
    assert np.bincount(labels[validation]).tolist() == [20, 4, 2]


def test_split_with_empty_class_is_refused():
    with pytest.raises(DataError, match="class 1: 0 of its 3 rows") as caught:
        data.split_rows(np.repeat([0, 1], [60, 3]), 0.1, seed=1)
    assert "data.validation_split 0.1" in str(caught.value)
    with pytest.raises(DataError, match="class 0: 1 of its 1 rows"):
        data.split_rows(np.array([0, 1, 1]), 0.9, seed=1)


def test_epochs_have_their_own_order():
    rows = np.arange(50, dtype=np.int32)
    first, second = data.epoch_order(rows, 1, 0), data.epoch_order(rows, 1, 1)
    assert sorted(first) == sorted(second) == list(rows)
    assert list(first) != list(second)
    np.testing.assert_array_equal(first, data.epoch_order(rows, 1, 0))
