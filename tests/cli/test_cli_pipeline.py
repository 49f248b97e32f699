"""Pipelines on this machine, end to end and without TensorFlow: pack, a script of the user's, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("PIL")

PIPELINE = """
steps:
  report:
    hpcdl: report {train} -o 'the page.html'
  train:
    job: {name: train, script: train.py, resources: {gpus: 0}}
    after: pack
  pack:
    hpcdl: [data, pack, photos, --color, grey]
"""
TRAIN = (
    "import os, sys\n"
    "pack = os.path.join(os.environ['HPCDL_DATA_ROOT'], 'photos', 'pack.json')\n"
    "print(os.path.getsize(pack), 'bytes')\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with eight images, a pipeline, and a module that must not be taken for Python's."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "inner"
    for part in ("train", "test"):
        for label in ("dark", "light"):
            (folder / "photos" / part / label).mkdir(parents=True)
            for number in range(2):
                color = 20 + number + 200 * (label == "light")
                image = Image.new("L", (8, 8), color)
                image.save(folder / "photos" / part / label / f"{number}.png")
    (folder / "json.py").write_text("raise SystemExit('not the json of Python')\n")
    (folder / "train.py").write_text(TRAIN)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    return folder


@pytest.fixture
def submit(hpcdl_process, folder):
    where = ("--backend", "local", "--runs-dir", "runs", "--set", "cluster.data_root=data")
    return lambda file, *options: hpcdl_process("submit", file, *where, *options)


def test_pack_script_and_report_in_order(submit, folder, hpcdl_process):
    done = submit("inner/pipeline.yaml")

    assert done.code == 0, done.err
    pack, train, report = map(Path, done.out.split())
    assert f"report: started on this machine: hpcdl report {train} -o 'the page.html'" in done.err
    assert (
        str(folder.parent / "data")
        in json.loads((pack / "plan.json").read_text())["program"]["words"]
    )
    assert "bytes" in (train / "logs/1.log").read_text()
    assert "<html" in (folder / "the page.html").read_text()
    assert json.loads((report / "after.json").read_text())["after"][0]["run"] == str(train)
    result = json.loads((report / "result.json").read_text())
    assert (result["state"], result["command"][0]) == ("done", "report")
    assert not (report / "work").exists() and not (report / "home").exists()
    for command in ("status", "result", "logs", "report", "cost"):
        assert hpcdl_process(command, report).code == 0
    assert "without a container" in hpcdl_process("shell", report).err


def test_failed_step_ends_local_pipeline(submit, folder):
    (folder / "photos" / "train" / "dark" / "0.png").write_bytes(b"no image")
    done = submit("inner/pipeline.yaml")

    assert done.code == 1
    (pack,) = map(Path, done.out.split())
    result = json.loads((pack / "result.json").read_text())
    assert (result["state"], result["cause"]) == ("failed", "internal")
    assert "train: not started" in done.err
    assert "report: not started, as train was not" in done.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("report x --nothing", "No such option"),
        ("data pack", "Missing argument 'FOLDER'"),
        ("data pack photos --color blue", "'blue' is not one of"),
        ("report --help", "it only shows help"),
        ("report '{train}'", "stands for the run of a pipeline's step"),
    ],
)
def test_wrong_words_are_refused_first(cli, folder, command, message):
    (folder / "job.yaml").write_text(f'name: a\nhpcdl: "{command}"\n')
    answer = cli("submit", "inner/job.yaml", "--backend", "local", "--runs-dir", "runs")

    assert answer.code == 2
    assert message in answer.err
    assert not (folder.parent / "runs").exists()


def test_training_uses_set_made_before(folder):
    """The set is not there yet: its name means the folder that the step before makes."""
    from hpcdl.cli.options import JobSettings
    from hpcdl.cli.submit_pipeline import Where, _prepare_all

    model = "model: {name: mlp, dense: [4]}, data: {name: photos}, train: {epochs: 1}"
    (folder / "pipeline.yaml").write_text(
        "steps:\n"
        "  pack: {hpcdl: data pack photos}\n"
        f"  train: {{job: {{name: t, {model}}}, after: pack}}\n"
        f"  other: {{job: {{name: o, {model}}}}}\n"
    )
    settings = JobSettings("local", ("cluster.data_root=data",), None, None)
    prepared = _prepare_all("inner/pipeline.yaml", Where(settings, "local", "runs"), ())
    by_name = {step.name: submission for step, submission, _ in prepared}

    spec = by_name["train"].spec
    assert spec is not None
    assert spec.data.path == str(folder.parent / "data/photos")
    assert by_name["train"].made_before == [str(folder.parent / "data/photos")]
    assert by_name["other"].made_before == []
