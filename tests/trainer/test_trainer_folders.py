"""Folders of images as people have them: trainer, check and `hpcdl data pack` see the same classes."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from pathlib import Path

import pytest

from hpcdl.contract import image_folder
from hpcdl.contract.file_names import shown
from hpcdl.contract.spec import DataSpec
from hpcdl.errors import HpcdlError
from hpcdl.preflight import image_sets
from hpcdl.staging.exclusive import Progress
from hpcdl.staging.folder import scan
from hpcdl.staging.pack import Options, pack
from hpcdl.trainer.dataset import load


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(bytes(20)))
    + _chunk(b"IEND", b"")
)


def plant(top: Path, *names: str, each: int = 10) -> Path:
    """Make files: ``train/cat/*`` is `each` images in that folder, any other name one image."""
    for name in names:
        stems = [f"{number}.png" for number in range(each)] if name.endswith("/*") else [""]
        for stem in stems:
            path = top / name.removesuffix("*") / stem if stem else top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PNG)
    return top


def each_of(tops: str, classes: str = "cat dog") -> list[str]:
    """The folders of these classes below these parts."""
    return [f"{top}/{name}/*" for top in tops.split() for name in classes.split()]


def seen(top: Path) -> tuple[list[str], dict[str, int], str]:
    """Classes and rows of each part as the trainer lists them, and what it says; the check says no less."""
    listed = image_folder.list_folder(str(top))
    assert listed is not None
    looked = image_sets.look(top, DataSpec(image_size=[4, 4]))
    assert looked is not None
    assert bool(looked.problems) == bool(listed.problems), looked.problems
    assert looked.notes == listed.notes
    rows = {part: len(listing.paths) for part, listing in listed.parts.items()}
    return listed.classes, rows, "\n".join([*listed.problems, *listed.notes])


def packed(top: Path) -> tuple[list[str], dict[str, int]]:
    """Classes and rows as `hpcdl data pack` lists them, with a test part split off."""
    content = scan(top)
    return list(content.classes), {part: len(files) for part, files in content.parts.items()}


ANIMALS = ["cat", "dog"]
# What is there; the classes; rows of the train and the test part
PARTS = {
    "plain": (each_of("train test"), ANIMALS, (20, 20)),
    "udemy": ([*each_of("training_set test_set"), "single_prediction/x.png"], ANIMALS, (20, 20)),
    "doubled": ([*each_of("seg_train/seg_train seg_test/seg_test"), "seg_pred/seg_pred/1.png"], ANIMALS, (20, 20)),
    "capitals": (each_of("Train Test"), ANIMALS, (20, 20)),
    "shouting": (each_of("TRAINING TESTING VALIDATION"), ANIMALS, (40, 20)),
    "imagenet": (each_of("train val"), ANIMALS, (40, None)),
    "long-words": (each_of("training_set validation_set test_set"), ANIMALS, (40, 20)),
    "train-alone": (each_of("seg_train"), ANIMALS, (20, None)),
    "images": (each_of("train_images test_images"), ANIMALS, (20, 20)),
    "one-word": (each_of("trainset testset"), ANIMALS, (20, 20)),
    "camel": (each_of("TrainSet TestSet"), ANIMALS, (20, 20)),
    "years": (each_of("train2017 val2017 test2017"), ANIMALS, (40, 20)),
    "kaggle-numbered": (each_of("train test1"), ANIMALS, (20, 20)),
    "after-the-set's-name": (each_of("dogs-train dogs-test"), ANIMALS, (20, 20)),
    "food-11": (each_of("training validation evaluation"), ANIMALS, (40, 20)),
    "train-and-eval": (each_of("train eval"), ANIMALS, (20, 20)),
    "eval-and-test": (each_of("train eval test"), ANIMALS, (40, 20)),
    "dev": (each_of("train dev test"), ANIMALS, (40, 20)),
    "imagenet-100": (
        [*each_of("train.X1", "cat"), *each_of("train.X2", "dog"), *each_of("val.X"), *each_of("test.X")],
        ANIMALS, (40, 20),
    ),
    "below-images": (each_of("train/images test/images"), ANIMALS, (20, 20)),
    "spanish": (each_of("entrenamiento validación prueba"), ANIMALS, (40, 20)),
    "german": (each_of("Trainingsdaten Testdaten"), ANIMALS, (20, 20)),
    "unlabelled-classes": (each_of("train test pred"), ANIMALS, (20, 20)),
    "vehicle": (["bus/*", "car/*", "train/*"], ["bus", "car", "train"], (30, None)),
    "vehicle-with-more": (["bus/*", "train/*", "train/old/1.png"], ["bus", "train"], (21, None)),
    "lab-ware": (["beaker/*", "test_tube/*"], ["beaker", "test_tube"], (20, None)),
    "bullet-train": (["bullet_train/a/*", "tram/a/*"], ["bullet_train", "tram"], (20, None)),
    "test-the-class": (["test/*", "control/*"], ["control", "test"], (20, None)),
    "valid-and-invalid": (["valid/*", "invalid/*"], ["invalid", "valid"], (20, None)),
    "two-tests": (["positive_test/*", "negative_test/*"], ["negative_test", "positive_test"], (20, None)),
    "real-and-fake": (["training_real/*", "training_fake/*"], ["training_fake", "training_real"], (20, None)),
    "folders-in-classes": (each_of("cat dog", "2019 2020"), ANIMALS, (40, None)),
    "unpacked-archives": (each_of("train.zip/train test.zip/test"), ANIMALS, (20, 20)),
    "augmented": (each_of("train train_augmented test"), ANIMALS, (40, 20)),
    "letters": (["a/*", "A/*"], ["A", "a"], (20, None)),
}  # fmt: skip


@pytest.mark.cases("C2")
@pytest.mark.parametrize(("there", "classes", "rows"), PARTS.values(), ids=PARTS)
def test_parts_and_classes_by_name(tmp_path, there, classes, rows):
    """Folders named like parts that hold folders are parts; one with images next to classes is a class."""
    top = plant(tmp_path, *there)
    found_classes, found_rows, _ = seen(top)
    assert found_classes == classes
    assert (found_rows["train"], found_rows.get("test")) == rows
    pack_classes, pack_rows = packed(top)
    assert pack_classes == classes
    assert sum(pack_rows.values()) == sum(found_rows.values())
    if rows[1] is not None:
        assert pack_rows == found_rows


# What is there; what is said
REFUSED = {
    "kaggle-flat": (["train_images/*", "test_images/*"], "named like parts of a set, and hold no folders of classes"),
    "cyclegan": (["trainA/*", "trainB/*", "testA/*", "testB/*"], "hold no folders of classes"),
    "exact-next-to-another": (["train/*", "test/*", "masks/*"], "hold no folders of classes"),
    "joined-names": (["train_cats/*", "train_dogs/*", "test_cats/*", "test_dogs/*"], "hold no folders of classes"),
    "test-without-classes": ([*each_of("train"), "test/*"], "test: holds files (10) and no folders"),
    "validation-unsorted": (
        [*each_of("train val"), "val/unsorted/*"],
        "val: holds unsorted, of which the training part has no folder",
    ),
    "validation-images-next-to-classes": ([*each_of("train valid test"), "valid/images/*"], "valid: holds images, of"),
    "something-else": ([*each_of("train test"), "extra/*"], "what are extra next to them? Move them out"),
    "loose-parts-and-else": ([*each_of("my_train my_test"), "extra/*"], "what are extra next to them? Move them out"),
    "train-next-to-classes": ([*each_of("train"), "bus/*"], "what are bus next to them?"),
    "asl-alphabet": (
        [*each_of("asl_train/asl_train"), "asl_test/asl_test/*"], "asl_test/asl_test: holds files (10) and no folders",
    ),
    "gtsrb": ([*each_of("Train", "00 01"), "Test/*", "Meta/*"], "what are Meta next to them?"),
    "copy-within": (
        ["daisy/*", "rose/*", *each_of("flowers", "daisy rose")], "flowers: holds folders of the same names as the",
    ),
    "masks": (["images/*", "masks/*"], "look like images and their masks or labels"),
    "ground-truth": (["Images/*", "Ground_Truth/*"], "look like images and their masks or labels"),
    "other-case-in-test": (
        [*each_of("train", "Cat Dog"), *each_of("test")],
        "every part needs a folder with images of class Cat (is it cat? Give it one name)",
    ),
    "no-train": (each_of("test val_"), "has test, val_ but no train folder"),
    "test-alone": (each_of("seg_test"), "has seg_test but no train folder"),
    "other-classes-in-test": (
        [*each_of("train"), *each_of("test", "cats dogs")], "train/cats: does not exist; every part needs a folder",
    ),
    "parts-below-classes": (each_of("cat dog", "train test"), "cat, dog hold folders of test and train images"),
    "sets-side-by-side": (
        each_of("a/train a/test b/train b/test"), "a, b hold folders of test and train images, which would be mixed",
    ),
    "yolo": (["images/train/*", "images/val/*", "labels/train/*", "labels/val/*"], "which would be mixed"),
    "folds": (each_of("fold1 fold2 fold3"), "fold1, fold2, fold3 are named like pieces of a set"),
    "splits": (each_of("split_a split_b"), "are named like pieces of a set, and all hold cat, dog"),
    "ambiguous": (each_of("training_real training_fake", "easy hard"), "may be parts of the set or classes"),
    "one-deeper": (each_of("dogs/train dogs/test"), "Its only folder holds test, train: set data.path to"),
    "two-deeper": (["a/b/cat/*", "a/b/dog/*"], "Its only folder holds cat, dog: set data.path to"),
    "no-folders": (["1.png", "2.png"], "files in it: 2). Sort the images into a folder for each class"),
    "one-part-no-classes": (["train/*"], "holds folders of these classes: train; expected at least 2"),
    "accents": (["caf\u00e9/*", "cafe\u0301/*"], r"'caf\xe9' look the same"),
    "accents-in-parts": (
        [*each_of("train", "caf\u00e9 dog"), *each_of("test", "cafe\u0301 dog")], r"'caf\xe9' look the same",
    ),
    "space-at-the-end": (["cat/*", "cat /*"], "'cat ' look the same"),
}  # fmt: skip


@pytest.mark.cases("C2", "C41")
@pytest.mark.parametrize(("there", "said"), REFUSED.values(), ids=REFUSED)
def test_unclear_folders_are_refused(tmp_path, there, said):
    """What may be parts of a set is never trained on as classes."""
    top = plant(tmp_path, *there)
    assert said in seen(top)[2]
    with pytest.raises(HpcdlError) as caught:
        scan(top)
    if "every part needs" not in said:
        assert said in str(caught.value).replace("\\u0301", "\u0301").replace(r"\\x", r"\x")


@pytest.mark.cases("C2")
def test_unused_folders_are_reported(tmp_path):
    """Folders and images that are left out, and folders that become another part, are all named."""
    top = plant(
        tmp_path, *each_of("training_set val test_set"), "single_prediction/1.png", "banner.png"
    )
    (top / "README.md").write_text("x")
    text = seen(top)[2]
    assert "single_prediction: left out, its images have no class" in text
    assert "val: its images belong to the training part" in text
    assert "test_set is the test part, training_set is the train part" in text
    assert "images that lie in no class's folder are left out (1): banner.png" in text
    assert "README" not in text


@pytest.mark.cases("C2")
def test_same_folders_in_classes_are_reported(tmp_path):
    """Each class holding the same folders suggests that these are the classes."""
    text = seen(plant(tmp_path, *each_of("formacion examen")))[2]
    assert "the classes are examen, formacion; each holds the folders cat, dog" in text


SYSTEM = [
    "__MACOSX/._1.png", "@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", ".ipynb_checkpoints/1-checkpoint.png", ".git/config",
    "lost+found/x", "$RECYCLE.BIN/1.png", "System Volume Information/x", ".Trashes/1.png", "#recycle/1.png",
    ".snapshot/1.png", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini", "._x.png", ".DS_Store", "_DS_Store",
    "~$notes.docx", "@Recycle/1.png", ".Trash-1000/files/1.png", "#snapshot/1.png", "~snapshot/1.png", "RECYCLER/1.png",
    ".AppleDouble/1.png", "__pycache__/x.pyc", "Icon\r", ".thumbnails/1.png", "ehthumbs.db",
    "1.png:Zone.Identifier", "1.png@SynoEAStream", ":2eDS_Store", "@__thumb/1.png",
]  # fmt: skip


@pytest.mark.cases("C13")
@pytest.mark.parametrize("tops", ["", "train test", "seg_train/seg_train seg_test/seg_test"])
def test_system_files_are_not_images(tmp_path, tops):
    """At every level: of the set, of its parts, of a class, and below a class."""
    clean = plant(tmp_path / "clean", *(each_of(tops) if tops else ["cat/*", "dog/*"]))
    top = plant(tmp_path / "top", *(each_of(tops) if tops else ["cat/*", "dog/*"]))
    places = {path.parent for path in top.rglob("*.png")}
    places.update(
        above for place in set(places) for above in place.parents if above.is_relative_to(top)
    )
    (top / next(iter(each_of(tops or ".")))).parent.joinpath("more").mkdir()
    places.update(top.rglob("more"))
    for place in places:
        plant(place, *SYSTEM)
    assert seen(top) == seen(clean)
    assert packed(top) == packed(clean)


@pytest.mark.tensorflow
@pytest.mark.cases("C13")
def test_one_listing_for_all(tmp_path, monkeypatch, tf):
    """Training, `hpcdl check` and `hpcdl data pack` read the same classes and files."""
    top = plant(tmp_path / "top", *each_of("train test"))
    for place in [top, *(path for path in top.rglob("*") if path.is_dir())]:
        plant(place, *SYSTEM)
    files = {
        part: sorted(f"{part}/{name}/{number}.png" for name in ANIMALS for number in range(10))
        for part in ("train", "test")
    }

    dataset = load.load(str(top), DataSpec())
    assert dataset.class_names == ANIMALS
    for part, content in (("train", dataset.train), ("test", dataset.test)):
        assert sorted(content.files()) == files[part]
        assert content.reader is not None
        assert tuple(content.reader.read_all().shape) == (20, 4, 4, 3)

    heads = []
    read_heads = image_folder.read_heads

    def recorded(paths, problems):
        heads.extend(paths)
        return read_heads(paths, problems)

    monkeypatch.setattr(image_folder, "read_heads", recorded)
    looked = image_sets.look(top, DataSpec())
    assert looked == ([], [], ANIMALS, [4, 4, 3])
    assert sorted(heads) == sorted(str(top / name) for names in files.values() for name in names)

    packed_set = pack(top, tmp_path / "packed", Options(workers=1), Progress())
    lines = [
        json.loads(line) for line in (packed_set.path / "images.jsonl").read_text().splitlines()
    ]
    assert packed_set.pack["classes"] == ANIMALS
    grey = DataSpec(color="grey", image_size=[2, 3])
    assert image_sets.look(packed_set.path, grey) == ([], [], ANIMALS, [2, 3, 1])
    for part, names in files.items():
        assert sorted(line["file"] for line in lines if line["part"] == part) == names


@pytest.mark.cases("C14")
def test_linked_folders_are_followed(tmp_path):
    """A class's folder within its folder, a class and a part may be links."""
    other = plant(tmp_path / "other", *each_of("a", "1 2"), "more/1.png", "more/below/2.png")
    top = plant(tmp_path / "set", *each_of("train"))
    (top / "train/cat/more").symlink_to(other / "more")
    (top / "train/bird").symlink_to(other / "a/1")
    (top / "train/dog/one.png").symlink_to(other / "more/1.png")
    plant(tmp_path / "tests", "cat/*", "dog/*", "bird/*")
    (top / "test").symlink_to(tmp_path / "tests")
    assert seen(top) == (["bird", "cat", "dog"], {"train": 33, "test": 30}, "")
    assert packed(top) == (["bird", "cat", "dog"], {"train": 33, "test": 30})


@pytest.mark.cases("C14")
@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "/", "../dog"])
def test_circular_links_end(tmp_path, target):
    top = plant(tmp_path / "set", "cat/*", "dog/*", "cat/more/1.png")
    (top / "cat/more/round").symlink_to(target)
    if target == "../dog":
        (top / "dog").rename(top / "cat/dog")
        (top / "dog").mkdir()
        (top / "cat/dog/back").symlink_to(top / "cat")
    assert "leads back to a folder above it; remove this link" in seen(top)[2]
    with pytest.raises(HpcdlError, match="leads back to a folder above it; remove this link"):
        scan(top)


@pytest.mark.cases("C14")
def test_dangling_links_are_named(tmp_path):
    """A class, a folder of a class, and an image; pack names the last two with the unusable images."""
    top = plant(tmp_path / "set", "cat/*", "dog/*")
    (top / "bird").symlink_to("/nowhere/birds")
    (top / "cat/more").symlink_to("/nowhere/cats")
    (top / "dog/a.png").symlink_to("/nowhere/dog.png")
    (top / "dog/b.png").symlink_to("c.png")
    (top / "dog/c.png").symlink_to("b.png")
    text = seen(top)[2]
    assert "bird is a link to /nowhere/birds, which does not exist" in text
    assert "cat/more: is a link to /nowhere/cats, which does not exist" in text
    assert "dog/a.png: is a link to /nowhere/dog.png, which does not exist" in text
    assert "dog/b.png: is a link to c.png, which does not exist" in text
    with pytest.raises(HpcdlError, match="bird is a link to /nowhere/birds"):
        scan(top)


@pytest.mark.cases("C14")
def test_folder_used_twice_is_reported(tmp_path):
    top = plant(tmp_path / "set", *each_of("train"))
    (top / "train/cat/again").symlink_to("more")
    plant(top, "train/cat/more/1.png")
    assert (
        "train/cat/again and train/cat/more are the same folder: its images are used twice"
        in seen(top)[2]
    )
    (top / "test").symlink_to("train")
    said = "are the same folder: its images would be in two parts or classes"
    assert f"train/cat and test/cat {said}" in seen(top)[2]
    with pytest.raises(HpcdlError, match=said):
        scan(top)


@pytest.mark.cases("C2")
@pytest.mark.parametrize("part", ["", "train/"])
def test_classes_in_the_names_of_files(tmp_path, part):
    """Kaggle's cats and dogs lie in one folder: how to sort them is said."""
    top = plant(
        tmp_path, *(f"{part}{name}.{number}.jpg" for name in ("cat", "dog") for number in range(3))
    )
    said = "their names begin with cat, dog; for the first: mkdir cat && mv cat[._-]* cat/"
    assert said in seen(top)[2]
    with pytest.raises(HpcdlError, match=re.escape(said)):
        scan(top)
    plant(top, f"{part}4711.jpg")
    assert "Sort the images into a folder for each class" in seen(top)[2]
    assert "names begin" not in seen(top)[2]


@pytest.mark.cases("C22", "C14")
def test_files_about_images_are_left_out(tmp_path):
    """GTSRB and Tiny ImageNet have such files in the classes' folders: they are told, and no images."""
    top = plant(tmp_path, "00000/*", "n01/images/*")
    for name in ("00000/GT-00000.csv", "n01/n01_boxes.txt", "n01/images/README.md"):
        (top / name).write_text("x")
    classes, rows, text = seen(top)
    assert (classes, rows) == (["00000", "n01"], {"train": 20})
    assert "left out (3): 00000/GT-00000.csv, n01/n01_boxes.txt, n01/images/README.md" in text
    assert sum(packed(top)[1].values()) == 20
    (top / "n01/a.mat").write_text("x")
    assert "n01/a.mat: is not a .jpg, .jpeg or .png file" in seen(top)[2]


def test_pipe_is_not_an_image(tmp_path):
    """It is not waited for."""
    top = plant(tmp_path, "cat/*", "dog/*")
    os.mkfifo(top / "cat/pipe.png")
    heads: list[str] = []
    image_folder.read_heads([str(top / "cat/pipe.png")], heads)
    assert heads == [f"{top}/cat/pipe.png: is not a regular file"]


@pytest.mark.cases("C41")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"g\xe4nse", r"g\xe4nse"),
        ("gänse".encode(), "gänse"),
        (b"two\nlines", r"two\nlines"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        (b"cat ", "cat "),
    ],
)
def test_names_are_shown_as_text(tmp_path, name, text):
    os.makedirs(os.path.join(os.fsencode(tmp_path), name))
    (listed,) = os.listdir(tmp_path)
    assert shown(listed) == text
    assert shown(listed).encode().decode().isprintable()


@pytest.mark.cases("C41")
def test_non_utf_8_names_are_packed(tmp_path, cli):
    """Trained as a folder and as a packed set, they are the same text; the files' own names are kept."""
    top = plant(tmp_path / "set", "cat/*")
    os.rename(plant(tmp_path, "cows/*") / "cows", os.fsencode(top) + b"/g\xe4nse\n")
    os.rename(top / "cat/1.png", os.fsencode(top) + b"/cat/\xff.png")
    assert seen(top)[2] == ""
    answer = cli("data", "pack", top, "--to", tmp_path / "out")
    assert answer.code == 0, answer.err
    for place in (top, tmp_path / "out"):
        loaded = load.load(str(place), DataSpec())
        assert loaded.class_names == ["cat", r"g\xe4nse\n"]
        json.dumps(loaded.class_names).encode()
        files = [*loaded.train.files(), *loaded.test.files()]
        assert len(files) == 20 and all((top / name).is_file() for name in files)


@pytest.mark.cases("C41")
def test_non_utf_8_names_are_printable(tmp_path, cli):
    top = plant(tmp_path / "set", "cat/*", "dog/*")
    for folder in (top, top / "cat"):
        with open(os.fsencode(folder) + b"/g\xe4nse\n.jpg", "wb") as file:
            file.write(b"no image")
    looked = image_sets.look(top, DataSpec(image_size=[4, 4]))
    assert looked is not None
    text = " ".join([looked.problems[0][0], *looked.notes])
    assert text.isprintable()
    assert (
        r"cat/g\xe4nse\n.jpg: is not a JPEG or PNG image" in text and r"(1): g\xe4nse\n.jpg" in text
    )
    assert cli("data", "pack", top, "--to", tmp_path / "out").code == 1
