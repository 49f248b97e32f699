"""A sweep's folder, workers that train nothing, and a check that every trial is accounted for."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcdl.files import append_json_line, read_json_lines, write_json
from hpcdl.sweeps.claims import Claims, Proposal
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.missing import TrialFile
from hpcdl.sweeps.state import SweepState

EPOCHS = 3


@pytest.fixture
def paths(tmp_path):
    return new_sweep(tmp_path / "sweep")


def new_sweep(root: Path) -> SweepPaths:
    """An empty sweep folder."""
    paths = SweepPaths(root)
    for folder in (paths.root, paths.tasks, paths.claims, paths.open, paths.trials):
        folder.mkdir()
    return paths


def propose(number: int, state: SweepState) -> Proposal:
    return Proposal({"model.dropout": number / 10})


def claims_of(paths: SweepPaths, key: str, budget: int) -> Claims:
    return Claims(paths, key, budget, propose)


def train(paths: SweepPaths, claims: Claims, trial: TrialFile) -> None:
    """Train a trial from the epoch that it has reached; two rungs on the way."""
    metrics = paths.trial(trial.number) / "metrics.jsonl"
    reached = len(read_json_lines(metrics))
    for epoch in range(reached + 1, EPOCHS + 1):
        value = trial.params["model.dropout"] * epoch
        append_json_line(metrics, {"epoch": epoch, "value": value})
        if epoch < EPOCHS:
            claims.note_rung(trial.number, epoch, value)
    result = {"state": "done", "value": value_of(trial), "epoch": EPOCHS, "epochs": EPOCHS}
    write_json(paths.result(trial.number), result)


def value_of(trial: TrialFile) -> float:
    return float(trial.params["model.dropout"]) * EPOCHS


def next_trial(claims: Claims) -> TrialFile:
    trial = claims.claim()
    assert trial is not None
    return trial


def work(paths: SweepPaths, key: str, budget: int, most: int = 1000) -> None:
    """Run at most that many trials."""
    claims = claims_of(paths, key, budget)
    for _ in range(most):
        trial = claims.claim()
        if trial is None:
            return
        train(paths, claims, trial)
        claims.finish(trial)


def in_child(function: Callable[[], None]) -> int:
    """Start a process that does this and ends; its id. Status 99 is a failure."""
    process_id = os.fork()
    if process_id:
        return process_id
    status = 99
    os.fsync = lambda fd: None  # a process that dies loses nothing by that; it takes long
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)


def status_of(process_id: int) -> int:
    """Wait for a process; its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])


def all_events(paths: SweepPaths, kind: str) -> list[dict[str, object]]:
    """The rows of one kind in all tasks' logs."""
    rows = []
    for log in sorted(paths.tasks.iterdir()):
        rows += [row for row in read_json_lines(log) if row["event"] == kind]
    return rows


def check_accounted_for(paths: SweepPaths, budget: int) -> None:
    """Each trial below the budget has ended once, with each epoch once; nothing is left over."""
    numbers = list(range(budget))
    names = [f"{number:05d}" for number in numbers]
    assert sorted(os.listdir(paths.trials)) == names
    assert paths.claimed_numbers() == numbers
    assert os.listdir(paths.open) == []
    ends = Counter((row["trial"], row["turn"]) for row in all_events(paths, "end"))
    assert set(ends.values()) == {1}, ends
    rungs = Counter((row["trial"], row["epoch"]) for row in all_events(paths, "rung"))
    assert set(rungs.values()) <= {1}, rungs
    state = SweepState()
    state.refresh(paths)
    assert sorted(state.trials) == numbers
    for number in numbers:
        trial = state.trials[number]
        on_disk = json.loads(paths.trial_file(number).read_text())
        assert trial.state == "done"
        assert trial.value == trial.params["model.dropout"] * EPOCHS
        assert trial.params == on_disk["params"] == propose(number, state).params
        assert (trial.turn, trial.task) == (on_disk["turn"], on_disk["task"])
        assert paths.owner(number) == trial.task
        rows = read_json_lines(paths.trial(number) / "metrics.jsonl")
        assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
