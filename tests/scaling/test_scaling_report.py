"""A scaling report from its runs' folders: the table, the page in a browser, JSON, and what is damaged."""

from __future__ import annotations

import json
import shutil

import pytest

from hpcdl.report.scale_page import scale_report
from hpcdl.run.paths import RunPaths
from hpcdl.scaling.reading import read_report
from tests.scaling.runs import START, write_report

RATES = {1: 1000.0, 2: 1900.0, 4: 2100.0}
USES = {1: 90.0, 2: 88.0, 4: 60.0}


def test_figures_come_from_the_runs(tmp_path):
    report = read_report(write_report(tmp_path, RATES, USES))

    one, two, four = report.verdict.sizes
    assert one.measured.rates == [1000.0, pytest.approx(30_000 / 31), 1000.0]
    assert one.measured.start_s == pytest.approx(9.0), "with four slow seconds of the first epoch"
    assert one.measured.start_parts == {
        "TensorFlow": 2.0,
        "model": 1.0,
        "first steps": 4.0,
        "container and the rest": pytest.approx(2.0),
    }
    assert one.measured.gpu_use_percent == 90.0, "without the samples of start and end"
    assert (one.measured.save_s, one.measured.batch_rows, one.measured.cpus) == (0.5, 128, 8)
    assert report.verdict.best is two
    assert four.input_lost == pytest.approx(1 / 3)
    assert one.whole_s == pytest.approx(9.0 + 600_000 / 1000 * (1 + 0.5 / 300))


def test_command_shows_table_and_page(cli, tmp_path):
    paths = write_report(tmp_path, RATES, USES)
    answer = cli("scale", paths.root)

    assert answer.code == 0, answer.err
    assert "Take 2 GPUs: 1.9 times as fast as 1 GPU, at 95 % efficiency." in answer.out
    assert "recommended: --set resources.gpus=2" in answer.out
    assert "to change: Let the batch grow with the GPUs: 128 rows on each" in answer.out
    assert f"page: {paths.page}" in answer.err
    assert "What is measured, and what is inferred" in paths.page.read_text()


def test_json_holds_all_figures(cli, tmp_path):
    paths = write_report(tmp_path, {**RATES, 8: 0}, USES)
    answer = cli("scale", paths.root, "--json")

    value = json.loads(answer.out)
    assert (value["folder"], value["best"]) == (str(paths.root), {"gpus": 2, "nodes": 1})
    assert value["set"] == "--set resources.gpus=2"
    assert [size["gpus"] for size in value["sizes"]] == [1, 2, 4]
    assert value["sizes"][2]["images_per_s"] == pytest.approx(2100)
    assert value["missing"] == [
        "8 GPUs: its run was not sent; hpcdl scale JOB measures all sizes anew"
    ]


def test_moved_folders_are_still_found(cli, tmp_path):
    write_report(tmp_path / "runs", RATES)
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    answer = cli("scale", tmp_path / "elsewhere/a/scale-20251128-0320-aaaa")

    assert answer.code == 0, answer.err
    assert "recommended: --set resources.gpus=2" in answer.out
    assert "What of it is lost to input is not known" in answer.out, "without samples"


def test_failed_and_removed_runs_are_named(cli, tmp_path):
    paths = write_report(tmp_path, RATES)
    four, two = (paths.root.parent / f"20251128-0320-aaa{gpus}" for gpus in (4, 2))
    failed = {"state": "failed", "cause": "oom", "attempts": []}
    RunPaths(four).result.write_text(json.dumps(failed))
    shutil.rmtree(two)
    answer = cli("scale", paths.root)

    assert answer.code == 1
    assert "Only one size measured something" in answer.out
    assert "4 GPUs: its run is failed, oom" in answer.out
    assert f"2 GPUs: its run {two} is gone" in answer.out
    assert "recommended" not in answer.out


def test_epoch_of_a_requeue_does_not_count(tmp_path):
    """The run of 2 GPUs was requeued in its third epoch, that of 4 GPUs before its first one."""
    paths = write_report(tmp_path, RATES)
    for gpus, seconds in ((2, 80), (4, 1)):
        attempts = RunPaths(paths.root.parent / f"20251128-0320-aaa{gpus}").attempts
        first, last = attempts.read_text().splitlines()
        again = {**json.loads(first), "attempt": 2, "time": START + seconds}
        attempts.write_text("\n".join([first, json.dumps(again), last]) + "\n")
    _, two, four = read_report(paths).verdict.sizes

    assert two.measured.rates == [1900.0, 1900.0]
    assert two.measured.start_s is None
    assert len(four.measured.rates) == 3
    assert four.measured.start_s == pytest.approx(8.0)


@pytest.mark.parametrize("text", ["", "[]", '{"runs": 3}', "{"])
def test_damaged_record_is_refused(cli, tmp_path, text):
    paths = write_report(tmp_path, RATES)
    paths.record.write_text(text)
    answer = cli("scale", paths.root)

    assert answer.code == 1
    assert f"{paths.record} cannot be read, or is damaged" in answer.err


@pytest.mark.parametrize(
    "line",
    ['{"epoch": 2}', '{"epoch": 2, "seconds": 0, "images_per_s": 1}', '{"epoch": "x"}', "{", "NaN"],
)
def test_damaged_epochs_measure_nothing(cli, tmp_path, line):
    paths = write_report(tmp_path, RATES)
    metrics = RunPaths(paths.root.parent / "20251128-0320-aaa2").metrics
    first = metrics.read_text().splitlines()[0]
    metrics.write_text(f"{first}\n{line}\n" + '{"epoch": 3, "images_per_s": NaN, "seconds": 1}\n')
    answer = cli("scale", paths.root)

    assert answer.code == 0, answer.err
    assert "2 GPUs: its run has no epoch after the first one" in answer.out
    assert "recommended: --set resources.gpus=1" in answer.out


def test_emulated_gpus_are_said_first(tmp_path):
    page = scale_report(read_report(write_report(tmp_path, RATES, emulate_gpus=True)))

    assert page.index("CPU devices stood in") < page.index("Take 2 GPUs")


@pytest.mark.parametrize("width", [400, 1400])
def test_page_fits_each_width(browser, tmp_path, width):
    name = "<script>document.title='owned'</script>"
    paths = write_report(tmp_path, RATES, USES, job="a")
    record = json.loads(paths.record.read_text())
    paths.record.write_text(json.dumps({**record, "job": name}))
    paths.page.write_text(scale_report(read_report(paths)))

    browser.open(paths.page, width)

    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value("document.title").startswith(name)
    assert browser.value("document.scripts.length") == 0
    assert (browser.complaints(), browser.requests()) == ([], [])
    drawn = browser.value("[...document.querySelectorAll('figure h3')].map(h => h.innerText)")
    assert drawn[:3] == ["Images a second", "Efficiency", "Start"]
    assert drawn[-1] == "GPU-hours of the whole job"
    widths = "[...document.querySelectorAll('.bar-of-time svg')].map(bar => bar.children.length)"
    assert browser.value(widths) == [7, 7, 7], "a title, and six parts of each size's time"
