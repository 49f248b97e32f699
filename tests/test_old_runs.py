"""Runs that an earlier hpcdl left keep working: every command that reads a run, and resume."""

from __future__ import annotations

import json
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hpcdl import planfile
from hpcdl.errors import UserError
from hpcdl.launch.command import argv_of, places_of, read_plan
from hpcdl.planning import Container, Environment, Modules, Policy, Script, Size, Training
from hpcdl.run.paths import RunPaths

ARCHIVE = Path(__file__).parent / "old_runs/0.1.0.tar.xz"
WITH_EXPORTS = ARCHIVE.with_name("0.4.0.tar.xz")
ON_TWO_NODES = ARCHIVE.with_name("0.5.0.tar.xz")
MADE_IN = "/tmp/oldruns"  # noqa: S108 - the text that stands in the old files
TEXT_FILES = (".json", ".jsonl", ".yaml", ".log", ".out")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of 0.1.0's runs, as if they had been made in this test's folder."""
    monkeypatch.chdir(tmp_path)  # ./runs, too, is looked through
    return unpacked(ARCHIVE, tmp_path)


def unpacked(archive_file: Path, tmp_path: Path) -> Path:
    with tarfile.open(archive_file) as archive:
        archive.extractall(tmp_path, filter="data")
    for path in (tmp_path / "runs").glob("*/*/**/*"):
        if path.suffix in TEXT_FILES:
            text = path.read_text().replace(MADE_IN, str(tmp_path))
            path.write_text(text.replace('"host": "vm"', f'"host": "{socket.gethostname()}"'))
    return tmp_path / "runs"


def run_of(old: Path, name: str) -> Path:
    (folder,) = (old / name).iterdir()
    return folder


def test_status_of_old_runs(cli, old):
    answer = cli("status", "--all", "--runs-dir", old, "--json")

    assert (answer.code, answer.err) == (0, "")
    states = {Path(run["run"]).parent.name: run["state"] for run in json.loads(answer.out)}
    assert states == {"tiny": "done", "hello": "done", "killed": "lost"}


def test_result_of_old_runs(cli, old):
    result = cli("result", run_of(old, "tiny"), "--json")
    words = cli("result", run_of(old, "tiny"))

    assert (result.code, words.code) == (0, 0)
    assert json.loads(result.out)["test"]["accuracy"] == pytest.approx(0.475)
    assert "0.4750" in words.out
    assert cli("result", run_of(old, "hello")).out.startswith("done")


def test_report_and_comparison_of_old_runs(cli, old, tmp_path):
    runs = [run_of(old, name) for name in ("tiny", "killed", "hello")]
    for run in runs:
        page = tmp_path / f"{run.parent.name}.html"
        answer = cli("report", run, "-o", page)
        assert (answer.code, answer.err) == (0, "")
        assert run.parent.name in page.read_text()
    answer = cli("compare", *runs)

    assert answer.code == 0
    assert "47.50 %" in answer.out


def test_logs_of_old_runs(cli, old):
    answer = cli("logs", run_of(old, "hello"))

    assert (answer.code, answer.out, answer.err) == (0, "hello\naccuracy 0.5\n", "")
    assert "epoch 3/3" in cli("logs", run_of(old, "tiny")).out


def test_shell_of_old_run_names_backend(cli, old):
    """The refusal says that the run had no container."""
    answer = cli("shell", run_of(old, "tiny"))

    assert answer.code == 2
    assert "runs without a container on local" in answer.err


def test_old_runs_are_cleaned(cli, old):
    answer = cli("clean", run_of(old, "tiny"), "--yes")

    assert answer.code == 0
    assert not any((old / "tiny").iterdir())


def flat_plan(name: str, tmp_path: Path) -> dict[str, Any]:
    """A plan.json from before it had a version, as if it had been made in a test's folder."""
    text = (ARCHIVE.parent / "plans" / f"{name}.json").read_text()
    flat: dict[str, Any] = json.loads(text.replace(MADE_IN, str(tmp_path)))
    return flat


def test_flat_plan_of_a_script(tmp_path):
    decided = planfile.from_json(flat_plan("words", tmp_path), {})

    assert decided.program == Script("t.py", ["a b", "--x"], None, "USR1", None)
    assert decided.container == Container("apptainer", f"{tmp_path}/x.sif", "python", False, [])
    assert decided.size == Size(1, 0, 2, None, 1800, False)
    assert decided.modules == Modules(None, [], [], None)
    assert decided.policy == Policy(10, 60, 180, 60)
    assert ("exclude", "n1") in decided.directives
    assert planfile.from_json(planfile.to_json(decided), {}) == decided


def test_flat_plan_of_a_training(tmp_path):
    """It does not say which folders it reads: run.json does."""
    spec = {"data": {"path": f"{tmp_path}/sets/photos"}, "model": {"name": "cnn"}}
    decided = planfile.from_json(flat_plan("photos", tmp_path), spec)

    assert decided.program == Training([f"{tmp_path}/sets"])
    assert (decided.size.gpus, decided.require_container().nv) == (1, True)
    assert decided.environment == Environment({"A": "b"})
    assert planfile.from_json(planfile.to_json(decided), {}) == decided


def test_plan_of_newer_version_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"plan\.json has version 3"):
        planfile.from_json({**flat_plan("words", tmp_path), "version": 3}, {})


@pytest.mark.parametrize(
    "damage",
    [{"size": None}, {"program": {"kind": "serving"}}, {"program": []}, {"directives": "x"}],
    ids=str,
)
def test_damaged_plan_is_an_error(tmp_path, damage):
    groups = planfile.to_json(planfile.from_json(flat_plan("words", tmp_path), {}))

    with pytest.raises(UserError, match="is damaged"):
        planfile.from_json({**groups, **damage}, {})
    with pytest.raises(UserError, match="is damaged"):
        planfile.from_json({"name": "words"}, {})


def test_commands_read_flat_plans(cli, old, tmp_path):
    """The commands that read a run, on runs whose plan.json is of the first form."""
    for run, name in (("tiny", "photos"), ("hello", "words")):
        folder = run_of(old, run)
        (folder / "plan.json").write_text(json.dumps(flat_plan(name, tmp_path)))
        for words in ("status RUN", "result RUN", "logs RUN", "report RUN -o PAGE", "compare RUN"):
            places = {"RUN": str(folder), "PAGE": str(tmp_path / "page.html")}
            answer = cli(*(places.get(word, word) for word in words.split()))
            assert answer.code == 0, (words, answer.err)
        shell = cli("shell", folder)
        assert f"the image {tmp_path}/x.sif is not on this machine" in shell.err


def test_node_reads_flat_plan(tmp_path):
    """`hpcdl shell` starts the container of an older run with the binds that it had."""
    (tmp_path / "sets").mkdir()
    spec = {"data": {"path": f"{tmp_path}/sets/photos"}, "model": {"name": "cnn"}}
    (tmp_path / "run.json").write_text(json.dumps(spec))
    (tmp_path / "manifest.json").write_text(json.dumps({"code": {"folder": "/code"}}))
    (tmp_path / "plan.json").write_text(json.dumps(flat_plan("photos", tmp_path)))
    paths = RunPaths(tmp_path)
    decided = read_plan(paths)

    argv, _ = argv_of(decided, places_of(paths, decided), ["python"])

    assert f"{tmp_path}/sets:{tmp_path}/sets:ro" in argv
    assert argv[argv.index(f"{tmp_path}/x.sif") + 1] == "env"


def test_old_exports_and_predictions_are_read(cli, tmp_path, monkeypatch):
    """What 0.4.0 left of an exported model, an attack, heat maps and a prediction."""
    monkeypatch.chdir(tmp_path)
    old = unpacked(WITH_EXPORTS, tmp_path)
    trained, predicted = run_of(old, "tiny"), run_of(old, "tiny-predict")

    exports = json.loads(cli("export", trained, "--json").out)
    words = [cli(*words) for words in (("result", predicted), ("result", trained))]
    pages = [cli("report", run, "-o", run / "page.html") for run in (trained, predicted)]

    assert [(row["kind"], row["agreement"]) for row in exports] == [
        ("tflite", 1),
        ("saved_model", 1),
    ]
    assert [answer.code for answer in (*words, *pages)] == [0] * 4
    assert "answers    9 2, 1 1, 3 1, 7 1" in words[0].out
    assert "FGSM" in (trained / "page.html").read_text()
    assert cli("status", "--all", "--runs-dir", old).out.count("done") == 2


def test_old_run_on_two_nodes_is_read(cli, tmp_path, monkeypatch):
    """What 0.5.0 left of a training on two nodes: a log and a line for each worker."""
    monkeypatch.chdir(tmp_path)
    run = run_of(unpacked(ON_TWO_NODES, tmp_path), "tiny")

    result, status = cli("result", run), cli("status", run)
    log = cli("logs", run, "--worker", 1)
    page = cli("report", run, "-o", run / "page.html")

    assert [answer.code for answer in (result, status, log, page)] == [0] * 4
    assert "test accuracy 0.5667" in result.out
    assert "worker 0 on n1, worker 1 on n2" in result.out
    assert log.out == (run / "workers/1/logs/1.log").read_text()
    assert "56.67 %" in cli("compare", run, run).out


def test_worker_without_log_is_said(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = run_of(unpacked(ON_TWO_NODES, tmp_path), "tiny")
    (run / "workers/1/logs/1.log").unlink()

    log = cli("logs", run, "--worker", 1)

    assert (log.code, log.out) == (0, "")
    assert log.err == "worker 1 has no log: its program has not started\n"


@pytest.mark.tensorflow
def test_old_run_is_resumed(hpcdl_process, old, tmp_path):
    """With the code that it was submitted with: its checkpoints, and its results, are that version's."""
    run = run_of(old, "killed")
    assert hpcdl_process("data", "stage", "digits", "--data-root", tmp_path / "data").code == 0

    assert hpcdl_process("resume", run).code == 0
    waited = hpcdl_process("wait", run)

    assert waited.code == 0, waited.err
    result = json.loads((run / "result.json").read_text())
    assert (result["state"], result["attempts"][-1]["from_step"]) == ("done", 600)
    assert result["test"]["accuracy"] > 0.8
    assert len((run / "metrics.jsonl").read_text().splitlines()) >= 600
