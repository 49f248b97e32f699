"""A test of a site while it runs: SLURM fails, somebody leaves, a job waits for ever. SLURM's commands are scripts."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.promises import watching
from hpcdl.promises.folder import make, new_folder
from hpcdl.promises.jobs import Wanted, prepare_jobs
from hpcdl.promises.judging import judge
from hpcdl.promises.names import PROMISES, chosen_promises
from hpcdl.promises.outcome import Outcome
from hpcdl.promises.trying import SiteTest
from hpcdl.promises.watching import SentJob, Watch
from hpcdl.submission.send import submit
from tests.promises.test_verdicts import recorded

PROFILE = "name: site\nnode: {cpus: 4}\nimages: {tensorflow: /x.sif}\nmin_poll_s: 1\n"
AWAY = "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"
RUNS, WAITS = "echo '7|RUNNING|None|n1|N/A'", "echo '7|PENDING|Priority||N/A'"


class Site:
    """SLURM's commands as scripts that note what they are asked, and a profile."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, []  # type: tuple[Path, list[str]]
        self.says(sbatch="echo 7", scancel="", squeue=WAITS, sacct="echo '7|CANCELLED|n1'")
        (folder / "site.yaml").write_text(PROFILE)
        self.cluster = load_cluster(folder / "site.yaml")

    def says(self, **commands: str) -> None:
        for name, lines in commands.items():
            path = self.folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.folder}/asked\n{lines}\n')
            path.chmod(0o755)

    def cancelled(self) -> list[str]:
        lines = (self.folder / "asked").read_text().splitlines()
        return [line for line in lines if line.startswith("scancel")]

    def watch(self, *names: str, wait_limit_s: float = 3600.0) -> Watch:
        jobs = prepare_jobs(names, self.cluster, Wanted(), self.folder / "runs")
        watch = Watch(self.cluster, self.said.append, wait_limit_s, [SentJob(job) for job in jobs])
        watch.send()
        return watch

    def test(self, name: str, say: Callable[[str], None]) -> SiteTest:
        """A test of one promise whose checks are left out: they ask a whole SLURM."""
        promises = chosen_promises([name])
        test = SiteTest(self.cluster, promises, new_folder(self.cluster, str(self.folder)), say)
        (job,) = prepare_jobs(["cancel"], self.cluster, Wanted(), self.folder / "runs")
        test._jobs = [SentJob(job)]  # as prepare leaves them
        return test


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(watching, "_CANCELLED_S", 0.0)
    monkeypatch.setattr(watching, "_LOOK_S", 0.05)
    return Site(tmp_path)


def write_attempts(sent: SentJob, *events: dict[str, Any]) -> None:
    """What the job's worker would write on its node."""
    assert sent.run is not None
    lines = [
        json.dumps({"attempt": 1, "job_id": "7", "node": "n1", "time": time.time(), **event})
        for event in events
    ]
    sent.run.paths.attempts.write_text("".join(f"{line}\n" for line in lines))
    sent.run.paths.logs.mkdir(exist_ok=True)
    (sent.run.paths.logs / "1.log").write_text("waiting\n")


def test_failing_scancel_does_not_end_the_test(site: Site) -> None:
    site.says(scancel=AWAY, squeue=RUNS)
    watch = site.watch("cancel")
    write_attempts(watch.jobs[0], {"event": "start"})
    watch.follow()
    evidence = watch.evidence()
    verdict = judge(chosen_promises(["cancel"]), evidence, site.cluster)["cancel"]

    assert verdict.outcome == "not tried"
    assert "connect failure" in verdict.finding
    assert any("not cancelled: scancel failed" in line for line in site.said)
    before = len(site.cancelled())
    watch.end_what_is_left(evidence)
    assert len(site.cancelled()) == before + 1


def test_full_disk_keeps_one_job_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """submit is told what a disk says that has filled up meanwhile."""
    sends = submit

    def full_for_stop(submission: Any, line: Any) -> Any:
        if submission.job.name == "test-stop":
            raise OSError(28, "No space left on device", "/runs")
        return sends(submission, line)

    monkeypatch.setattr(watching, "submit", full_for_stop)
    stop, undisturbed = site.watch("stop", "undisturbed").jobs

    assert stop.unsent.startswith("/runs: No space left on device")
    assert undisturbed.run is not None


@pytest.mark.parametrize("error", [SystemExit(143), OSError("the file system is away")])
def test_any_end_cancels_the_jobs(site: Site, error: BaseException) -> None:
    def say(line: str) -> None:
        if line == "cancel: queued":
            raise error

    with pytest.raises(type(error)):
        site.test("cancel", say).run(60.0)

    assert site.cancelled() == ["scancel --quiet 7"]


def test_ctrl_c_while_sending_cancels(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM has taken the job, and the test has not heard of it."""
    sends = submit

    def interrupted(submission: Any, line: Any) -> None:
        sends(submission, line)
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "submit", interrupted)
    test = site.test("cancel", site.said.append)
    outcome = test.run(60.0)

    assert test.was_left
    assert site.cancelled()[0] == "scancel --quiet 7"
    assert outcome.verdicts["cancel"].outcome == "not tried"
    assert outcome.changes == {}


def test_second_ctrl_c_changes_nothing(site: Site) -> None:
    """Somebody impatient presses it again while scancel, which gets it, too, is at work."""
    site.says(scancel=f"kill -INT $$ {os.getpid()}; sleep 0.1; echo $0 >>{site.folder}/ended")

    def say(line: str) -> None:
        site.said.append(line)
        if line == "cancel: queued":
            raise KeyboardInterrupt

    outcome = site.test("cancel", say).run(60.0)

    assert (site.folder / "ended").exists()
    assert outcome.evidence["cancel"].uncancelled == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_lost_connection_cancels(site: Site) -> None:
    def say(line: str) -> None:
        if line == "cancel: queued":
            os.kill(os.getpid(), signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
    try:
        with pytest.raises(SystemExit, match="129"):
            site.test("cancel", say).run(60.0)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)

    assert site.cancelled() == ["scancel --quiet 7"]


def test_lost_terminal_hides_no_job(site: Site) -> None:
    """After a hangup nothing can be said, and SLURM may be busy: all other jobs are cancelled."""
    watch = site.watch("cancel", "memory")
    site.says(scancel=AWAY)

    def say(line: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    watch.say = say
    watch.cancel_all()

    assert {sent.uncancelled != "" for sent in watch.jobs} == {True}
    assert len(watch.jobs) == 2


def test_paused_test_cancels_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z for an hour: the jobs did not run for that long."""
    site.says(squeue=RUNS)
    watch = site.watch("stop")
    write_attempts(watch.jobs[0], {"event": "start"})
    watch._look()
    watch.jobs[0].looked_at = time.monotonic() - 3600
    watch._look()

    assert not (site.folder / "asked").read_text().count("scancel")
    assert watch.jobs[0].left == ""


@pytest.mark.parametrize("has_run", [False, True])
def test_wait_limit_holds_before_each_attempt(site: Site, has_run: bool) -> None:
    watch = site.watch("stop", wait_limit_s=0.2)
    if has_run:
        end = {"event": "end", "reason": "time_limit", "status": 75}
        write_attempts(watch.jobs[0], {"event": "start"}, end)
    watch.follow()
    about = watch.evidence()["stop"]

    assert about.state == "cancelled"
    assert ("--wait-limit" in about.unsent, "--wait-limit" in about.left) == (not has_run, has_run)
    verdict = judge(chosen_promises(["requeued"]), {"stop": about}, site.cluster)["requeued"]
    assert verdict.outcome == "not tried"
    assert "--wait-limit" in verdict.finding


def test_waiting_job_says_why(site: Site) -> None:
    """An administrator holds it: SLURM's word is worth more than that it waited."""
    site.says(squeue="echo '7|PENDING|JobHeldAdmin||N/A'")
    watch = site.watch("cancel", wait_limit_s=0.2)
    watch.follow()

    assert "an administrator holds it" in watch.evidence()["cancel"].unsent


def test_job_runs_no_longer_than_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM may run a job again and again: after preemptions, or on a site that likes to."""
    site.says(squeue=RUNS)
    watch = site.watch("stop")
    write_attempts(watch.jobs[0], {"event": "start"}, {"event": "start", "attempt": 2})
    assert watch.jobs[0].job.most_s == 360
    monkeypatch.setattr(watching, "_OVER_S", 0.2 - 360)
    watch.follow()

    about = watch.evidence()["stop"]
    assert site.cancelled() == ["scancel --quiet 7"]
    assert about.left == "it ran longer than the 6 min that were said, as SLURM ran it 2 times"
    verdicts = judge(chosen_promises(["warned", "requeued"]), {"stop": about}, site.cluster)
    for verdict in verdicts.values():
        assert (verdict.outcome, about.left in verdict.finding) == ("not tried", True)


def test_silent_slurm_shows_nothing(site: Site) -> None:
    """Neither the queue nor accounting answers: a cancelled job may come back."""
    watch = site.watch("cancel")
    write_attempts(watch.jobs[0], {"event": "start"})
    site.says(squeue=AWAY, sacct=AWAY)
    watch.follow()
    verdicts = judge(chosen_promises(["cancel"]), watch.evidence(), site.cluster)

    assert verdicts["cancel"].outcome == "not tried"
    assert "connect failure" in verdicts["cancel"].finding


def test_half_written_run_is_read(site: Site) -> None:
    """A full disk, or a file system that shows a file late: no traceback, and no verdict from it."""
    watch = site.watch("stop")
    write_attempts(watch.jobs[0], {"event": "start"}, {"event": "end", "time": "soon"})
    run = watch.jobs[0].run
    assert run is not None
    run.paths.checkpoints.mkdir(exist_ok=True)
    for name, content in (("1.npz", b""), ("2.npz", b"PK\x03\x04 and no more"), ("x.npz", b"")):
        (run.paths.checkpoints / name).write_bytes(content)
    for name in ("site.json", "probe.json", "plan.json"):
        (run.paths.root / name).write_text('{"started": ')
    (run.paths.logs / "1.log").write_bytes(b'hpcdl: {"limit": \nhpcdl: {"held": 5}\n\xff\n')
    about = watch.evidence()["stop"]

    assert (about.weights, about.site, about.words) == (None, {}, {"held": 5})
    assert "broken" not in {
        each.outcome for each in judge(PROMISES, {"stop": about}, site.cluster).values()
    }


def test_living_job_of_chain_is_seen(site: Site) -> None:
    """The first still runs after scancel, and the second has gone."""
    site.cluster = replace(site.cluster, requeue=False)
    site.says(sbatch=f"echo x >>{site.folder}/sent; wc -l <{site.folder}/sent")
    watch = site.watch("cancel")
    write_attempts(watch.jobs[0], {"event": "start", "job_id": "1"})
    (sent,) = watch.jobs
    assert sent.run is not None
    sent.run.cancel()
    site.says(squeue="echo '1|RUNNING|None|n1|N/A'; echo '2|CANCELLED|None||N/A'", sacct=AWAY)
    about = watch.evidence()["cancel"]

    assert (about.job_ids, about.queue) == (["1", "2"], "RUNNING")
    verdicts = judge(chosen_promises(["cancel"]), {"cancel": about}, site.cluster)
    assert verdicts["cancel"].outcome == "broken"


def test_removed_run_is_no_verdict(site: Site) -> None:
    watch = site.watch("stop")
    run = watch.jobs[0].run
    assert run is not None
    shutil.rmtree(run.paths.root)

    verdicts = judge(PROMISES, watch.evidence(), site.cluster)
    assert "is not a run folder" in verdicts["warned"].finding
    assert "broken" not in {verdict.outcome for verdict in verdicts.values()}


def test_own_delay_is_not_the_file_systems(site: Site) -> None:
    (sent,) = site.watch("stop").jobs
    assert sent.run is not None
    write_attempts(sent, {"event": "start", "time": time.time() - 40})
    sent.read_attempts(sent.run)
    assert sent.lag_s is None

    write_attempts(sent, {"event": "start"}, {"event": "end", "time": time.time() - 40})
    sent.read_attempts(sent.run)
    assert sent.lag_s == pytest.approx(40, abs=5)


def test_full_disk_hides_no_verdict(site: Site, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What jobs of minutes have shown is said before it is written."""

    def run(test: SiteTest, wait_limit_s: float) -> Outcome:
        folder = new_folder(site.cluster, str(site.folder / "gone"))
        verdicts = judge(chosen_promises(["scratch"]), {"node": recorded()["node"]}, site.cluster)
        return Outcome(folder, site.cluster.name, verdicts, {})

    monkeypatch.setattr(SiteTest, "prepare", lambda test, wanted: None)
    monkeypatch.setattr(SiteTest, "run", run)
    answer = cli("cluster", "test", "-c", site.folder / "site.yaml", "--only", "scratch", "--yes")

    assert "scratch  " in answer.out
    assert "the record cannot be written: " in answer.err


@pytest.mark.parametrize("was_left", [False, True])
def test_left_test_fixes_nothing(
    site: Site, cli: Any, monkeypatch: pytest.MonkeyPatch, was_left: bool
) -> None:
    """A test in which the scratch folder was not there, and its end."""
    node = recorded()["node"]
    site_facts = {**node.site, "scratch": {"error": "No such file or directory"}}
    evidence = {"node": replace(node, site=site_facts)}

    def run(test: SiteTest, wait_limit_s: float) -> Outcome:
        test.was_left = was_left
        folder = new_folder(site.cluster, str(site.folder))
        make(folder)
        verdicts = judge(chosen_promises(["scratch"]), evidence, site.cluster, was_left)
        return Outcome(folder, site.cluster.name, verdicts, evidence)

    monkeypatch.setattr(SiteTest, "prepare", lambda test, wanted: None)
    monkeypatch.setattr(SiteTest, "run", run)
    profile = site.folder / "site.yaml"
    profile.write_text(f"{PROFILE}scratch: /nowhere\n")
    site.cluster = load_cluster(profile)
    answer = cli("cluster", "test", "-c", profile, "--only", "scratch", "--yes", "--fix")

    assert answer.code == (130 if was_left else 2)
    assert ("--fix writes nothing" in answer.err) == was_left
    assert profile.read_text() == PROFILE + f"scratch: {'/nowhere' if was_left else 'null'}\n"
