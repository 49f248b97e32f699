"""What is staged: listed with sizes and sources, verified, copied from files, and found by Keras in a job's home."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hpcdl.contract import staged_names
from hpcdl.contract.errors import DataError
from hpcdl.launch.command import prepare_home
from hpcdl.staging import catalogue, how_to_stage
from hpcdl.trainer.dataset import arrays
from tests.staging.conftest import HDF5, archive_of, cifar10_members, names, sha256

REPOSITORY = Path(__file__).parents[2]
WEIGHTS = REPOSITORY.parent / "shared/data/weights/mobilenet_v2_imagenet_1.0_224_no_top_bnfolded.h5"
NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture
def data(cli, tmp_path):
    """Runs a data command on this test's data_root."""

    def run(*argv: object) -> object:
        return cli("data", *argv, "--data-root", tmp_path / "data")

    return run


@pytest.fixture
def two(data, tmp_path):
    """A set and weights, staged."""
    np.savez(
        tmp_path / "my.npz", x_train=np.zeros((6, 8, 8), np.uint8), y_train=np.arange(6) % 3,
        x_test=np.zeros((3, 8, 8), np.uint8), y_test=np.arange(3),
    )  # fmt: skip
    (tmp_path / NO_TOP).write_bytes(HDF5 + b"weights")
    assert data("stage", "mine", "--from", tmp_path / "my.npz").code == 0
    assert (
        data("stage", "weights/MobileNetV2", "--from", tmp_path / NO_TOP).out
        == f"{tmp_path}/data/models/{NO_TOP}\n"
    )
    return data


def test_list_shows_all_columns(two, tmp_path):
    """Each row has size, contents, checksum, time and path."""
    listed = two("list")

    mine, weights = listed.out.splitlines()
    digest = sha256((tmp_path / "my.npz").read_bytes())
    assert mine.split()[:2] == ["mine", "0.0"]
    assert "1 file " in mine and "9 images, 3 classes" in mine and f" {digest[:12]}… " in mine
    assert mine.endswith(f"{tmp_path}/data/mine.npz")
    assert weights.startswith(f"weights/{NO_TOP} ") and weights.endswith(
        f"{tmp_path}/data/models/{NO_TOP}"
    )
    assert listed.err.splitlines() == [
        f"data_root is {tmp_path}/data", "not staged: digits, mnist, fashion_mnist, cifar10, cifar100"
    ]  # fmt: skip


def test_list_as_json(two, tmp_path):
    answer = json.loads(two("list", "--json").out)

    assert answer["data_root"] == f"{tmp_path}/data"
    mine, weights = answer["staged"]
    size = (tmp_path / "my.npz").stat().st_size
    assert mine.pop("staged").endswith("Z")
    assert mine == {
        "name": "mine", "path": f"{tmp_path}/data/mine.npz", "bytes": size, "files": 1, "images": 9, "classes": 3,
        "sha256": {"mine.npz": sha256((tmp_path / "my.npz").read_bytes())}, "source": f"{tmp_path}/my.npz",
    }  # fmt: skip
    assert (weights["name"], weights["images"]) == (f"weights/{NO_TOP}", None)


def test_list_shows_sets_without_checksums(data, tmp_path):
    """Sets that were copied by hand are listed; verify names them without failing."""
    (tmp_path / "data/models").mkdir(parents=True)
    np.savez(tmp_path / "data/hand.npz", x_train=np.zeros(3))
    (tmp_path / "data/models/own.h5").write_bytes(HDF5)

    listed, verified = data("list"), data("verify")

    assert [line.split()[0] for line in listed.out.splitlines()] == ["hand", "weights/own.h5"]
    assert listed.out.count("no checksums") == 2
    assert (verified.code, verified.out) == (0, "")
    assert (
        "no checksums, because hpcdl data stage did not put them there: hand, weights/own.h5"
        in verified.err
    )


def test_list_without_sets(data):
    assert (data("list").code, data("list").out, data("verify").code) == (0, "", 0)


def test_checksums_of_older_hpcdl(data, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/old.npz").write_bytes(b"x")
    (tmp_path / "data/old.npz.sha256").write_text(f"{sha256(b'x')}  old.npz\n")

    assert data("verify", "old").out == f"ok       {tmp_path}/data/old.npz\n"
    assert json.loads(data("list", "--json").out)["staged"][0]["staged"] == ""


def test_verify_unchanged_sets(two, tmp_path):
    answer = two("verify")

    assert answer.code == 0
    assert answer.out.splitlines() == [
        f"ok       {tmp_path}/data/mine.npz", f"ok       {tmp_path}/data/models/{NO_TOP}"
    ]  # fmt: skip


def test_verify_names_changed_files(two, tmp_path):
    (tmp_path / "data/mine.npz").write_bytes(b"other")
    (tmp_path / "data/models" / NO_TOP).unlink()

    answer = two("verify")

    assert answer.code == 1
    assert answer.out.splitlines() == [
        f"changed  {tmp_path}/data/mine.npz", f"missing  {tmp_path}/data/models/{NO_TOP}"
    ]  # fmt: skip
    assert f"not what was staged: mine, weights/{NO_TOP}. To put it there again:" in answer.err
    assert f"hpcdl data stage mine --from FILE.npz --data-root {tmp_path}/data" in answer.err
    assert (
        f"on a machine with internet: hpcdl data stage weights/{NO_TOP} --data-root" in answer.err
    )


def test_verify_one(two, tmp_path):
    (tmp_path / "data/mine.npz").write_bytes(b"other")

    assert two("verify", "weights/MobileNetV2").out == f"ok       {tmp_path}/data/models/{NO_TOP}\n"
    assert two("verify", f"weights/{NO_TOP}").code == 0
    assert two("verify", "mine").code == 1
    unknown = two("verify", "mnist")
    assert (unknown.code, unknown.out) == (2, "")
    assert f"'mnist' is not under {tmp_path}/data; there is mine, weights/{NO_TOP}" in unknown.err


def test_verify_as_json(two, tmp_path):
    (tmp_path / "data/mine.npz").write_bytes(b"other")

    answer = two("verify", "--json")

    assert answer.code == 1
    assert json.loads(answer.out) == {
        "data_root": f"{tmp_path}/data",
        "files": {"mine": {"mine.npz": "changed"}, f"weights/{NO_TOP}": {NO_TOP: "ok"}},
        "changed": ["mine"],
        "no_checksums": [],
    }


def test_weights_with_unknown_name_are_refused(data, tmp_path):
    """Keras would not look for that name: the message gives the command that renames it."""
    (tmp_path / "mine.h5").write_bytes(HDF5)

    answer = data("stage", "weights/VGG16", "--from", tmp_path / "mine.h5")

    name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert answer.code == 2
    assert f"mine.h5 is not a name that Keras looks for; those of VGG16 are: {name}." in answer.err
    told = answer.err.split("hpcdl data stage ")[1].split()
    assert data("stage", *told).out == f"{tmp_path}/data/models/{name}\n"


def test_weights_with_wrong_top_are_refused(data, tmp_path):
    """Weights without top are not accepted for --include-top."""
    (tmp_path / NO_TOP).write_bytes(HDF5)

    answer = data("stage", "weights/MobileNetV2", "--include-top", "--from", tmp_path / NO_TOP)

    assert answer.code == 2
    assert f"{NO_TOP} is not a name that Keras looks for" in answer.err


def test_weights_that_are_not_hdf5(data, tmp_path):
    (tmp_path / NO_TOP).write_bytes(b"<html>")

    answer = data("stage", "weights/MobileNetV2", "--from", tmp_path / NO_TOP)

    assert (answer.code, answer.out) == (2, "")
    assert f"{tmp_path}/{NO_TOP} is not an HDF5 file" in answer.err


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"needs {WEIGHTS}")
def test_real_weights_copied(data, tmp_path):
    answer = data("stage", f"weights/{NO_TOP}", "--from", WEIGHTS)

    assert (tmp_path / "data/models" / NO_TOP).read_bytes() == WEIGHTS.read_bytes(), answer.err


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"needs {WEIGHTS.parents[1]}")
def test_real_sets_copied_and_counted(data):
    rebuilt = data("stage", "mnist", "--from", WEIGHTS.parents[1] / "mnist.npz")
    data("stage", "fashion_mnist", "--from", WEIGHTS.parents[1] / "fashion-mnist")

    assert "mnist.npz does not have the checksum that Keras publishes" in rebuilt.err
    rows = {row["name"]: row for row in json.loads(data("list", "--json").out)["staged"]}
    for name, files in (("mnist", 1), ("fashion_mnist", 4)):
        assert (rows[name]["images"], rows[name]["classes"], rows[name]["files"]) == (
            70000,
            10,
            files,
        )
    assert data("verify").code == 0


def test_cifar_archive_from_user(data, tmp_path, monkeypatch):
    content = archive_of(cifar10_members())
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)

    refused = data("stage", "cifar10", "--from", tmp_path / "cifar-10-python.tar.gz")
    assert (refused.code, names(tmp_path / "data")) == (2, [])
    assert "is not cifar10's archive as it is published" in refused.err

    source = catalogue.SETS["cifar10"][0]
    published = catalogue.Source(source.file, source.url, sha256(content))
    monkeypatch.setitem(catalogue.SETS, "cifar10", (published,))
    assert data("stage", "cifar10", "--from", tmp_path / "cifar-10-python.tar.gz").code == 0
    row = json.loads(data("list", "--json").out)["staged"][0]
    assert (row["name"], row["images"], row["files"]) == ("cifar10", 12, 2)
    assert data("verify", "cifar10").out.count("ok ") == 3


def test_home_links_sets_into_own_folder(tmp_path):
    """Keras unpacks archives beside them: the folder is the job's own, what is in it leads to data_root."""
    root = tmp_path / "data"
    (root / "models").mkdir(parents=True)
    (root / "fashion-mnist").mkdir()
    (root / "mnist.npz").write_text("")
    (root / ".cifar10.npz.staging").mkdir()

    for _ in range(2):  # at each attempt
        prepare_home(tmp_path / "home", str(root))
        keras = tmp_path / "home/.keras"
        assert sorted(os.listdir(keras / "datasets")) == ["fashion-mnist", "mnist.npz", "models"]
        assert os.readlink(keras / "datasets/mnist.npz") == str(root / "mnist.npz")
        assert os.readlink(keras / "models") == str(root / "models")
    (keras / "datasets/new").mkdir()
    assert not (root / "new").exists()

    (root / "late.npz").write_text("")
    prepare_home(tmp_path / "home", str(root))
    assert (keras / "datasets/late.npz").exists()


@pytest.mark.cases("C42")
def test_home_links_only_needed_sets(tmp_path, hpcdl_process):
    """Of 30,000 entries those are linked that Keras or the script names, by submit and by the rendered script."""
    (tmp_path / "data/models").mkdir(parents=True)
    for number in range(30_000):
        os.mknod(tmp_path / f"data/f{number}")
    for name in ("mnist.npz", "photos.tgz", "late.tar.gz"):
        (tmp_path / "data" / name).write_text("")
    source = "get_file('f17', origin='http://x/f18')\nget_file('photos.tgz')\nget_file('late', extract=True)\n"
    expected = ["f17", "f18", "late.tar.gz", "mnist.npz", "models", "photos.tgz"]

    prepare_home(tmp_path / "home", str(tmp_path / "data"), [source])

    assert sorted(os.listdir(tmp_path / "home/.keras/datasets")) == expected
    (tmp_path / "program.py").write_text(source)
    (tmp_path / "job.yaml").write_text("name: a\nscript: program.py\n")
    site = (
        "--cluster",
        "generic",
        "--set",
        f"cluster.data_root={tmp_path}/data",
        "--set",
        "container=/i/tf.sif",
    )
    text = hpcdl_process("render", tmp_path / "job.yaml", *site).out
    begin = text.partition("# The program and what it may see")[0]
    subprocess.run(["bash", "-eu", "-c", begin], cwd=tmp_path, check=True)
    assert sorted(os.listdir(tmp_path / ".hpcdl/.keras/datasets")) == expected


def test_home_of_older_hpcdl_is_kept(tmp_path):
    """There, the folder of sets was one link to data_root: nothing may be written through it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mnist.npz").write_text("x")
    (tmp_path / "home/.keras").mkdir(parents=True)
    (tmp_path / "home/.keras/datasets").symlink_to(tmp_path / "data")

    prepare_home(tmp_path / "home", str(tmp_path / "data"))

    assert names(tmp_path / "data") == ["mnist.npz"]
    assert (tmp_path / "data/mnist.npz").read_text() == "x"


def test_rendered_script_prepares_same_home(tmp_path, hpcdl_process, hostile):
    (hostile / "data/models").mkdir(parents=True)
    for name in ("a b.npz", "mnist.npz", ".hidden"):
        (hostile / "data" / name).write_text("")
    (tmp_path / "program.py").write_text("")
    (tmp_path / "job.yaml").write_text(
        "name: a\nscript: program.py\nresources: {gpus: 1, time: '00:10:00'}\n"
    )
    site = tmp_path / "site.yaml"
    site.write_text(
        f"name: site\nnode: {{cpus: 8, gpus: 2}}\ndata_root: {json.dumps(str(hostile / 'data'))}\n"
    )
    answer = hpcdl_process(
        "render", tmp_path / "job.yaml", "--cluster", site, "--set", "container=/i/tf.sif"
    )
    assert answer.code == 0, answer.err
    begin = answer.out.partition("# The program and what it may see")[0]

    done = subprocess.run(
        ["bash", "-eu", "-c", begin], cwd=tmp_path, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path / ".hpcdl/.keras/datasets")) == [
        "a b.npz",
        "mnist.npz",
        "models",
    ]


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("mnist.npz", "on a machine with internet: hpcdl data stage mnist --data-root {root}"),
        (
            "fashion-mnist",
            "on a machine with internet: hpcdl data stage fashion_mnist --data-root {root}",
        ),
        ("digits.npz", "hpcdl data stage digits --data-root {root}"),
        ("mine.npz", "hpcdl data stage mine --from FILE --data-root {root}"),
        ("other/mnist.npz", "correct data.path; a container sees only data_root and bound folders"),
        ("folder", "correct data.path; a container sees only data_root and bound folders"),
    ],
)
def test_trainer_names_staging_command(tmp_path, monkeypatch, file, hint):
    monkeypatch.setenv("HPCDL_DATA_ROOT", str(tmp_path))

    with pytest.raises(DataError) as missing:
        arrays.read_arrays(f"{tmp_path}/{file}")

    assert missing.value.hint == hint.format(root=tmp_path)


def test_trainer_and_catalogue_sets_agree():
    assert set(staged_names.FETCHED) == set(catalogue.SETS)
    assert set(staged_names.EMBEDDED) == set(catalogue.EMBEDDED)


def test_command_is_quoted(tmp_path):
    assert (
        how_to_stage("digits", f"{tmp_path}/a b")
        == f"hpcdl data stage digits --data-root '{tmp_path}/a b'"
    )


@pytest.mark.cases("F23")
def test_verify_reports_nothing_to_check(cli, tmp_path):
    """A mistyped --data-root would look as if all were well."""
    (tmp_path / "data").mkdir()
    empty = cli("data", "verify", "--data-root", tmp_path / "data")
    gone = cli("data", "verify", "--data-root", tmp_path / "nothere")

    assert (
        empty.err
        == f"data_root is {tmp_path}/data, and nothing is staged there yet; see hpcdl data stage\n"
    )
    assert (
        gone.err == f"data_root is {tmp_path}/nothere, which does not exist; see hpcdl data stage\n"
    )
