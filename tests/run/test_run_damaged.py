"""The JSON files of a run folder with a damaged key: no command shows a traceback.

Each key of each file is taken away, and given values of other kinds; so is each file as a whole.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpcdl.cli
from hpcdl.report.facts import read
from hpcdl.run import Run
from tests.report import made

GONE = "<gone>"
OTHER: list[Any] = [GONE, None, "x", -1, 10**400, math.nan, ["x"], {"x": 1}]
WHOLE = ["", "{", "[]", "{}", "null", "\0" * 9, "[1]\n{}\n"]
COMMANDS = (
    "status RUN",
    "status RUN --json",
    "result RUN",
    "report RUN -o PAGE",
    "compare RUN OTHER",
    "logs RUN",
    "resume RUN",
    "cancel RUN",
)
FILES = (
    *("attempts.jsonl", "metrics.jsonl", "result.json", "manifest.json", "plan.json"),
    *("submitted.json", "heartbeat.json"),
)
SPEC = {"train": {"epochs": 3}, "data": {"name": "digits"}, "model": {"name": "cnn"}}
BEAT = {
    "phase": "training", "time": made.START, "epoch": 1, "epochs": 3, "step": 10, "steps": 300,
    "steps_per_epoch": 100, "fold": None, "folds": None, "saved_images": 3,
}  # fmt: skip
SCORES = {"accuracy": 0.5, "loss": 1.0}
BOTH = {"validation": SCORES, "test": SCORES}
FOLD = {"fold": 1, "epochs_run": 3, **BOTH}
CROSS = {"mean": BOTH, "deviation": BOTH, "folds": [FOLD, {**FOLD, "fold": 2}]}
SAVED = {"file": "model/model.keras", "fold": 1, "input": {"shape": [8, 8, 1], "range": [0, 255]}}


def make_training(root: Path) -> Path:
    best = {"epoch": 3, "monitor": "val_loss", "value": 0.6}
    return made.training(root, "trained", best=best, model=SAVED, cross_validation=CROSS)


def make_script(root: Path) -> Path:
    lines = [{"epoch": 1, "loss": 0.5, "fold": 1}, {"step": 3, "acc": 0.2}]
    return made.script(root, "script", lines=lines, log="hi\n")


def make_failed(root: Path) -> Path:
    lines = [{"file": "logs/1.log", "line": 1, "text": "no"}]
    return made.training(root, "failed", state="failed", cause="out_of_memory", lines=lines)


def make_running(root: Path) -> Path:
    folder = made.training(root, "running")
    (folder / "result.json").unlink()
    rows = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
    stopped = {**rows[1], "reason": "stopped"}
    again = {**rows[0], "attempt": 2, "time": made.START + 500}
    made.write_lines(folder / "attempts.jsonl", [rows[0], stopped, again])
    return folder


RUNS = {
    "training": make_training,
    "script": make_script,
    "failed": make_failed,
    "running": make_running,
}


def spots(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value in some JSON stands; of a list the first two."""
    places: list[Any] = []
    if isinstance(value, dict):
        places = list(value)
    elif isinstance(value, list):
        places = list(range(min(2, len(value))))
    for place in places:
        yield (*before, place)
        yield from spots(value[place], (*before, place))


def changed(value: Any, spot: tuple[Any, ...], other: Any) -> Any:
    copy = json.loads(json.dumps(value))
    at = copy
    for place in spot[:-1]:
        at = at[place]
    if other == GONE:
        del at[spot[-1]]
    else:
        at[spot[-1]] = other
    return copy


def damaged(text: str, is_lines: bool, kinds: int) -> Iterator[str]:
    """The content of a file, damaged as a whole, then at each place in some ways, taken in turn."""
    value = [json.loads(line) for line in text.splitlines()] if is_lines else json.loads(text)
    yield from WHOLE
    for number, spot in enumerate(spots(value)):
        for kind in range(kinds):
            new = changed(value, spot, OTHER[(kinds * number + kind) % len(OTHER)])
            yield "".join(f"{json.dumps(row)}\n" for row in new) if is_lines else json.dumps(new)


@pytest.fixture
def run_command(monkeypatch, tmp_path):
    """Runs a command on a run, without SLURM; an exception that the user would see is raised."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    other = made.training(tmp_path / "runs", "other")
    words = {"OTHER": str(other), "PAGE": str(tmp_path / "page.html")}

    def run(command: str, folder: Path) -> int:
        argv = [words.get(word, word).replace("RUN", str(folder)) for word in command.split()]
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO()))
        return hpcdl.cli.main(argv)

    return run


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", RUNS)
def test_damaged_key_gives_no_traceback(run_command, tmp_path, kind, file):
    """Whatever stands in one key of one file, each command says what the others tell."""
    folder = RUNS[kind](tmp_path / "runs")
    (folder / "predictions.npz").unlink(missing_ok=True)
    if kind != "script":
        (folder / "run.json").write_text(json.dumps(SPEC))
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "directives": [["clusters", "other"]]}))
    (folder / "heartbeat.json").write_text(json.dumps(BEAT))
    if not (folder / file).exists():
        pytest.skip("such a run has no such file")
    text = (folder / file).read_text()
    for content in damaged(text, file.endswith("l"), kinds=2 if kind == "training" else 1):
        (folder / file).write_text(content)
        for command in COMMANDS:
            try:
                assert run_command(command, folder) in (0, 1, 2)
            except Exception as error:
                raise AssertionError(f"{command} with {content}") from error
            (folder / "cancelled").unlink(missing_ok=True)


def test_attempt_without_number_is_counted(tmp_path):
    """A line without its number has that of the last start: nothing of the run is lost."""
    folder = make_running(tmp_path)
    rows = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
    for row in rows:
        del row["attempt"]
    ended = {**rows[2], "event": "end", "reason": "done", "seconds": 60.0, "time": made.START + 560}
    made.write_lines(folder / "attempts.jsonl", [*rows, ended])

    facts = read(Run(folder))

    assert [(row["attempt"], row["reason"]) for row in facts.ends] == [(1, "stopped"), (2, "done")]
    assert facts.total_s == 180.5


def test_number_as_text_is_left_out(cli, tmp_path):
    """A damaged number is not shown as if it were one; what is beside it still is."""
    folder = make_training(tmp_path)
    result = json.loads((folder / "result.json").read_text())
    result["timing"]["per_epoch_s"] = "1.5"
    result["model"]["parameters"] = "many"
    (folder / "result.json").write_text(json.dumps(result))

    out = cli("result", folder).out

    assert "test accuracy 0.9000" in out
    assert "parameters" not in out
    assert "an epoch" not in out
