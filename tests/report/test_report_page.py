"""`hpcdl report` of real runs: done, failed, under way, a script; and of content that would like to be markup."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from hpcdl.report import svg
from hpcdl.report.evaluation import read_predictions
from hpcdl.report.facts import read
from hpcdl.report.gallery import overlay
from hpcdl.report.matrix import confusion_matrix
from hpcdl.report.png import data_uri
from hpcdl.report.times import spans
from hpcdl.run import Run
from tests.report.conftest import change

pytestmark = pytest.mark.tensorflow
EVIL = "<script>alert('x')</script>&\"<b>"


class Page(HTMLParser):
    """A page as its reader has it: the text, and the tags with their attributes. Unclosed tags are refused."""

    VOID = ("meta", "link", "br", "img", "path", "rect", "circle", "polyline")

    def __init__(self, html):
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.text += data.replace("\u00a0", " ")

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def write(cli, tmp_path):
    """Writes a run's report by the command line, and gives the page."""

    def run(folder):
        answer = cli("report", folder, "-o", tmp_path / "page.html")
        assert (answer.code, answer.out) == (0, f"{tmp_path}/page.html\n"), answer.err
        return Page((tmp_path / "page.html").read_text())

    return run


def test_page_agrees_with_result(finished, write):
    result, page = json.loads((finished / "result.json").read_text()), write(finished)

    accuracy = f"{100 * result['test']['accuracy']:.2f} %"
    assert f"It gets {accuracy} of 90 test images right" in page.text
    assert f"{accuracy} of 90 images" in page.text  # of predictions.npz: the trainer's own figure
    for part in (
        f"{result['model']['parameters']:,} parameters in 3 layers",
        "validation_split: 0.2",
        "Most frequent",
    ):
        assert part in page.text
    titles = re.findall(
        r"Loss of training and validation|Confusion matrix|Accuracy over confidence", page.text
    )
    assert len(titles) == 3


def test_page_is_complete_in_itself(finished, cli):
    answer = cli("report", finished)

    path = finished / "report.html"
    assert answer.out == f"{path}\n"
    page = Page(path.read_text())
    assert path.stat().st_size < 100_000
    assert not page.named("script")
    links = [
        value for _, tag in page.tags for name, value in tag.items() if name in ("src", "href")
    ]
    assert links
    assert all(str(link).startswith("data:") for link in links)
    assert "http://" not in path.read_text().replace("http://www.w3.org", "")


def test_pictures_are_of_mistakes_and_doubts(finished, write):
    """Each has the map of where the model looked below it."""
    predictions = read_predictions(finished / "predictions.npz")
    with np.load(finished.parents[2] / "data.npz") as data:
        images = data["x_test"]

    shown = write(finished).named("img")

    wrong = np.flatnonzero(predictions.probabilities.argmax(axis=1) != predictions.labels)
    mistakes = set(predictions.pictures) - set(predictions.unsure)
    assert len(mistakes) == min(24, len(wrong)) > 0
    assert mistakes <= set(wrong)
    assert len(predictions.unsure) == 8
    assert predictions.heat.keys() == predictions.pictures.keys()
    sources = [tag["src"] for tag in shown]
    assert len(sources) == 2 * len(predictions.pictures)
    for row, picture in predictions.pictures.items():
        assert (picture[..., 0] == images[row]).all()
        place = sources.index(data_uri(picture))
        assert sources[place + 1] == data_uri(overlay(picture, predictions.heat[row]))
        assert shown[place + 1]["alt"].startswith("where the model looked: ")


@pytest.mark.cases("F17", "C41")
def test_mistakes_are_named_by_file(copied, write):
    """Where the images came from files; a name may be anything, also markup or bytes that are not UTF-8."""
    with np.load(copied / "predictions.npz") as file:
        arrays = dict(file)
    arrays["files"] = np.array(
        [f"cat {EVIL}/{row}\udce4.png" for row in range(len(arrays["labels"]))]
    )
    np.savez(copied / "predictions.npz", **arrays)

    page = write(copied)

    for row in arrays["picture_rows"]:
        assert f"cat {EVIL}/{row}\\xe4.png" in page.text
    assert not re.search(r"row \d", page.text)


@pytest.mark.cases("F23")
def test_page_identifies_data_folder(copied, write):
    change(
        copied,
        "manifest.json",
        data={"sha256": None, "listing_sha256": "ab" * 32, "files": 1234, "bytes": 5_000_000},
    )
    assert (
        "(1,234 files, 5.0 MB, sha256 of their names and sizes abababababababab…)"
        in write(copied).text
    )


def test_spans_add_up(finished):
    facts = read(Run(finished))

    assert facts.total_s
    assert facts.waited_s
    assert sum(span.seconds for span in spans(facts)) == pytest.approx(
        facts.total_s + facts.waited_s
    )
    assert all(span.seconds >= 0 for span in spans(facts))


def test_script_that_fails(submit, write):
    folder = submit(
        {"name": "broken", "script": "broken.py", "resources": {"gpus": 0}},
        f"raise ValueError({EVIL!r})\n",
    )
    page = write(folder)

    assert "It failed (user code)." in page.text
    assert f"ValueError: {EVIL}" in page.text
    assert "raise ValueError" in page.text  # the script itself
    assert not page.named("script")


def test_page_of_running_run(copied, write):
    for name in ("result.json", "predictions.npz"):
        (copied / name).unlink()
    attempts = (copied / "attempts.jsonl").read_text().splitlines()
    (copied / "attempts.jsonl").write_text(f"{attempts[0]}\n")
    lines = (copied / "metrics.jsonl").read_text().splitlines()
    (copied / "metrics.jsonl").write_text("\n".join(lines[:2]) + '\n{"epoch": 3, "los')
    submitted = json.loads((copied / "submitted.json").read_text())
    (copied / "submitted.json").write_text(json.dumps({**submitted, "host": "elsewhere"}))
    (copied / "heartbeat.json").write_text(json.dumps({"phase": "training", "epochs": 4}))

    page = write(copied)

    assert "It is running" in page.text
    assert "2 epochs of 4 were trained" in page.text
    assert "Loss of training and validation over 2 epochs" in page.text


def test_page_of_submitted_run(copied, write):
    for path in copied.iterdir():
        if path.is_file() and path.name not in (
            "job.yaml",
            "manifest.json",
            "plan.json",
            "run.json",
        ):
            path.unlink()

    assert "It is created" in write(copied).text


def test_hostile_content_stays_text(copied, write):
    result = json.loads((copied / "result.json").read_text())
    result.update(state="failed", cause="user_code", name=EVIL, message=EVIL, hint=EVIL)
    result["lines"] = [{"file": EVIL, "line": 1, "text": EVIL}]
    result["data"].update(class_names=[EVIL, "b", "c"], path=EVIL)
    result["devices"]["names"] = [EVIL]
    (copied / "result.json").write_text(json.dumps(result))
    (copied / "job.yaml").write_text(f"name: x\nargs: [{json.dumps(EVIL)}]\n")

    page = write(copied)

    assert page.text.count(EVIL) >= 8
    assert not page.named("script")
    # The page's own: one below each picture and its map
    assert 2 * len(page.named("b")) == len(page.named("img"))


def test_emulated_gpus_are_mentioned(copied, write):
    change(
        copied,
        "result.json",
        devices={"emulated": True, "names": ["CPU:0 emulated", "CPU:1 emulated"]},
    )

    assert "GPUs were emulated" in write(copied).text


def test_class_names_are_shown(copied, write):
    change(copied, "result.json", data={"class_names": ["cat", "dog", "a very long-winded animal"]})

    page = write(copied)

    assert "a very long-winded animal" in page.text
    assert "cat" in page.text


def test_damaged_predictions_leave_the_rest(copied, write):
    (copied / "predictions.npz").write_bytes(b"PK nothing")

    page = write(copied)

    assert "predictions.npz cannot be read" in page.text
    assert "Loss of training" in page.text


def test_page_without_scikit_learn(finished, write, monkeypatch):
    """Only the scores that need scikit-learn are missing, with a remedy."""
    monkeypatch.setitem(sys.modules, "sklearn", None)

    page = write(finished)

    assert "pip install scikit-learn" in page.text
    assert "Loss of training" in page.text


def test_losses_that_are_not_numbers(copied, write):
    lines = [json.loads(line) for line in (copied / "metrics.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        line.update(loss=None, val_loss=None, accuracy=None)
    (copied / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    change(copied, "result.json", test={"accuracy": None, "loss": None})

    assert "small" in write(copied).text


def test_report_in_other_users_folder(finished, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert cli("report", finished).out == f"{tmp_path}/report-{finished.name}.html\n"


def test_report_has_no_place_to_write(finished, cli):
    answer = cli("report", finished, "-o", "/nowhere/at/all.html")

    assert answer.code == 2
    assert "cannot write /nowhere/at/all.html: No such file or directory" in answer.err


def test_report_of_missing_run(cli, tmp_path):
    answer = cli("report", tmp_path / "nothing")

    assert (answer.code, answer.out) == (2, "")
    assert "there is no run" in answer.err


@pytest.mark.parametrize("classes", [2, 10, 30, 100, 300])
def test_page_with_many_classes(copied, write, classes):
    random = np.random.default_rng(1)
    labels = (np.arange(classes * 4) % classes).astype(np.int32)
    probabilities = random.dirichlet(np.full(classes, 0.1), len(labels)).astype(np.float32)
    np.savez(copied / "predictions.npz", labels=labels, probabilities=probabilities)
    change(copied, "result.json", data={"classes": classes})

    page = write(copied)

    assert ("Confusion matrix" in page.text) == (classes <= 200)
    assert len(page.named("img")) == 0
    assert (copied.parents[2] / "page.html").stat().st_size < 300_000


def test_matrix_shows_counts_and_escaped_names():
    drawn = confusion_matrix("t", np.array([[5, 0], [12345, 7]]), [EVIL, "b"])

    assert re.findall(r'class="in[^>]*>([^<]+)<', drawn) == ["5", "12k", "7"]
    assert "<script" not in drawn


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.83, 0.99, [0.8, 0.85, 0.9, 0.95, 1]),
        (5, 5, [5, 6]),
        (1, 60, [0, 20, 40, 60]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert svg.ticks(low, high) == pytest.approx(expected)


def test_png_keeps_its_pixels():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)

    raw = base64.b64decode(data_uri(image).partition(",")[2])

    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">IIBB", raw[16:26]) == (3, 2, 8, 2)
    length = struct.unpack(">I", raw[33:37])[0]
    lines = zlib.decompress(raw[41 : 41 + length])
    assert lines == b"\0" + image[0].tobytes() + b"\0" + image[1].tobytes()


def test_result_names_the_classes(copied, cli):
    change(copied, "result.json", data={"class_names": ["cat", "dog", "fox"]})

    answer = cli("result", copied)

    assert (
        "192 train, 48 validation, 90 test images of 10x10x1; 3 classes: cat, dog, fox\n"
        in answer.out
    )
