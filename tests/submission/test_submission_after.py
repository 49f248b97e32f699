"""Runs that a new job comes after: found by name, refused if one cannot succeed, noted on both sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hpcdl.errors import UserError
from hpcdl.run import looking
from hpcdl.run.after import After, followers, missed, read_after
from hpcdl.run.evidence import read
from hpcdl.run.paths import RunPaths
from hpcdl.run.state import status_of
from hpcdl.scheduler import job_answers, slurm
from hpcdl.scheduler.jobinfo import JobInfo
from hpcdl.submission.after import find_after, note_after
from hpcdl.sweeps.before import missed_sweeps
from hpcdl.sweeps.followers import dependency, move_followers, require_no_own_dependency
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted
from tests.sweeps.finished import end, make_finished


def made(runs: Path, name: str, state: str | None = None, **submitted: object) -> RunPaths:
    """A run in SLURM, as job 7; it has ended if there is a state."""
    paths = RunPaths(runs / name / "20260101-1200-aaaa")
    paths.logs.mkdir(parents=True)
    sent = {"backend": "slurm", "job_id": "7", "job_ids": ["7"], "time": 1.0, **submitted}
    plan = {"requeue": True, "directives": []}
    for path, value in [(paths.manifest, {}), (paths.submitted, sent), (paths.plan, plan)]:
        path.write_text(json.dumps(value))
    line = {"attempt": 1, "time": 2.0}
    if state:
        paths.result.write_text(json.dumps({"state": state, "cause": None, "attempts": []}))
        ended = [{**line, "event": "start"}, {**line, "event": "end", "reason": state}]
        paths.attempts.write_text("".join(json.dumps(event) + "\n" for event in ended))
    return paths


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """No SLURM answers: all is known from files."""
    monkeypatch.setattr(looking, "_needs_slurm", lambda status, evidence: False)
    return tmp_path / "runs"


def test_names_become_folders(runs):
    pack, train = made(runs, "pack"), made(runs, "train")

    found = find_after(["pack", f"{train.root}:any", "pack"], [runs])

    assert found == [After(pack.root), After(train.root, any_end=True)]
    with pytest.raises(UserError, match="after nowhere: there is no run 'nowhere'"):
        find_after(["nowhere"], [runs])


def test_run_under_way_is_waited_for(runs):
    waits, moved = made(runs, "pack"), made(runs, "train", job_ids=["8", "9"])

    assert dependency([After(waits.root)], None) == "afterok:7"
    assert dependency([After(waits.root, True), After(moved.root)], None) == "afterany:7,afterok:9"


def test_last_job_of_chain(runs):
    chain = made(runs, "pack", job_ids=["7", "8", "9"])
    chain.plan.write_text(json.dumps({"requeue": False, "directives": []}))

    assert dependency([After(chain.root)], None) == "afterany:9"


def test_ended_runs_are_not_waited_for(runs):
    done, failed = made(runs, "pack", "done"), made(runs, "train", "failed")

    assert dependency([After(done.root), After(failed.root, True)], None, in_slurm=False) == ""


def test_all_failed_runs_are_named(runs):
    after = [After(made(runs, name, "failed").root) for name in ("pack", "train")]

    with pytest.raises(UserError) as refused:
        dependency(after, None)

    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert "it is failed; expected a run that may still succeed: send it again" in lines[0]


@pytest.mark.parametrize(
    ("submitted", "in_slurm"), [({"backend": "local"}, True), ({}, False)], ids=["before", "after"]
)
def test_local_runs_cannot_wait(runs, submitted, in_slurm):
    under_way = made(runs, "pack", **submitted)

    with pytest.raises(UserError, match=r"hpcdl wait \S+ && hpcdl submit"):
        dependency([After(under_way.root)], None, in_slurm)


def test_unsent_run_is_sent_first(runs):
    unsent = made(runs, "pack")
    unsent.submitted.unlink()

    with pytest.raises(UserError, match="it is created; send it first: hpcdl resume"):
        dependency([After(unsent.root)], None)


def test_own_dependency_is_refused():
    with pytest.raises(UserError, match=r"slurm\.dependency is 'afterok:3'"):
        require_no_own_dependency([("dependency", "afterok:3")])


def test_both_sides_note_it(runs):
    pack, train = made(runs, "pack"), made(runs, "train")

    for _ in range(2):
        note_after(train, [After(pack.root, True)])

    assert read_after(train) == [After(pack.root, True)]
    assert followers(pack) == [train.root]


def test_missed_only_what_must_be_done(runs):
    late = made(runs, "late")
    after = [After(made(runs, name, state).root) for name, state in [("a", "done"), ("b", None)]]
    after += [After(made(runs, "c", "failed").root, True), After(runs / "x" / "removed")]
    note_after(late, [*after, After(made(runs, "d", "failed").root)])

    assert [(run.name.split("/")[0], run.state) for run in missed(late)] == [
        ("b", None),
        ("d", "failed"),
    ]


def test_cancelled_follower_says_why(runs):
    pack, train = made(runs, "pack", "failed"), made(runs, "train")
    note_after(train, [After(pack.root)])

    status = status_of(read(train), JobInfo("CANCELLED", asked=3.0))

    assert (status.state, status.cause) == ("cancelled", "dependency")
    assert status.note == "pack/20260101-1200-aaaa, after which it was to run, is failed"


def test_cancelled_by_hand_is_cancelled(runs):
    pack, train = made(runs, "pack", "done"), made(runs, "train")
    note_after(train, [After(pack.root)])

    assert status_of(read(train), JobInfo("CANCELLED", asked=3.0)).cause == "cancelled"


def test_foreign_dependency_is_told(runs):
    """A dependency of the user's own, with kill-on-invalid-dep."""
    never = JobInfo("CANCELLED", asked=3.0, reason="DependencyNeverSatisfied")

    assert status_of(read(made(runs, "pack")), never).cause == "dependency"


@pytest.mark.parametrize(
    ("job", "moved"),
    [
        (JobInfo("PENDING", reason="Dependency"), (False, "")),
        (JobInfo("CANCELLED", reason="DependencyNeverSatisfied"), (True, "")),
        (None, (False, "its job 9 has left the queue")),
    ],
    ids=["waits", "cancelled a moment ago", "gone"],
)
def test_waiting_run_is_asked_about_anew(runs, monkeypatch, job, moved):
    """Its status may be up to a minute old: it says that it waits."""
    pack, train = made(runs, "pack"), made(runs, "train", job_ids=["9"])
    note_after(train, [After(pack.root)])
    updates = []
    monkeypatch.setattr(slurm, "queued_jobs", lambda: {"9": job} if job else {})
    monkeypatch.setattr(slurm, "depend", lambda *words: updates.append(words))

    (follower,) = move_followers(pack)

    assert (follower.was_cancelled, follower.error.partition(";")[0]) == moved
    assert updates == ([("9", "afterok:7")] if moved == (False, "") else [])


@pytest.fixture
def sweep(runs, monkeypatch):
    """A sweep of six trials in two arrays of SLURM's; one trial runs, in the second array."""
    paths = make_finished(runs / "tune" / "20260101-1200-bbbb")
    arrays = [SentArray(job_id=job_id, tasks=3, at_once=3, sent=1.0) for job_id in ("7", "8")]
    SweepSubmitted(backend="slurm", cluster="site", time=1.0, arrays=arrays).write(paths)
    queue = {"8_2": JobInfo("RUNNING", asked=3.0)}
    monkeypatch.setattr(job_answers, "latest", lambda ids, poll_s: job_answers.Answers(jobs=queue))
    monkeypatch.setattr(slurm, "living_tasks", lambda: list(queue))
    return paths


def test_sweep_under_way_is_waited_for(sweep):
    """For any end of its arrays that have not ended: how these ended says nothing of the trials."""
    for any_end in (False, True):
        assert dependency([After(sweep.root, any_end)], None) == "afterany:8"


def test_ended_sweep_counts_by_its_best(sweep, runs):
    end(sweep, 5, None, "failed")
    late = made(runs, "late")
    note_after(late, [After(sweep.root)])

    assert dependency([After(sweep.root)], None, in_slurm=False) == ""
    assert missed_sweeps(late) == missed(late) == []


def test_sweep_without_a_best_is_refused(sweep, runs):
    """All trials have failed, or none has a value of the metric: the follower is not sent, or ends at once."""
    for number in range(5):
        sweep.result(number).unlink()
        end(sweep, number, None, "failed", task="7_1")
    shutil.rmtree(sweep.tasks)
    sweep.tasks.mkdir()
    end(sweep, 5, None, "failed")
    late = made(runs, "late")
    note_after(late, [After(sweep.root)])

    with pytest.raises(UserError) as refused:
        dependency([After(sweep.root)], None)

    assert "it is failed; expected a sweep that may still have a trial" in str(refused.value)
    assert f"hpcdl retry {sweep.root}, and then this one, or say SWEEP:any" in str(refused.value)
    assert dependency([After(sweep.root, True)], None) == ""
    (missing,) = missed_sweeps(late)
    assert str(missing) == "tune/20260101-1200-bbbb, after which it was to run, is failed"


def test_sweep_elsewhere_cannot_be_waited_for(sweep):
    with pytest.raises(UserError, match=r"hpcdl wait \S+ && hpcdl submit"):
        dependency([After(sweep.root)], None, in_slurm=False)
    with pytest.raises(UserError, match="on another SLURM cluster"):
        dependency([After(sweep.root)], "second")


def test_trial_cannot_be_waited_for(sweep):
    with pytest.raises(UserError, match=f"expected a run or a whole sweep: --after {sweep.root}"):
        dependency([After(sweep.trial(1))], None)
