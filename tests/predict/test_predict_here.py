"""hpcdl predict --here: a table of answers on stdout, reasons and verdicts on stderr."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from hpcdl.trainer.dataset.looks import looks
from tests.predict.conftest import CLASSES, MODEL, pixels

pytest.importorskip("ai_edge_litert")
Image = pytest.importorskip("PIL.Image")


def rows(answer):
    return list(csv.DictReader(io.StringIO(answer.out)))


def reasons(answer):
    """The unusable files and why they are, from stderr."""
    lines = [line for line in answer.err.splitlines() if line.startswith("unusable: ")]
    return dict(line.removeprefix("unusable: ").split(": ", 1) for line in lines)


def write_test(run, seeds=range(200), change=lambda image: image):
    """Writes the answers of the run's own model to test images."""
    from hpcdl.predict.exported import Exported
    from hpcdl.predict.lite import LiteModels

    model = LiteModels([Exported("rows", MODEL, (8, 8, 1), True, tuple(CLASSES))])
    test = np.array([change(pixels(seed % 3, seed)) for seed in seeds])[..., None]
    answers = np.array([model(image.astype(np.float32) / 255) for image in test])
    labels = np.array(seeds) % 3
    np.savez(run / "predictions.npz", labels=labels, probabilities=answers, looks=looks(test))


def test_table_of_answers(cli, make_run, images):
    answer = cli("predict", make_run(), images, "--here")

    assert answer.code == 0, answer.err
    table = rows(answer)
    assert [row["file"] for row in table] == sorted(row["file"] for row in table)
    assert len(table) == 30
    for row in table:
        assert row["answer"] == row["file"].split("/")[0]
        assert row["confidence"] == max(row[name] for name in CLASSES)
        assert sum(float(row[name]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
        assert row["notes"] == ""
    assert "30 images predicted, 0 files unusable" in answer.err
    assert "XNNPACK" not in answer.err


def test_no_folder_is_written(cli, make_run, images, tmp_path):
    run = make_run()
    before = sorted(path for path in tmp_path.rglob("*"))

    cli("predict", run, images, "--here")

    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_unusable_files_have_reasons(cli, make_run, images):
    good = images / "top" / "00.png"
    content = good.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "whole.jpg")
    jpeg = (images / "whole.jpg").read_bytes()
    files = {
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.png": content[:-20],
        "damaged.png": content[:45] + bytes(20) + content[65:],
        "empty.png": b"",
        "text.png": b"hello",
        "film.mp4": b"\0\0\0 ftypisom",
        "page.jpg": b"<!doctype html><html>",
    }
    for name, data in files.items():
        (images / name).write_bytes(data)
    Image.fromarray(noise.astype(np.uint16)[..., 0] * 200).save(images / "deep.png")
    Image.fromarray(noise).save(images / "a.webp")
    (images / "nowhere.png").symlink_to("gone.png")
    (images / "loop.png").symlink_to("loop.png")
    (images / "again").symlink_to(images)
    os.mkfifo(images / "pipe.png")

    answer = cli("predict", make_run(), images, "--here")

    assert answer.code == 0
    assert len(rows(answer)) == 31
    found = reasons(answer)
    expected = {
        "cut.jpg": "cut short",
        "cut.png": "cut short",
        "damaged.png": "cannot be decoded",
        "empty.png": "is empty",
        "text.png": "is not a JPEG or PNG image",
        "film.mp4": "is a video",
        "page.jpg": "a web page",
        "deep.png": "has 16 bits",
        "a.webp": "WebP",
        "nowhere.png": "does not exist",
        "loop.png": "does not exist",
        "pipe.png": "is not a regular file",
    }
    assert sorted(found) == sorted(expected)
    for name, words in expected.items():
        assert words in found[name], (name, found[name])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_file_without_permission(cli, make_run, images):
    (images / "top" / "00.png").chmod(0)

    answer = cli("predict", make_run(), images, "--here")

    assert reasons(answer) == {"top/00.png": "cannot be read: Permission denied"}


def test_notes_on_doubtful_images(cli, make_run, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    half = Image.fromarray(pixels(0)).convert("RGBA")
    half.putalpha(100)
    half.save(folder / "alpha.png")
    Image.new("L", (8, 8), 90).save(folder / "flat.png")
    Image.fromarray(pixels(0)).resize((3, 3)).save(folder / "small.png")
    Image.fromarray(pixels(0)).resize((80, 8)).save(folder / "wide.png")
    turned = Image.Exif()
    turned[0x0112] = 3
    Image.fromarray(pixels(2)[::-1, ::-1]).save(folder / "turned.jpg", exif=turned, quality=95)

    answer = cli("predict", make_run(), folder, "--here")

    table = {row["file"]: row for row in rows(answer)}
    notes = {file: row["notes"] for file, row in table.items()}
    assert notes["alpha.png"] == "its transparency is dropped"
    assert notes["flat.png"] == "has one colour only"
    assert "enlarged more than 2 times" in notes["small.png"]
    assert "squeezed by more than half" in notes["wide.png"]
    assert notes["turned.jpg"] == ""
    assert table["turned.jpg"]["answer"] == "low"


def test_hostile_file_names(cli, make_run, tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    good = folder / "=cmd()|x.png"
    Image.fromarray(pixels(2)).save(good)
    for name in (b"two\nlines.png", b"\xe4\xff.png", b"-1+1.png", b'a,"b".png'):
        shutil.copy(good, os.path.join(os.fsencode(folder), name))
    (folder / "\x1b[31mred.png").write_bytes(b"")

    answer = cli("predict", make_run(), folder, "--here")

    assert [row["file"] for row in rows(answer)] == [
        "./-1+1.png", "./=cmd()|x.png", 'a,"b".png', "two\\nlines.png", "\\xe4\\xff.png",
    ]  # fmt: skip
    assert "\x1b" not in answer.err
    assert len(answer.out.splitlines()) == 6


def test_several_runs_are_their_mean(cli, make_run, images):
    answer = cli("predict", make_run(), make_run("again"), images, "--here")

    assert answer.code == 0, answer.err
    assert answer.out == cli("predict", make_run("third"), images, "--here").out


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"class_names": ["a", "b", "c"]}, "different classes: top, middle, low; and a, b, c"),
        ({"shape": [9, 9, 1]}, "different shapes: 8x8x1 and 9x9x1"),
    ],
)
def test_runs_that_do_not_fit(cli, make_run, images, about, words):
    answer = cli("predict", make_run(), make_run("other", **about), images, "--here")

    assert answer.code == 2
    assert words in answer.err
    assert answer.out == ""


def test_run_without_export(cli, make_run, images):
    run, other = make_run(), make_run("other")
    shutil.rmtree(run / "export")
    (other / "export" / "model.tflite").unlink()

    answer = cli("predict", run, other, images, "--here")

    assert answer.code == 2
    assert f"make it: hpcdl export {run} --to tflite" in answer.err
    assert f"make it: hpcdl export {other} --to tflite" in answer.err


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"schema_version": 2, "hpcdl": "9.0"}, "was written by hpcdl 9.0"),
        ({"shape": [8, 8]}, "expected [height, width, channels]"),
        ({"shape": [8, 8, 3]}, "takes float32 images of (1, 8, 8, 1)"),
        ({"class_names": ["a"]}, "gives (1, 3) values"),
        ({"resize": None}, "cannot be read"),
    ],
)
def test_model_json_that_does_not_fit(cli, make_run, images, about, words):
    answer = cli("predict", make_run(**about), images, "--here")

    assert answer.code == 1
    assert words in answer.err


def test_damaged_model_file(cli, make_run, images):
    run = make_run()
    (run / "export" / "model.tflite").write_bytes(b"nothing" * 100)

    answer = cli("predict", run, images, "--here")

    assert answer.code == 1
    assert "make it again: hpcdl export" in answer.err


def test_folders_that_hold_nothing(cli, make_run, images, tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / ".hidden.png").write_bytes(b"")
    run = make_run()

    assert "holds no files" in cli("predict", run, tmp_path / "nothing", "--here").err
    assert "does not exist" in cli("predict", run, tmp_path / "gone", "--here").err
    is_file = cli("predict", run, images / "top" / "00.png", "--here")
    assert (is_file.code, "is a file; expected a folder" in is_file.err) == (2, True)


def test_folder_without_usable_file(cli, make_run, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello")

    answer = cli("predict", make_run(), tmp_path / "texts", "--here")

    assert answer.code == 1
    assert "none of the 1 file in" in answer.err


def test_drift_of_same_and_other_images(cli, make_run, images):
    run = make_run()
    write_test(run)

    same = cli("predict", run, images, "--here", "--fail-on-drift")
    for path in images.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 8).save(path)
    darker = cli("predict", run, images, "--here", "--fail-on-drift")

    assert same.code == 0, same.err
    assert "drift: no change found" in same.err
    assert darker.code == 3
    assert "drift: changed: " in darker.err
    assert "--fail-on-drift: the model is likely worse on these images" in darker.err
    assert len(rows(darker)) == 30


def test_old_run_without_looks(cli, make_run, images):
    run = make_run()
    write_test(run)
    with np.load(run / "predictions.npz") as arrays:
        np.savez(run / "predictions.npz", **{k: v for k, v in arrays.items() if k != "looks"})

    assert "drift: no change found" in cli("predict", run, images, "--here").err


def test_run_without_test_answers(cli, make_run, images):
    run = make_run()

    plain = cli("predict", run, images, "--here")
    strict = cli("predict", run, images, "--here", "--fail-on-drift")

    assert (plain.code, strict.code) == (0, 1)
    assert "drift: not known: there is no" in plain.err
    assert "cannot be held against the run's test" in strict.err


def test_folds_are_one_test(cli, make_run, images):
    run = make_run()
    for number in ("1", "2"):
        fold = run / "folds" / number
        fold.mkdir(parents=True)
        write_test(fold)

    assert "drift: no change found" in cli("predict", run, images, "--here").err


def test_missing_packages_are_named(cli, make_run, images, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    answer = cli("predict", make_run(), images, "--here")

    assert answer.code == 2
    assert "pip install ai-edge-litert pillow" in answer.err


def test_reader_that_leaves_early(make_run, images, program):
    """As in `hpcdl predict ... | head -1`: it ends without a word."""
    command = [*program, "predict", str(make_run()), str(images), "--here"]
    reader = subprocess.run(
        ["bash", "-c", '"$@" | head -1', "bash", *command],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip

    assert reader.stdout == f"file,answer,confidence,notes,{','.join(CLASSES)}\n"
    assert reader.stderr == ""


def test_model_loads_no_tensorflow(program, make_run, images):
    text = (
        "import sys, hpcdl.cli; hpcdl.cli.main(sys.argv[1:]);"
        "print(sorted({'tensorflow', 'jinja2', 'rich', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, "predict", str(make_run()), str(images), "--here"],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip

    assert done.stdout.splitlines()[-1] == "[]"


def test_sample_stays_small(monkeypatch):
    """However many images there are, the sample has a bound and is not only the first ones."""
    from hpcdl.predict import folder

    monkeypatch.setattr(folder, "MOST_ROWS", 50)
    sample = folder.Reservoir(2)
    for number in range(2000):
        probabilities = np.array([number / 2000, 0], np.float32)
        sample.add(folder.Answer("a", probabilities, np.zeros(5, np.float32)))
        sample.add(folder.Answer("b", why="is cut"))

    taken = sample.sample().probabilities[:, 0]
    assert (sample.count, len(taken)) == (2000, 50)
    assert 0.3 < taken.mean() < 0.7


def test_about_of_export_is_read_as_written(make_run):
    """The keys of model.json that this command needs; hpcdl export writes more."""
    from hpcdl.predict.exported import exported_models
    from hpcdl.run import Run

    run = make_run(resize={"method": "bilinear", "antialias": True, "rounded": False})
    (model,) = exported_models([Run(run)])

    assert (model.shape, model.rounds) == ((8, 8, 1), False)
    assert json.loads((run / "export" / "model.json").read_text())["class_names"] == CLASSES
