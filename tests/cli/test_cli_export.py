"""`hpcdl export`: the table of what there is, and what --to refuses before it starts anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpcdl.report.page import report
from hpcdl.run import Run
from hpcdl.run.paths import run_paths, runs_root_of
from hpcdl.trainer.export.files import ExportFolder
from tests.report.made import training

ROWS = [
    {"kind": "tflite", "file": "model.tflite", "bytes": 252_236, "gzip": 232_229, "rows": 2000,
     "accuracy": 0.9678, "agreement": 1.0, "ms": 0.0861, "threads": 1},
    {"kind": "int8", "file": "model.int8.tflite", "bytes": 68_824, "gzip": None, "rows": 100,
     "accuracy": 0.9675, "agreement": 0.875, "ms": 25.8, "threads": 1},
    {"kind": "h5", "file": "model.h5", "bytes": 70_000, "gzip": 60_000},
    {"kind": "onnx", "why": "there is no <b>tf2onnx</b>"},
    {"kind": "odd", "file": 5, "bytes": -1},
    "odd",
]  # fmt: skip


@pytest.fixture
def exported(tmp_path):
    """A run that is done, with an export.json by hand."""
    run = training(tmp_path / "runs")
    (run / "export").mkdir()
    (run / "export" / "export.json").write_text(json.dumps({"schema_version": 1, "kinds": ROWS}))
    for name in ("model.tflite", "model.int8.tflite", "model.h5"):
        (run / "export" / name).write_bytes(b"model")
    return run


def test_table_lists_kinds_and_reasons(cli, exported):
    answer = cli("export", exported)

    assert answer.code == 0
    assert answer.out.splitlines() == [
        "kind    size    compressed  accuracy  agreement  an image  measured on",
        "tflite  252 kB  232 kB      96.78 %   100.00 %   0.086 ms  2,000 images",
        "int8    69 kB   –           96.75 %   87.50 %    26 ms     100 images",
        "h5      70 kB   60 kB       –         –          –         –",
        "not exported: onnx: there is no <b>tf2onnx</b>",
        f"in {exported}/export",
    ]
    assert json.loads(cli("export", exported, "--json").out)[1]["agreement"] == 0.875


def test_report_and_compare_show_exports(cli, exported):
    page = report(Run(exported))
    compared = cli("compare", exported, exported).out

    assert "87.50\u00a0%" in page
    assert "Not exported: onnx: there is no &lt;b&gt;tf2onnx&lt;/b&gt;." in page
    assert "int8 agreement" in compared
    assert "onnx" not in compared


def test_removed_export_says_how(cli, exported):
    (exported / "export" / "model.int8.tflite").unlink()

    answer = cli("export", exported)
    listed = cli("result", exported).out

    assert "exported   tflite, int8, h5" in listed
    remedy = f"hpcdl export {exported} --to int8"
    assert f"gone: int8: model.int8.tflite was removed; make it again: {remedy}" in answer.out
    assert "gone: tflite" not in answer.out


def test_run_without_model_is_named(cli, exported):
    (exported / "export" / "export.json").unlink()

    answer = cli("export", exported)

    assert answer.code == 2
    assert "trained no model with hpcdl" in answer.err
    assert "--to" not in answer.err


def test_missing_export_says_how(cli, exported):
    for content in ("{", "[]", '{"kinds": 5}'):
        (exported / "export" / "export.json").write_text(content)
        answer = cli("export", exported)
        assert answer.code == 2
        assert f"hpcdl export {exported} --to tflite" in answer.err


def saved(run, **sections):
    """The run, with a saved model, and with some keys of result.json replaced."""
    result = json.loads((run / "result.json").read_text())
    result["model"].update(file="model/model.keras", input={"shape": [8, 8, 1], "range": [0, 255]})
    for section, values in sections.items():
        result[section].update(values)
    (run / "result.json").write_text(json.dumps(result))
    (run / "model").mkdir(exist_ok=True)
    (run / "model" / "model.keras").write_text("")
    (run / "run.json").write_text("{}")
    return run


@pytest.mark.parametrize(
    ("kind", "message"),
    [("fp16", "did you mean float16?"), ("tflite", "trained no model with hpcdl")],
)
def test_wrong_wish_is_refused(cli, exported, kind, message):
    answer = cli("export", exported, "--to", kind)

    assert answer.code == 2
    assert message in answer.err


def test_unfinished_run_has_no_model(cli, exported):
    saved(exported)
    (exported / "result.json").write_text('{"state": "failed", "cause": "time"}')

    answer = cli("export", exported, "--to", "tflite")

    assert answer.code == 2
    assert "is failed; expected a run that is done" in answer.err


@pytest.fixture
def two(tmp_path):
    """Two runs that are done, tested on the same images."""
    return [saved(training(tmp_path / "runs", name)) for name in ("a", "b")]


def test_mean_has_place_of_its_own(cli, two):
    """The single run's exports are not touched, and the order of the runs does not matter."""
    for folder in ("export", "export/mean-of-2-0cbec3f8"):
        (two[0] / folder).mkdir()
        (two[0] / folder / "export.json").write_text(json.dumps({"kinds": ROWS[:1]}))
    members = [{"run": "x", "file": "model/model.keras", "sha256": "0"}]
    row: Any = ROWS[1]
    rows = [{**row, "members": members}]
    (two[0] / "export/mean-of-2-0cbec3f8/export.json").write_text(json.dumps({"kinds": rows}))
    (two[0] / "export/mean-of-2-0cbec3f8" / row["file"]).write_text("a model")

    answers = [cli("export", *two), cli("export", *reversed(two))]

    assert answers[0].out == answers[1].out
    lines = answers[0].out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["kind", "int8"]
    assert "the mean of these 2 models: test accuracy" in lines[2]
    assert lines[2] in cli("compare", *two).out
    assert lines[3] == f"in {two[0]}/export/mean-of-2-0cbec3f8"
    assert cli("export", two[0]).out.splitlines()[-1] == f"in {two[0]}/export"
    assert json.loads(cli("export", *two, "--json").out)[0]["members"] == members


def test_unlike_runs_have_no_mean(cli, two, tmp_path):
    saved(two[1], data={"class_names": ["d", "c", "b", "a"]})
    shape = {"input": {"shape": [9, 9, 1], "range": [0, 255]}}
    other_shape = saved(training(tmp_path / "runs", "c"), model=shape)
    other_test = saved(training(tmp_path / "runs", "d"), data={"path": "/data/mine.npz"})
    unfinished = training(tmp_path / "runs", "e", state="failed")
    gone = saved(training(tmp_path / "runs", "f"), model={"needs": ["mine.py"]})

    several = cli("export", two[0], two[1], other_shape, unfinished, gone, "--to", "tflite")
    tests = cli("export", two[0], other_test, "--to", "tflite", "--backend", "slurm")
    twice = cli("export", two[0], two[1], f"{two[0]}/", "--to", "tflite")

    assert (several.code, tests.code, twice.code) == (2, 2, 2)
    for words in (
        "4 problems",
        "its classes are d, c, b, a; expected those of a/",
        "takes images of 9x9x1; expected those of a/",
        "export each run alone",
        "e/20251128-0320-aaaa: trained no model",
        "its model needs mine.py, which is not in",
    ):
        assert words in several.err
    assert "was not tested as a/20251128-0320-aaaa: the paths or checksums" in tests.err
    assert "are the same run" in twice.err
    assert "name it once" in twice.err


def test_missing_mean_says_how(cli, two):
    answer = cli("export", *two)

    assert answer.code == 2
    assert f"hpcdl export {two[0]} {two[1]} --to tflite" in answer.err


def test_table_forgets_what_is_gone(tmp_path):
    """A kill between two renames leaves the row of a folder that is not there."""
    folder = ExportFolder(str(tmp_path))
    for kind in ("serving", "saved_model"):
        (tmp_path / kind).mkdir()
    folder.write_rows([{"kind": kind, "file": kind} for kind in ("serving", "saved_model")])
    folder.write_rows([{"kind": "onnx", "why": "no tf2onnx"}])
    (tmp_path / "serving").rmdir()

    folder.write_rows([{"kind": "int8", "why": "no memory"}])

    assert [row["kind"] for row in folder.read_rows()] == ["saved_model", "onnx", "int8"]


def test_older_export_stays_in_table(cli, exported):
    """A kind that cannot be made anew keeps its file, and so its row."""
    (exported / "export" / "model.h5").unlink()
    folder = ExportFolder(str(exported / "export"))

    folder.write_rows([{"kind": kind, "why": "the disk is full"} for kind in ("int8", "h5")])
    answer = cli("export", exported)

    assert "87.50 %" in answer.out
    assert "not exported: int8 anew (the older one stays): the disk is full" in answer.out
    assert "not exported: h5: the disk is full" in answer.out  # its file was not there
    folder.write_rows([{"kind": "int8", "file": "model.int8.tflite", "bytes": 5}])
    assert "anew" not in cli("export", exported).out


def test_trial_exports_beside_its_sweep(tmp_path):
    sweep = tmp_path / "runs" / "tune" / "20260101-1200-aaaa"
    (sweep / "trials" / "00000").mkdir(parents=True)
    (sweep / "sweep.json").write_text("{}")

    assert runs_root_of(run_paths(sweep / "trials" / "00000")) == tmp_path / "runs"
    assert runs_root_of(run_paths(tmp_path / "runs" / "a" / "b")) == tmp_path / "runs"


def test_job_on_node_is_refused_early(cli, exported):
    saved(exported)

    without_kind = cli("export", exported, "--backend", "slurm")
    nothing_to_wait_for = cli("export", exported, "--to", "int8", "--wait")
    without_profile = cli("export", exported, "--to", "int8", "--backend", "slurm")

    assert (without_kind.code, nothing_to_wait_for.code, without_profile.code) == (2, 2, 2)
    assert "--backend and --wait go with --to KIND" in without_kind.err
    assert "--wait goes with --backend slurm" in nothing_to_wait_for.err
    assert (
        "was not sent with a profile that hpcdl can read; say --cluster FILE" in without_profile.err
    )
