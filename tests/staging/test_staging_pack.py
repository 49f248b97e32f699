"""Folders of images become packed sets: their parts and rows, what is refused, what a kill leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpcdl.staging import pack as packing

SIGNS = Path(__file__).parents[2].parent / "shared/data/sign_digits"


def picture(
    path: Path, size: tuple[int, int] = (8, 6), value: int = 0, kind: str | None = None
) -> None:
    """Write an image of height, width, all of whose pixels follow from the value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (np.arange(size[0] * size[1] * 3).reshape(*size, 3) * 7 + value * 31) % 256
    Image.fromarray(pixels.astype(np.uint8)).save(path, kind)


def pictures(folder: Path, classes: int = 2, each: int = 10) -> Path:
    for label in range(classes):
        for number in range(each):
            picture(folder / f"class{label}" / f"{number:03d}.png", value=label * each + number)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path):
    return pictures(tmp_path / "signs")


@pytest.fixture
def pack(cli, tmp_path):
    """Packs to this test's data_root."""

    def run(*argv):
        return cli("data", "pack", *argv, "--data-root", tmp_path / "data")

    return run


def test_packed_set_has_every_image_once(pack, folder, tmp_path):
    answer = pack(folder)

    out = tmp_path / "data/signs"
    assert (answer.code, answer.out) == (0, f"{out}\n"), answer.err
    assert (
        "packed signs: 16 training and 4 test images of 8x6x3, 2 classes; 20 files, 0.0 MB -> 6 files"
        in answer.err
    )
    about = json.loads((out / "pack.json").read_text())
    assert (about["format"], about["version"], about["storage"]) == ("hpcdl-pack", 1, "npy")
    assert (about["classes"], about["image_size"], about["channels"]) == (
        ["class0", "class1"],
        [8, 6],
        3,
    )
    assert [about["parts"][part]["rows_per_class"] for part in ("train", "test")] == [
        [8, 8],
        [2, 2],
    ]
    found = {}
    for part in ("train", "test"):
        rows, labels = np.load(out / f"{part}.npy"), np.load(out / f"{part}.labels.npy")
        assert (rows.dtype, rows.shape[1:], labels.dtype) == (np.uint8, (8, 6, 3), np.int32)
        for line in (line for line in lines(out) if line["part"] == part):
            with Image.open(folder / line["file"]) as image:
                np.testing.assert_array_equal(rows[line["row"]], np.asarray(image))
            assert (
                about["classes"][labels[line["row"]]] == line["class"] == line["file"].split("/")[0]
            )
            found[line["file"]] = line
    assert sorted(found) == [
        f"class{label}/{number:03d}.png" for label in range(2) for number in range(10)
    ]
    assert np.load(out / "train.labels.npy").tolist() != sorted(
        np.load(out / "train.labels.npy")
    ), "rows are shuffled"
    subprocess.run(
        ["sha256sum", "--check", "--strict", "signs.sha256"], cwd=tmp_path / "data", check=True
    )


def test_packed_set_is_listed_and_verified(pack, cli, folder, tmp_path):
    pack(folder)
    (root,) = (("--data-root", tmp_path / "data"),)

    assert (
        "6 files" in cli("data", "list", *root).out
        and "20 images, 2 classes" in cli("data", "list", *root).out
    )
    assert cli("data", "verify", "signs", *root).code == 0
    with (tmp_path / "data/signs/train.npy").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"!")
    changed = cli("data", "verify", *root)

    assert (changed.code, changed.out.count("changed ")) == (1, 1)
    assert f"hpcdl data pack {folder} --to {tmp_path}/data/signs" in changed.err
    assert "packed signs" in pack(folder).err, "a damaged set is made again"
    assert cli("data", "verify", *root).code == 0


def test_unchanged_folder_is_not_packed_again(pack, folder, tmp_path):
    pack(folder)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data/signs").iterdir()}

    answer = pack(folder)

    assert (answer.code, answer.out) == (0, f"{tmp_path}/data/signs\n")
    assert "signs is packed already, and unchanged" in answer.err
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data/signs").iterdir()}
    picture(folder / "class0/new.png")
    assert "packed signs: 17 training and 4 test" in pack(folder).err
    assert sorted(os.listdir(tmp_path / "data")) == ["signs", "signs.sha256"]


def test_pack_split_depends_on_names_only(pack, tmp_path, cli):
    """Number of workers, size and place do not change which image is in which part."""
    first, second = pictures(tmp_path / "a"), pictures(tmp_path / "b")
    cli("data", "pack", first, "--to", tmp_path / "one")
    cli(
        "data",
        "pack",
        second,
        "--to",
        tmp_path / "two",
        "--size",
        "4x4",
        "--color",
        "grey",
        "--workers",
        "2",
    )

    rows = [
        [(line["file"], line["part"], line["row"]) for line in lines(tmp_path / name)]
        for name in ("one", "two")
    ]
    assert rows[0] == rows[1]
    assert np.load(tmp_path / "two/train.npy").shape == (16, 4, 4, 1)


@pytest.mark.parametrize(
    ("parts", "rows"),
    [
        (("train", "test"), (20, 20)),
        (("Training", "TESTING"), (20, 20)),
        (("train", "val", "test"), (40, 20)),
        (("train", "validation"), (32, 8)),
    ],
)
def test_pack_keeps_parts_of_folders(pack, tmp_path, parts, rows):
    for part in parts:
        pictures(tmp_path / "set" / part)

    answer = pack(tmp_path / "set")

    assert f"packed set: {rows[0]} training and {rows[1]} test images" in answer.err
    for part in set(parts) & {"val", "validation"}:
        assert (
            f"{part}: becomes part of train, from which data.validation_split takes its share"
            in answer.err
        )
    if len(rows) == len(parts) and rows[1] == 20:
        tested = {
            line["file"].split("/")[0]
            for line in lines(tmp_path / "data/set")
            if line["part"] == "test"
        }
        assert tested == {parts[1]}


def test_pack_output_independent_of_workers(cli, tmp_path):
    for label in range(3):
        for number in range(120):
            picture(tmp_path / f"set/{label}/{number}.png", (60, 70), 120 * label + number)
        for number in range(0, 120, 20):
            (tmp_path / f"set/{label}/{number}.png").write_text("these rows are closed up")
    for workers in (1, 2):
        argv = ("data", "pack", tmp_path / "set", "--workers", workers, "--skip-bad")
        assert cli(*argv, "--to", tmp_path / f"out{workers}").code == 0
        assert (
            cli(
                *argv,
                "--to",
                tmp_path / f"records{workers}",
                "--format",
                "tfrecord",
                "--shard-mb",
                "0.05",
            ).code
            == 0
        )

    rows = {part: np.load(tmp_path / f"out2/{part}.npy") for part in ("train", "test")}
    used = [line for line in lines(tmp_path / "out2") if "why" not in line]
    assert len(used) == len(rows["train"]) + len(rows["test"]) == 342
    for line in used:
        with Image.open(tmp_path / "set" / line["file"]) as image:
            np.testing.assert_array_equal(rows[line["part"]][line["row"]], np.asarray(image))
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")
    assert contents(tmp_path / "records1") == contents(tmp_path / "records2")
    shards = sorted(path.name for path in (tmp_path / "records1").glob("train*.tfrecord"))
    assert len(shards) > 2 and shards[1] == f"train-00001-of-{len(shards):05d}.tfrecord"
    sizes = [(tmp_path / "records1" / name).stat().st_size for name in shards]
    assert all(50_000 <= size < 80_000 for size in sizes[:-1])


def test_pack_obeys_open_file_limit(tmp_path, program):
    """200 shards are written under a limit of 64 open files."""
    source = pictures(tmp_path / "set", 2, 100)
    argv = [
        *program,
        "data",
        "pack",
        source,
        "--to",
        tmp_path / "out",
        "--format",
        "tfrecord",
        "--shard-mb",
        "1e-6",
    ]

    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash", *argv], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.tfrecord"))) == 200


KILLED = """
import os, signal, sys
from hpcdl.staging import append_file, pack_writer
from hpcdl.cli import main
calls, original = 0, getattr(pack_writer.PackWriter, sys.argv[1])
def call(self, *arguments):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        if sys.argv[1] == "save":
            self._files["train"][-1].add(b"half a row")
            self._files["train"][-1].state()
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments)
setattr(pack_writer.PackWriter, sys.argv[1], call)
main(sys.argv[3:])
"""


@pytest.mark.parametrize("storage", ["npy", "tfrecord"])
def test_killed_pack_continues_to_same_bytes(cli, tmp_path, monkeypatch, storage):
    source = pictures(tmp_path / "set", 2, 300)
    argv = ("data", "pack", source, "--format", storage, "--workers", 1, "--shard-mb", "0.01")
    whole = cli(*argv, "--to", tmp_path / "whole")
    assert whole.code == 0

    for where, call in (("save", 2), ("add", 2), ("save", 1), ("finish", 1), ("close", 1)):
        program = [
            sys.executable,
            "-c",
            KILLED,
            where,
            str(call),
            *map(str, argv),
            "--to",
            str(tmp_path / "out"),
        ]
        done = subprocess.run(program, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (tmp_path / "out").exists()
    answer = cli(*argv, "--to", tmp_path / "out")

    assert answer.code == 0
    assert "resuming after 600 of 600 images" in answer.err
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["out", "out.sha256", "set", "whole", "whole.sha256"]


def test_pack_workers_die_with_parent(tmp_path, program):
    source = pictures(tmp_path / "set", 2, 600)
    argv = [
        *program,
        "data",
        "pack",
        source,
        "--to",
        tmp_path / "out",
        "--size",
        "300x300",
        "--workers",
        "2",
    ]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        while not (tmp_path / ".out.staging/progress.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()

    def left():
        found = subprocess.run(
            ["ps", "-o", "pid=", "-s", str(process.pid)], capture_output=True, text=True
        )
        return found.stdout.split()

    deadline = time.monotonic() + 30
    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left() == []


@pytest.mark.parametrize("change", ["source", "options", "damage", "record"])
def test_changed_pack_starts_over(cli, tmp_path, change):
    """Earlier progress is dropped when the source, the options or the files made so far changed."""
    source = pictures(tmp_path / "set", 2, 300)
    argv = ["data", "pack", source, "--workers", 1, "--to", tmp_path / "out"]
    subprocess.run(
        [sys.executable, "-c", KILLED, "save", "2", *map(str, argv)], capture_output=True
    )
    aside = tmp_path / ".out.staging"
    assert json.loads((aside / "progress.json").read_text())["done"] == 256
    if change == "source":
        picture(source / "class0/000.png", value=99)
    elif change == "options":
        argv += ["--format", "tfrecord"]
    elif change == "damage":
        with (aside / "out/train.npy").open("r+b") as stream:
            stream.seek(500)
            stream.write(b"!")
    else:
        (aside / "progress.json").write_text("{")

    answer = cli(*argv)

    assert answer.code == 0 and "going on" not in answer.err
    shutil.move(tmp_path / "out", tmp_path / "resumed")
    cli(*argv)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "out")


def test_second_pack_waits_for_first(cli, tmp_path, program):
    source = pictures(tmp_path / "set", 2, 300)
    argv = ["data", "pack", source, "--size", "200x200", "--to", tmp_path / "out"]
    with subprocess.Popen(
        [*program, *map(str, argv)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as other:
        while not (tmp_path / ".out.staging/progress.json").exists():
            assert other.poll() is None
            time.sleep(0.01)
        answer = cli(*argv)

    assert other.returncode == 0
    assert "another hpcdl is staging out; waiting for it" in answer.err
    assert "out is packed already, and unchanged" in answer.err


def bad_files(folder: Path) -> dict[str, str]:
    """Put unusable files into a folder of classes: what is said of each."""
    whole = (folder / "class0/000.png").read_bytes()
    picture(folder / "class1/whole.jpg", (40, 40))
    jpeg = (folder / "class1/whole.jpg").read_bytes()
    (folder / "class1/whole.jpg").unlink()
    (folder / "class0/cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "class0/cut.jpg").write_bytes(jpeg[: len(jpeg) * 2 // 3])
    (folder / "class0/no end.JPG").write_bytes(jpeg[:-2])
    (folder / "class1/text.jpg").write_text("no image")
    (folder / "class1/empty.jpg").write_text("")
    (folder / "class1/notes.doc").write_text("what is that")
    (folder / "class1/nowhere.png").symlink_to("gone")
    os.mkfifo(folder / "class1/pipe.png")
    (folder / "class0/new\nline \x1b[31m.jpg").write_text("x")
    return {
        "class0/cut.png": "cannot be decoded: image file is truncated",
        "class0/cut.jpg": "cannot be decoded: image file is truncated",
        "class0/no end.JPG": "cannot be decoded: image file is truncated",
        "class1/text.jpg": "is not a JPEG, PNG, GIF, BMP, WebP, TIFF or PPM image",
        "class1/empty.jpg": "is empty",
        "class1/notes.doc": "is not a JPEG, PNG, GIF, BMP, WebP, TIFF or PPM image",
        "class1/nowhere.png": "No such file or directory",
        "class1/pipe.png": "is not a regular file",
        r"class0/new\nline \x1b[31m.jpg": "is not a JPEG",
    }


@pytest.mark.parametrize("storage", ["npy", "tfrecord"])
def test_pack_names_all_unusable_files(pack, folder, tmp_path, storage):
    """Nothing is put in place until --skip-bad is given; then the good images are packed."""
    expected = bad_files(folder)

    answer = pack(folder, "--size", "8x6", "--format", storage)

    assert (answer.code, answer.out) == (1, "")
    assert "9 of 29 images cannot be used:" in answer.err
    for name, why in expected.items():
        assert f"\n  {name}: {why}" in answer.err
    assert os.listdir(tmp_path / "data") == [".signs.staging"]

    skipped = pack(folder, "--size", "8x6", "--format", storage, "--skip-bad")

    assert skipped.code == 0, skipped.err
    assert "resuming after 29 of 29 images" in skipped.err
    for name, why in expected.items():
        assert f"\n  {name}: {why}" in skipped.err
    out = tmp_path / "data/signs"
    about = json.loads((out / "pack.json").read_text())
    assert sum(part["rows"] for part in about["parts"].values()) == 20
    assert len(about["source"]["skipped"]) == 9 and about["source"]["images"] == 29
    subprocess.run(
        ["sha256sum", "--check", "--strict", "signs.sha256"], cwd=tmp_path / "data", check=True
    )
    rows = {
        part: [line["row"] for line in lines(out) if line["part"] == part and "why" not in line]
        for part in about["parts"]
    }
    assert all(found == list(range(about["parts"][part]["rows"])) for part, found in rows.items())
    if storage == "npy":
        assert [len(np.load(out / f"{part}.npy")) for part in rows] == [
            len(found) for found in rows.values()
        ]
        assert np.load(out / "train.npy").any(axis=(1, 2, 3)).all()
    assert "packed already" in pack(folder, "--size", "8x6", "--format", storage, "--skip-bad").err
    assert pack(folder, "--size", "8x6", "--format", storage).code == 1, (
        "without --skip-bad they are told of again"
    )


def test_files_outside_and_junk(pack, folder, tmp_path):
    for name in (
        ".DS_Store",
        "class0/.DS_Store",
        "class0/Thumbs.db",
        "class1/._000.png",
        ".git/config",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("junk")
    (folder / "LICENSE").write_text("free")

    answer = pack(folder)

    assert answer.code == 0
    assert "left out, for it lies in no class's folder: LICENSE" in answer.err
    about = json.loads((tmp_path / "data/signs/pack.json").read_text())
    assert about["source"]["skipped"] == [
        {"file": "LICENSE", "why": "no image, lies in no class's folder"}
    ]
    picture(folder / "stray.jpg")
    assert "\n  stray.jpg: lies in no class's folder" in pack(folder).err
    assert pack(folder, "--skip-bad").code == 0


def test_pack_refuses_class_without_images(pack, folder):
    for number in range(10):
        (folder / f"class1/{number:03d}.png").write_text("no")

    answer = pack(folder, "--skip-bad")

    assert answer.code == 1
    assert "no usable image is left of class1 in the train part" in answer.err


def test_images_of_several_sizes(pack, folder, tmp_path):
    picture(folder / "class0/large.png", (9, 6))

    refused = pack(folder, "--format", "npy")
    assert refused.code == 2
    assert "the images differ in size: " in refused.err and "--size HxW resizes them" in refused.err
    assert os.listdir(tmp_path / "data") == []

    answer = pack(folder)
    about = json.loads((tmp_path / "data/signs/pack.json").read_text())
    assert "they are kept as they are, in TFRecords" in answer.err
    assert (about["storage"], about["image_size"]) == ("tfrecord", None)
    assert "packed signs: 17 training and 4 test images of any size, 3 channels" in answer.err
    assert not (tmp_path / "data/signs/train.npy").exists()


def without_a_class(folder):
    shutil.rmtree(folder / "class1")


def with_an_empty_class(folder):
    (folder / "class2").mkdir()


def with_a_single_image(folder):
    picture(folder / "class2/one.png")


def with_train_beside_classes(folder):
    pictures(folder / "train")


def with_test_alone(folder):
    shutil.rmtree(folder)
    pictures(folder / "test")


def with_a_class_less_in_test(folder):
    shutil.rmtree(folder)
    pictures(folder / "train")
    pictures(folder / "test", 1)


def with_a_loop(folder):
    (folder / "class0/loop").symlink_to(folder / "class0")


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (shutil.rmtree, "there is no folder"),
        (without_a_class, "holds folders of these classes: class0; expected at least 2"),
        (with_an_empty_class, "no image of class2 in the train part"),
        (with_a_single_image, "only one image of class2"),
        (
            with_train_beside_classes,
            "has train as parts of the set; what are class0, class1 next to them?",
        ),
        (with_test_alone, "has test but no train folder"),
        (with_a_class_less_in_test, "no image of class1 in the test part"),
        (with_a_loop, "leads back to a folder above it"),
    ],
)
def test_mistake_in_the_folder(pack, folder, tmp_path, make, part):
    make(folder)

    answer = pack(folder)

    assert (answer.code, answer.out) == (2, "")
    assert part in answer.err
    assert not (tmp_path / "data/signs").exists()


def test_links_are_followed(pack, folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to("elsewhere")
    (folder / "class0").rename(tmp_path / "photos")
    (folder / "class0").symlink_to(tmp_path / "photos")

    assert "packed linked: 16 training and 4 test images" in pack(tmp_path / "linked").err


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("--size", "100"), "--size is a height and a width in pixels, as in 100x150; got '100'"),
        (("--size", "0x5"), "--size is a height and a width"),
        (("--name", "a/b"), "a set's name has letters"),
        (("--name", "mnist"), "'mnist' is the name of another set"),
        (("--name", "models"), "'models' is the name of another set"),
        (("--name", "taken"), "'taken' is the name of another set"),
        (("--to", "x", "--name", "y"), "--to says where"),
        (("--to", "{folder}"), "is to be made, but {folder} is there"),
        (("--to", "{folder}/inside"), "is to be made, but {folder} is there"),
        (("--to", "{folder}/.."), "is to be made, but {folder} is there"),
        (("--to", "{folder}/../other"), "exists, and is not a packed set"),
        (("--test-split", "1"), "--test-split"),
        (("--workers", "0"), "--workers"),
    ],
)
def test_mistake_on_the_command_line(cli, folder, tmp_path, argv, part):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/taken.npz").write_text("")
    root = () if "--to" in argv and "--name" not in argv else ("--data-root", tmp_path / "data")

    answer = cli("data", "pack", folder, *(word.format(folder=folder) for word in argv), *root)

    assert (answer.code, answer.out) == (2, "")
    assert part.format(folder=folder) in answer.err
    assert (tmp_path / "other/thesis.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["data", "other", "signs"]


def test_test_split_with_existing_test_part(pack, tmp_path):
    """--test-split is refused when the folder has a test part."""
    for part in ("train", "test"):
        pictures(tmp_path / "set" / part)

    answer = pack(tmp_path / "set", "--test-split", "0.3")

    assert answer.code == 2
    assert "--test-split is for folders without one" in answer.err


def test_folder_that_cannot_be_written(cli, folder, tmp_path):
    (tmp_path / "file").write_text("")

    answer = cli("data", "pack", folder, "--to", tmp_path / "file/out")

    assert (answer.code, answer.out) == (1, "")
    assert f"cannot pack {folder}: " in answer.err


def test_image_changes_during_pack(folder, tmp_path, pack, monkeypatch):
    original = packing._Packing._filled

    def change(*arguments):
        picture(folder / "class0/000.png", (9, 9), 5)
        return original(*arguments)

    monkeypatch.setattr(packing._Packing, "_filled", change)

    answer = pack(folder)

    assert answer.code == 1
    assert "\n  class0/000.png: was changed meanwhile" in answer.err


def test_names_of_any_kind(cli, hostile, tmp_path):
    source = pictures(hostile / "sët 手")
    picture(source / "class0/手.JPEG", kind="JPEG")
    picture(source / "class1/sub/folder/x.png")
    os.close(os.open(os.fsencode(source / "class0") + b"/\xff.jpg", os.O_CREAT | os.O_WRONLY))

    answer = cli(
        "data", "pack", source, "--to", hostile / "out", "--skip-bad", "--format", "tfrecord"
    )

    assert answer.code == 0, answer.err
    assert r"class0/\udcff.jpg: is empty" in answer.err
    assert {"class0/手.JPEG", "class1/sub/folder/x.png"} <= {
        line["file"] for line in lines(hostile / "out")
    }


def test_without_pillow(cli, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)

    answer = cli("data", "pack", folder, "--to", tmp_path / "out")

    assert (answer.code, answer.out) == (2, "")
    assert "-m pip install " in answer.err


@pytest.mark.skipif(not SIGNS.exists(), reason=f"needs {SIGNS}")
def test_real_photos(pack, tmp_path):
    answer = pack(SIGNS)

    assert (
        "480 training and 120 test images of 100x100x3, 10 classes; 600 files, 5.6 MB -> 6 files"
        in answer.err
    )
    rows = np.load(tmp_path / "data/sign_digits/train.npy", mmap_mode="r")
    for line in lines(tmp_path / "data/sign_digits")[:20]:
        with Image.open(SIGNS / line["file"]) as image:
            np.testing.assert_array_equal(rows[line["row"]], np.asarray(image))
