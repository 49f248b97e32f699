"""A kill and a full disk in the middle of an export: each kind is whole or not there."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from small_disk import SmallDisk, can_mount

from hpcdl.trainer.export.files import facts_of
from tests.trainer.conftest import REPOSITORY

on_host = pytest.mark.parametrize("trainer_command", ["host"], indirect=True, scope="session")
KINDS = ["saved_model", "h5", "tflite"]
KILLED = """
import os, signal, sys
from hpcdl.trainer.export import __main__ as program, kinds

def die(subject, path):
    with open(path, "w") as file:
        file.write("half")
    os.kill(os.getpid(), signal.SIGKILL)

kinds.KINDS["h5"] = kinds.KINDS["h5"]._replace(make=die)
program.main(sys.argv[1:])
"""
ROOM = 16 << 10  # bytes: for model.json and export.json, and for no kind


@pytest.fixture
def disk(tmp_path):
    if not can_mount(tmp_path / "probe"):
        pytest.skip("needs the right to mount a small disk")
    small = SmallDisk(tmp_path / "disk")
    yield small
    small.remove()


def export(run, *program):
    argv = [sys.executable, *program, str(run / "run.json"), *KINDS]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HPCDL_SAVE_RETRY_S": "1"}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=600)


def rows_of(run):
    rows = json.loads((run / "export" / "export.json").read_text())["kinds"]
    return {row["kind"]: row for row in rows}


def names_in(run):
    return {path.name for path in (run / "export").iterdir()}


@on_host
@pytest.mark.tensorflow
def test_each_kind_is_whole_or_missing(exported, disk):
    run = disk.root / "run"
    shutil.copytree(exported.path, run, ignore=shutil.ignore_patterns("export"))

    killed = export(run, "-c", KILLED)
    assert killed.returncode == -9
    assert list(rows_of(run)) == ["saved_model"]
    assert {"saved_model", "model.json", "export.json"} <= names_in(run)
    assert "model.h5" not in names_in(run)
    first = facts_of(str(run / "export" / "saved_model"))
    assert first["sha256"] == rows_of(run)["saved_model"]["sha256"]

    disk.fill()
    os.truncate(disk.root / "filler", (disk.root / "filler").stat().st_size - ROOM)
    full = export(run, "-m", "hpcdl.trainer.export")
    assert full.returncode == 0, full.stderr
    for kind in KINDS:
        why = rows_of(run)[kind]["why"]
        assert "the disk is full" in why, (kind, why)
        assert "hpcdl export RUN --to KIND" in why
        assert f"{kind} is not exported: the disk is full" in full.stdout
    assert names_in(run) == {"saved_model", "model.json", "export.json"}
    assert facts_of(str(run / "export" / "saved_model")) == first

    disk.recover()
    whole = export(run, "-m", "hpcdl.trainer.export")
    assert whole.returncode == 0, whole.stderr
    for kind, row in rows_of(run).items():
        assert facts_of(str(run / "export" / row["file"]))["sha256"] == row["sha256"], kind
        assert row["agreement"] == 1
