"""What is sent again, and trials that are added, are held to the profile's budget and limits."""

from __future__ import annotations

import json
import os

import pytest

from hpcdl.files import append_json_line, write_json
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.submitted import SentArray, SweepSubmitted

LONG_AGO = 1_700_000_000.0
PROFILE = """\
name: site
node: {cpus: 8, gpus: 2}
images: {tensorflow: /i.sif}
budget_gpu_hours: 10
min_poll_s: 1
"""
PLAN = {
    "cluster": "site",
    "nodes": 1,
    "gpus": 2,
    "cpus": 4,
    "time_limit_s": 3600,
    "requeue": True,
    "directives": [],
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with a profile and SLURM's commands, where no job waits or runs; sbatch's answer is 9."""
    (tmp_path / "site.yaml").write_text(PROFILE)
    (tmp_path / "bin").mkdir()
    for name, lines in {"sbatch": "echo 9", "squeue": "", "sacct": "", "scontrol": ""}.items():
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/{name}.asked\n{lines}\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(site, name, hours, state="failed"):
    """A run with 2 GPUs and a limit of an hour, of 2 GPU-hours each time."""
    root = site / "runs" / name / "20260101-1200-aaaa"
    for folder in ("logs", "submitit"):
        (root / folder).mkdir(parents=True)
    (root / "submitit").chmod(0o700)
    (root / "script.sbatch").write_text("#!/bin/bash\n")
    write_json(root / "manifest.json", {"created": LONG_AGO, "profile": str(site / "site.yaml")})
    write_json(root / "plan.json", PLAN)
    write_json(root / "submitted.json", {"backend": "slurm", "job_id": "7", "time": LONG_AGO})
    line = {"attempt": 1, "time": LONG_AGO, "job_id": "7", "node": "n"}
    append_json_line(root / "attempts.jsonl", {**line, "event": "start"})
    ended = {"event": "end", "reason": "time_limit", "seconds": hours * 1800}
    append_json_line(root / "attempts.jsonl", {**line, **ended})
    os.utime(root / "attempts.jsonl", (LONG_AGO, LONG_AGO))
    write_json(root / "result.json", {"state": state, "cause": "time_limit", "attempts": []})
    return root


@pytest.fixture
def sweep(site):
    """A sweep of 4 trials in 4 tasks: 3 are done, after half an hour each, and one has failed."""
    paths = SweepPaths(site / "runs" / "tune" / "20260101-1200-bbbb")
    for folder in (paths.root, paths.tasks, paths.claims, paths.open, paths.trials):
        folder.mkdir(parents=True)
    (paths.root / "logs").mkdir()
    settings = SweepSettings(
        name="a", over={"args.x": "0.1..0.9"}, method="random", metric="score",
        direction="maximize", trials=4, gpus=2,
    )  # fmt: skip
    settings.write(paths)
    profile = {"created": LONG_AGO, "profile": str(site / "site.yaml")}
    write_json(paths.run.manifest, profile)
    write_json(paths.run.plan, PLAN)
    paths.run.script.write_text("#!/bin/bash\n")
    array = SentArray(job_id="7", tasks=4, at_once=4, sent=LONG_AGO)
    SweepSubmitted(backend="slurm", cluster="site", time=LONG_AGO, arrays=[array]).write(paths)
    for number in range(4):
        state = "failed" if number == 3 else "done"
        key = f"7_{number}"
        paths.claim(number).symlink_to(key)
        paths.trial(number).mkdir()
        about = {"trial": number, "params": {"args.x": 0.5}, "task": key, "turn": 1}
        write_json(paths.trial_file(number), {**about, "number": number})
        begun = {"event": "claim", "time": LONG_AGO, **about}
        append_json_line(paths.task_log(key), begun)
        ended = {
            "event": "end",
            "time": LONG_AGO,
            **about,
            "state": state,
            "value": 0.5,
            "epoch": 1,
            "epochs": 1,
        }
        append_json_line(paths.task_log(key), {**ended, "seconds": 1800.0})
        write_json(paths.result(number), {"state": state, "cause": "device", "attempts": []})
    return paths


def was_sent(site):
    return (site / "sbatch.asked").exists()


def test_retry_is_held_to_budget(site, cli):
    """Nothing of the run is changed; the estimate is shown, and a higher budget lets it go."""
    run = make_run(site, "a", 4.5)
    make_run(site, "b", 4.5, state="done")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}

    dry = cli("retry", run, "--dry-run")
    refused = cli("retry", run)

    assert "up to 2.00 GPU-hours in one go" in dry.out
    assert (dry.code, refused.code, refused.out, was_sent(site)) == (2, 2, "", False)
    said = f"{site}/site.yaml:4: budget_gpu_hours: 10 GPU-hours are allowed, 9 are used"
    for answer in (dry, refused):
        assert said in answer.err
        assert "--set cluster.budget_gpu_hours=11" in answer.err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert cli("retry", run, "--set", "cluster.budget_gpu_hours=11").code == 0
    assert was_sent(site)


def test_followers_count_with_retry(site, cli):
    """What was cancelled because the run had failed is sent with it."""
    run, follower = make_run(site, "a", 4.0), make_run(site, "b", 3.0)
    write_json(follower / "after.json", {"after": [{"run": str(run), "any": False}]})
    write_json(
        follower / "result.json", {"state": "cancelled", "cause": "dependency", "attempts": []}
    )
    append_json_line(run / "followers.jsonl", {"run": str(follower)})

    answer = cli("retry", run, "--dry-run")

    assert "up to 4.00 GPU-hours" in answer.out
    assert "7 are used" in answer.err
    assert "and 4 are asked for" in answer.err


def test_raised_budget_counts(site, cli):
    """The profile counts as it reads now, wherever the user is; --cluster may name it."""
    run = make_run(site, "a", 9.0)
    assert cli("retry", run, "--dry-run").code == 2
    (site / "other.yaml").write_text(PROFILE.replace("10", "12"))

    assert cli("retry", run, "--dry-run", "--cluster", "other.yaml").code == 0
    (site / "site.yaml").write_text(PROFILE.replace("10", "12"))
    (site / "elsewhere").mkdir()
    os.chdir(site / "elsewhere")
    assert cli("retry", run, "--dry-run").code == 0


def test_profile_that_is_gone_is_said(site, cli):
    run = make_run(site, "a", 9.0)
    (site / "site.yaml").unlink()

    answer = cli("retry", run, "--dry-run")

    assert answer.code == 0
    assert "its budget and the site's own limits are not looked at: cannot read" in answer.err
    assert cli("retry", run, "--set", "cluster.budget_gpu_hours=99").code == 2
    assert cli("retry", run, "--set", "resources.gpus=1").code == 2


def test_more_trials_are_held_to_budget(site, cli, sweep):
    """A refused one adds no trial; a smaller one is within the budget."""
    submitted = sweep.submitted.read_bytes()

    refused = cli("sweep", "more", sweep.root, "--trials", "4")

    assert refused.code == 2
    assert "10 GPU-hours are allowed, 4 are used" in refused.err
    assert "and 8 are asked for" in refused.err
    assert (sweep.submitted.read_bytes(), was_sent(site)) == (submitted, False)
    dry = cli("sweep", "more", sweep.root, "--trials", "3", "--dry-run")
    assert dry.code == 0
    assert "a trial takes about 30 min and 1 GPU-hours, by 3 earlier runs; 3 of them 3" in dry.err
    assert "3 tasks, 3 at once, up to 01:00:00 each: up to 6.00 GPU-hours in one go" in dry.err
    assert (sweep.submitted.read_bytes(), was_sent(site)) == (submitted, False)
    assert cli("sweep", "more", sweep.root, "--trials", "3").code == 0
    assert "--array=0-2" in (site / "sbatch.asked").read_text()


def test_retried_sweep_is_held_to_budget(site, cli, sweep):
    make_run(site, "a", 5.0, state="done")

    dry = cli("retry", sweep.root, "--dry-run")
    refused = cli("retry", sweep.root)

    assert "1 task, 1 at once, up to 01:00:00 each: up to 2.00 GPU-hours" in dry.out
    assert (dry.code, refused.code, sweep.offered_numbers(), was_sent(site)) == (2, 2, [], False)
    assert "9 are used" in refused.err
    assert cli("retry", sweep.root, "--set", "cluster.budget_gpu_hours=11").code == 0
    assert sweep.offered_numbers() == [3]


@pytest.mark.parametrize(
    "words", [("retry",), ("sweep", "more", "--trials", "3")], ids=["retry", "more"]
)
def test_sweep_is_held_to_array_limits(site, cli, sweep, words):
    """The site's own limits come from the profile: as for a new sweep, no task is sent where none is free."""
    (site / "bin" / "squeue").write_text(
        "#!/bin/sh\nprintf 'me|acc|normal|p\\nme|acc|normal|p\\n'\n"
    )
    (site / "site.yaml").write_text(PROFILE + "max_submitted_tasks: 2\n")
    submitted = json.loads(sweep.submitted.read_text())
    number = ("--trial", "3") if words == ("retry",) else ()

    refused = cli(*words, *number, sweep.root, "--force") if number else cli(*words, sweep.root)

    assert refused.code == 2
    rule = "profile site allows 2 tasks in the queue (cluster.max_submitted_tasks), 2 are there"
    assert rule in refused.err
    assert "wait until other jobs have ended (squeue --me)" in refused.err
    assert (json.loads(sweep.submitted.read_text()), was_sent(site)) == (submitted, False)


def test_more_trials_in_short_arrays(site, cli, sweep):
    (site / "site.yaml").write_text(PROFILE + "max_array_tasks: 2\n")

    answer = cli("sweep", "more", sweep.root, "--trials", "3")

    assert answer.code == 0
    assert "the tasks go in 2 arrays of at most 2" in answer.err
    assert (site / "sbatch.asked").read_text().count("--array=") == 2
