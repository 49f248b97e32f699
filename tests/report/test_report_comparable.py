"""`hpcdl compare` stars only what can be compared, and says why not of the rest."""

from __future__ import annotations

import json
import re
import struct
import zipfile

import numpy as np
import pytest

from hpcdl.report.comparison import compare
from hpcdl.report.comparison_page import comparison_page
from hpcdl.run import Run
from tests.report import made

pytestmark = pytest.mark.cases("F5")
ACCURACIES = ("test_accuracy", "validation_accuracy")
LOSSES = ("test_loss", "validation_loss")
TIMES = ("per_epoch_s", "images_per_s", "total_s")


def stars(folders):
    """The rows with a star, and the reasons of those that are not compared."""
    compared = compare([Run(folder) for folder in folders])
    starred = {row.key for row in compared.rows if row.best}
    return (
        starred,
        {row.key: row.not_compared for row in compared.rows if row.not_compared},
        compared.notes,
    )


def two(tmp_path, settings=None, **sections):
    """A run, and a better one that differs from it in some settings or parts of its result."""
    better = {
        "test": {"accuracy": 0.95, "loss": 0.2, "rows": 20},
        "timing": {"per_epoch_s": 1.0, "images_per_s": 80.0},
    }
    second = made.training(tmp_path, "b", settings, **{**better, **sections})
    lines = [json.loads(line) for line in (second / "metrics.jsonl").read_text().splitlines()]
    made.write_lines(
        second / "metrics.jsonl", [{**line, "val_accuracy": 0.9, "val_loss": 0.3} for line in lines]
    )
    return [made.training(tmp_path, "a"), second]


def test_alike_runs_get_stars(tmp_path):
    starred, reasons, notes = stars(
        two(tmp_path, {"model": {"filters": [8]}, "train": {"epochs": 9}})
    )

    assert starred == {
        *ACCURACIES,
        *LOSSES,
        "per_epoch_s",
        "images_per_s",
    }  # they took as long in all
    assert (reasons, notes) == ({}, [])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"train": {"label_smoothing": 0.05}}, "train.label_smoothing differs"),
        ({"train": {"labels": "one_hot"}}, "train.labels differs"),
        ({"model": {"output": "logits"}}, "model.output differs"),
        ({"model": {"l2": 0.001}}, "model.l2 differs"),
        ({"model": {"function": "mine:build"}}, "model.function differs"),
    ],
)
def test_other_loss_is_not_compared(tmp_path, settings, reason):
    starred, reasons, notes = stars(two(tmp_path, settings))

    assert starred >= set(ACCURACIES)
    assert reasons == dict.fromkeys(LOSSES, reason)
    assert notes == [f"test loss, validation loss: not compared, {reason}"]


@pytest.mark.parametrize(
    ("settings", "data", "reason"),
    [
        ({"data": {"name": "mnist"}}, {"path": "/data/mnist.npz"}, "data.name differs"),
        ({"data": {"name": None, "path": "x.npz"}}, {"path": "/x.npz"}, "data.name differs"),
        ({"data": {"args": {"noise": 0.1}}}, {}, "data.args differs"),
        (
            {"data": {"image_size": [4, 4]}},
            {"image_shape": [4, 4, 1]},
            "the images' sizes differ (8×8×1, 4×4×1)",
        ),
        (
            {"data": {"color": "rgb"}},
            {"image_shape": [8, 8, 3]},
            "the images' sizes differ (8×8×1, 8×8×3)",
        ),
        (
            {"data": {"test_split": 0.5}},
            {"rows_test": 50},
            "the numbers of test images differ (20; 50)",
        ),
        ({}, {"path": "/elsewhere/digits.npz"}, "the paths or checksums of the data differ"),
    ],
)
def test_other_data_is_not_compared(tmp_path, settings, data, reason):
    starred, reasons, notes = stars(two(tmp_path, settings, data=data))

    assert starred == set()
    assert reasons == dict.fromkeys(
        [*ACCURACIES, *LOSSES, "per_epoch_s", "images_per_s", "total_s"], reason
    )
    assert reason in notes[0]


def test_copied_data_file_compares_equal(tmp_path):
    """Data sets with equal checksums are the same, wherever their files are."""
    folders = two(
        tmp_path, {"data": {"name": None, "path": "copy.npz"}}, data={"path": "/copy.npz"}
    )
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(
            json.dumps({**manifest, "data": {"path": "x", "sha256": "1234" * 16}})
        )

    assert stars(folders)[0] >= {*ACCURACIES, *LOSSES}


def test_other_test_labels_are_noticed(tmp_path):
    """As many images of the same path, but others: what a function returns may change, or a file."""
    folders = two(tmp_path)
    arrays = made.predictions()
    np.savez(folders[1] / "predictions.npz", **{**arrays, "labels": arrays["labels"][::-1]})

    assert stars(folders)[1]["test_accuracy"] == "the test labels differ"


def test_labels_from_other_numpy_version(tmp_path):
    """Versions of numpy write headers of different lengths before the same labels."""
    folders = two(tmp_path)
    labels = made.predictions()["labels"]
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (20,), }".ljust(245) + b"\n"
    with zipfile.ZipFile(folders[1] / "predictions.npz", "w") as archive:
        archive.writestr(
            "labels.npy",
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + labels.tobytes(),
        )
    assert (np.load(folders[1] / "predictions.npz")["labels"] == labels).all()

    assert stars(folders)[0] >= {*ACCURACIES, *LOSSES}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"train": {"seed": 2}}, "train.seed differs, which chooses the validation images"),
        ({"data": {"validation_split": 0.3}}, "data.validation_split differs"),
    ],
)
def test_other_validation_images(tmp_path, settings, reason):
    starred, reasons, _ = stars(two(tmp_path, settings))

    assert starred >= {"test_accuracy", "test_loss"}
    assert reasons == {"validation_accuracy": reason, "validation_loss": reason}


def test_cross_validation_next_to_single_run(tmp_path):
    parts = {"test": {"accuracy": 0.01, "loss": 0.1}, "validation": {"accuracy": 0.02, "loss": 0.1}}
    settings = {"train": {"cross_validation": 3}}
    cross = {"mean": parts, "deviation": parts, "folds": []}
    folders = two(tmp_path, settings, cross_validation=cross)

    starred, reasons, _ = stars(folders)

    assert starred == set()
    assert set(reasons.values()) == {"one is the mean of a cross-validation, another is not"}


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ({"names": ["GPU:0 NVIDIA H100"]}, "the devices differ (the CPU; NVIDIA H100)"),
        ({"names": ["CPU:0 emulated", "CPU:1 emulated"], "emulated": True}, "GPUs were emulated"),
    ],
)
def test_other_hardware_only_for_times(tmp_path, devices, reason):
    starred, reasons, _ = stars(two(tmp_path, devices=devices))

    assert starred == {*ACCURACIES, *LOSSES}
    assert reasons == dict.fromkeys(TIMES, reason)


def test_epoch_of_fewer_images(tmp_path):
    """Without validation more images are trained on: an epoch is more work, images a second are not."""
    settings = {"data": {"validation_split": 0.0}}
    starred, reasons, _ = stars(
        two(tmp_path, settings, data={"rows_train": 90, "rows_validation": 0})
    )

    assert starred >= {"test_accuracy", "images_per_s"}
    reason = "the numbers of training images differ (80; 90)"
    assert (reasons["per_epoch_s"], reasons["total_s"]) == (reason, reason)


def test_balanced_classes_change_loss_and_work(tmp_path):
    _, reasons, _ = stars(two(tmp_path, {"train": {"balance": "oversample"}}))

    assert reasons == dict.fromkeys([*LOSSES, "per_epoch_s", "total_s"], "train.balance differs")


def test_other_number_of_cpus(tmp_path):
    folders = two(tmp_path)
    plan = json.loads((folders[1] / "plan.json").read_text())
    (folders[1] / "plan.json").write_text(json.dumps({**plan, "cpus": 20}))

    assert set(stars(folders)[1].values()) == {"the numbers of CPUs differ (2, 20)"}


@pytest.mark.parametrize("state", ["failed", "running"])
def test_unfinished_run_is_not_compared(tmp_path, state):
    folders = two(tmp_path)
    if state == "running":
        (folders[1] / "result.json").unlink()
        rows = (folders[1] / "attempts.jsonl").read_text().splitlines()
        (folders[1] / "attempts.jsonl").write_text(f"{rows[0]}\n")
    else:
        result = json.loads((folders[1] / "result.json").read_text())
        (folders[1] / "result.json").write_text(json.dumps({**result, "state": "failed"}))

    starred, _, notes = stars(folders)

    assert starred == set()
    assert notes == [f"b is {state}: it is not compared"]


def test_every_output_shows_reasons(tmp_path, cli):
    folders = two(tmp_path, {"train": {"label_smoothing": 0.05}})

    out = cli("compare", *folders).out
    answer = json.loads(cli("compare", *folders, "--json").out)
    page = comparison_page(compare([Run(folder) for folder in folders]))

    reason = "train.label_smoothing differs"
    assert f"test loss, validation loss: not compared, {reason}\n" in out
    assert re.search(r"^test loss +0.3000 +0.2000$", out, re.MULTILINE)
    assert answer["not_compared"] == dict.fromkeys(LOSSES, reason)
    assert answer["best"]["test_accuracy"] == [1]
    assert f"<li>test loss, validation loss: not compared, {reason}.</li>" in page
    drawings = dict(re.findall(r"<figure>\s*<h3>([^<]*)</h3>(.*?)</figure>", page, re.DOTALL))
    assert f"Not comparable: {reason}." in drawings["Validation loss"]
    assert "Not comparable" not in drawings["Validation accuracy"]


def test_training_curves_with_augmentation(tmp_path):
    folders = two(tmp_path, {"data": {"augment": [{"rotate": 15}]}})
    for folder in folders:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        own = [
            {key: value for key, value in line.items() if not key.startswith("val_")}
            for line in lines
        ]
        made.write_lines(folder / "metrics.jsonl", own)

    page = comparison_page(compare([Run(folder) for folder in folders]))

    assert page.count("Not comparable: data.augment differs.") == 2


def test_tested_epoch_is_a_row(tmp_path):
    """With early_stopping the best epoch's weights are tested, without it the last one's."""
    early = {"train": {"early_stopping": {"monitor": "val_loss", "restore_best": True}}}
    folders = two(tmp_path, early, best={"epoch": 2, "monitor": "val_loss", "value": 0.3})

    compared = compare([Run(folder) for folder in folders])

    tested = next(row for row in compared.rows if row.key == "tested_epoch")
    assert tested.values == [3, 2]
    assert "the best one where early_stopping restores its weights" in compared.notes[-1]


def test_older_jobs_lack_keys_not_values(tmp_path):
    """A key that an older hpcdl did not know is as if it had the value that stands for it."""
    folders = two(
        tmp_path, {"train": {"jit": "auto", "precision": "auto"}, "data": {"cache": "auto"}}
    )

    assert compare([Run(folder) for folder in folders]).differences == {}


def test_own_metrics_make_rows(tmp_path):
    folders = two(tmp_path, test={"auc": 0.97, "loss": 0.1})

    rows = {row.name: row for row in compare([Run(folder) for folder in folders]).rows}

    assert rows["test auc"].texts == ["–", "97.00\u00a0%"]
