"""The run folder: made whole or not at all, found again by what people remember of its name."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml

import hpcdl
from hpcdl.cluster import load_cluster
from hpcdl.contract.spec import RunSpec
from hpcdl.errors import RunError, UserError
from hpcdl.files import write_json
from hpcdl.job import load_job
from hpcdl.launch.command import read_plan
from hpcdl.planning import plan
from hpcdl.run import Run, find_run, runs_below
from hpcdl.run.paths import RunPaths
from hpcdl.submission import create
from hpcdl.submission.create import new_run
from hpcdl.submission.locate import run_spec


def make(path, runs_root):
    job, cluster = load_job(path, ["resources.gpus=0"]), load_cluster("local")
    decided = plan(job, cluster)
    paths = new_run(job.name, runs_root)
    create.create(paths, job, decided, run_spec(job, cluster), ["hpcdl", "submit", "x y"])
    return paths, decided


def test_folder_holds_everything(write_job, tmp_path):
    paths, decided = make(
        write_job("name: a\nscript: a.py\nargs: [é, 'b c']\nslurm: {hint: y}\n", a__py="1\n"),
        tmp_path / "r",
    )

    assert sorted(os.listdir(paths.root)) == [
        "job.yaml",
        "logs",
        "manifest.json",
        "plan.json",
        "submitit",
        "user",
        "work",
    ]
    assert paths.submitit.stat().st_mode & 0o777 == 0o700
    assert read_plan(paths) == decided
    manifest = json.loads(paths.manifest.read_text())
    assert manifest["hpcdl"] == hpcdl.__version__
    assert manifest["command_line"] == ["hpcdl", "submit", "x y"]
    assert Path(manifest["code"]["folder"], "hpcdl", "planfile.py").exists()
    assert yaml.safe_load(paths.job.read_text())["args"] == ["é", "b c"]


def test_model_run_has_spec(tmp_path):
    paths, _ = make("digits_cnn", tmp_path)

    spec = RunSpec.from_json(paths.spec.read_text())
    assert spec == run_spec(load_job("digits_cnn"), load_cluster("local"))
    assert not paths.work.exists()


def test_data_and_commit_recorded(write_job, tmp_path):
    path = write_job("name: a\ndata: {path: d.npz}\nmodel: {name: mlp}\n", d__npz="bytes")

    manifest = json.loads(make(path, tmp_path)[0].manifest.read_text())

    assert manifest["data"]["path"] == str(tmp_path / "d.npz")
    assert len(manifest["data"]["sha256"]) == 64
    assert manifest["git_commit"] is None


@pytest.mark.cases("F23")
def test_manifest_identifies_data_folder(write_job, tmp_path):
    """A folder has no sha256 of its own: its files' names and sizes have one, and a packed set's pack.json."""
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/1.jpg").write_bytes(b"12345")
    path = write_job("name: a\ndata: {path: photos}\nmodel: {name: mlp}\n")
    data = json.loads(make(path, tmp_path)[0].manifest.read_text())["data"]
    assert data.pop("listing_sha256") == hashlib.sha256(b"cat/1.jpg\t5\n").hexdigest()
    assert data == {"path": str(tmp_path / "photos"), "sha256": None, "files": 1, "bytes": 5}

    (tmp_path / "photos/pack.json").write_text("{}")
    data = json.loads(make(path, tmp_path)[0].manifest.read_text())["data"]
    assert data["pack_sha256"] == hashlib.sha256(b"{}").hexdigest()


def test_failure_leaves_no_run(write_job, tmp_path, monkeypatch):
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device", "manifest.json")

    monkeypatch.setattr(create, "_manifest", fail)

    with pytest.raises(
        RunError, match=r"cannot make the run folder .*/r/a/.*: No space left on device"
    ):
        make(write_job("name: a\nscript: a.py\n", a__py=""), tmp_path / "r")

    assert os.listdir(tmp_path / "r" / "a") == []
    assert runs_below([tmp_path / "r"]) == []


def test_bad_notebook_makes_nothing(write_job, tmp_path):
    with pytest.raises(UserError, match="is not a Jupyter notebook"):
        make(write_job("name: a\nscript: a.ipynb\n", a__ipynb="print(1)"), tmp_path / "r")

    assert not (tmp_path / "r").exists()


def test_runs_root_is_a_file(write_job, tmp_path):
    (tmp_path / "r").write_text("")

    with pytest.raises(RunError, match="cannot make the run folder"):
        make(write_job("name: a\nscript: a.py\n", a__py=""), tmp_path / "r")


@pytest.mark.parametrize("bad", [":", ",", "%", "\\", "\n", "\t"], ids=ascii)
def test_root_slurm_cannot_carry(bad):
    with pytest.raises(UserError, match="cannot carry"):
        new_run("a", Path(f"/runs/{bad}x"))


def test_ids_differ():
    assert len({new_run("a", Path("/r")).root.name for _ in range(20)}) == 20


@pytest.fixture
def three_runs(tmp_path):
    for name in ("cnn/20260101-0900-abcd", "cnn/20260102-0900-efgh", "mlp/20260103-0900-abzz"):
        (tmp_path / name).mkdir(parents=True)
        write_json(tmp_path / name / "manifest.json", {})
    (tmp_path / "cnn" / ".20260104-0900-half").mkdir()
    write_json(tmp_path / "cnn" / ".20260104-0900-half" / "manifest.json", {})
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("20260101-0900-abcd", "cnn/20260101-0900-abcd"),
        ("20260102", "cnn/20260102-0900-efgh"),
        ("cnn/20260101", "cnn/20260101-0900-abcd"),
        ("mlp", "mlp/20260103-0900-abzz"),
        ("efgh", "cnn/20260102-0900-efgh"),
        ("0900-abzz", "mlp/20260103-0900-abzz"),
    ],
    ids=["id", "prefix", "name-and-prefix", "name", "last-letters", "end"],
)
def test_run_found_by_name(three_runs, text, name):
    assert find_run(text, [three_runs]).name == name


def test_run_found_by_path(three_runs, monkeypatch):
    monkeypatch.chdir(three_runs / "cnn")

    found = find_run("20260101-0900-abcd", [])

    assert found.paths.root == three_runs / "cnn" / "20260101-0900-abcd"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("cnn", "fits 2 runs; say more of it"),
        ("2026", "fits 3 runs"),
        ("zzz", "there is no run 'zzz'"),
        ("", "no run ''"),
    ],
)
def test_run_not_found(three_runs, text, part):
    with pytest.raises(UserError, match=part):
        find_run(text, [three_runs])


def test_runs_listed_oldest_first(three_runs):
    assert [run.name[-4:] for run in runs_below([three_runs, three_runs])] == [
        "abcd",
        "efgh",
        "abzz",
    ]


def test_other_folder_is_not_a_run(tmp_path):
    with pytest.raises(RunError, match="is not a run folder"):
        Run(tmp_path)


def test_every_path_below_root():
    paths = RunPaths(Path("/r"))
    names = [name for name, value in vars(RunPaths).items() if isinstance(value, property)]

    assert len(names) > 15
    assert all(str(getattr(paths, name)).startswith("/r/") for name in names)
    assert len({getattr(paths, name) for name in names}) == len(names)
