"""Which trials of a sweep are sent again: never one whose task may still run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcdl.errors import UserError
from hpcdl.files import append_json_line, write_json
from hpcdl.run import Run, looking
from hpcdl.run.remedies import Asked
from hpcdl.submission import new_tasks, sweep_retry
from hpcdl.submission.again import resume
from hpcdl.submission.living import Tasks
from hpcdl.submission.sweep_retry import decide_sweep_retry, send_sweep_retry
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted

SETTINGS = SweepSettings(
    name="a", over={"args.x": "0.1..0.9"}, method="random", metric="score",
    direction="maximize", trials=6,
)  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    """A sweep of six trials on another SLURM: 0 is done, 1 and 2 have failed, 3 and 4 have begun."""
    paths = SweepPaths(tmp_path / "a" / "20260101-1200-aaaa")
    for folder in (paths.root, paths.tasks, paths.claims, paths.open, paths.trials):
        folder.mkdir(parents=True)
    SETTINGS.write(paths)
    write_json(paths.run.manifest, {})
    write_json(paths.run.plan, {"directives": [["exclude", "n9"]]})
    paths.run.script.write_text("#!/bin/bash\n")
    array = SentArray(job_id="7", tasks=3, at_once=3, sent=1.0)
    SweepSubmitted(backend="slurm", cluster="site", time=1.0, arrays=[array]).write(paths)
    ends = [("done", None), ("failed", "device"), ("failed", "user_code"), None, None]
    for number, end in enumerate(ends):
        key = f"7_{number % 3}"
        paths.claim(number).symlink_to(key)
        paths.trial(number).mkdir()
        file = {"number": number, "params": {"args.x": 0.5}, "task": key, "turn": 1}
        write_json(paths.trial_file(number), file)
        line = {"attempt": 1, "node": f"n{number}", "time": 2.0, "job_id": key}
        append_json_line(paths.trial_run(number).attempts, {**line, "event": "start"})
        if end is not None:
            state, cause = end
            append_json_line(paths.trial_run(number).attempts, {**line, "event": "end"})
            write_json(
                paths.result(number),
                {"state": state, "cause": cause, "value": None, "attempts": []},
            )
    return paths


def with_tasks(monkeypatch: pytest.MonkeyPatch, *living: str) -> None:
    tasks = Tasks(frozenset(living), frozenset(["7"]))
    monkeypatch.setattr(sweep_retry, "tasks_of", lambda paths: tasks)
    monkeypatch.setattr(looking, "_needs_slurm", lambda status, evidence: False)


def sent(retry: sweep_retry.SweepRetry) -> list[int]:
    return [trial.number for trial in retry.sent]


def test_living_task_keeps_its_trial(sweep, monkeypatch):
    with_tasks(monkeypatch, "7_0")

    retry = decide_sweep_retry(sweep, Asked())

    assert (sent(retry), retry.never_begun) == ([4], 0)
    by_number = {trial.number: trial.decision for trial in retry.trials}
    assert set(by_number) == {1, 2, 4}
    assert by_number[1].action.startswith("wait: 1 tasks still run")
    assert by_number[2].is_refused


def test_unknown_task_keeps_its_trial(sweep, monkeypatch):
    """Another shell has sent it meanwhile: nothing is known of it."""
    with_tasks(monkeypatch)
    sweep.claim(4).unlink()
    sweep.claim(4).symlink_to("8_0.1")

    assert sent(decide_sweep_retry(sweep, Asked())) == [1, 3]


def test_no_task_is_left(sweep, monkeypatch):
    with_tasks(monkeypatch)

    retry = decide_sweep_retry(sweep, Asked())

    assert (sent(retry), retry.never_begun, retry.count) == ([1, 3, 4], 1, 4)
    assert retry.options == ["--exclude=n9,n1"]
    assert sent(decide_sweep_retry(sweep, Asked(cause="device"))) == [1]
    assert sent(decide_sweep_retry(sweep, Asked(force=True), [2])) == [2]
    assert decide_sweep_retry(sweep, Asked(), [0]).count == 0
    with pytest.raises(UserError, match="--trial 9: this trial has not begun; 5 have begun"):
        decide_sweep_retry(sweep, Asked(), [9])


def test_trials_are_offered_once(sweep, monkeypatch):
    with_tasks(monkeypatch)
    arrays = []
    monkeypatch.setattr(new_tasks, "send_tasks", lambda *call: arrays.append(call[1:4]))

    send_sweep_retry(decide_sweep_retry(sweep, Asked(), [1, 3]))

    assert sweep.offered_numbers() == [1, 3]
    assert arrays == [(2, 2, ["--exclude=n9,n1"])]
    last = json.loads(sweep.trial_run(1).attempts.read_text().splitlines()[-1])
    assert (last["event"], last["cause"], last["avoid"]) == ("resumed", "device", ["n1"])
    again = decide_sweep_retry(sweep, Asked())
    assert (sent(again), again.offered, again.never_begun) == ([4], 2, 1)
    with_tasks(monkeypatch, "7_1")
    assert decide_sweep_retry(sweep, Asked()).offered == 0


def test_stopped_sweep_needs_force(sweep, monkeypatch):
    with_tasks(monkeypatch)
    sweep.stop.write_text("3 trials in a row: no metric\n")

    with pytest.raises(UserError, match=r"was stopped \(3 trials in a row: no metric\)"):
        decide_sweep_retry(sweep, Asked())
    assert decide_sweep_retry(sweep, Asked(force=True)).count


def test_cancelled_sweep_needs_its_name(sweep, monkeypatch):
    with_tasks(monkeypatch)
    sweep.cancelled.touch()

    with pytest.raises(UserError, match="--cause cancelled"):
        decide_sweep_retry(sweep, Asked(force=True))
    assert sent(decide_sweep_retry(sweep, Asked(cause="cancelled"))) == [3, 4]


def test_resume_is_for_runs(sweep):
    with pytest.raises(UserError, match="hpcdl retry"):
        resume(Run(sweep.root))
