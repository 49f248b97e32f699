"""hpcdl retry where SLURM's commands say what a test tells them; the real SLURM is in tests/testbed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcdl.run import Run


class Site:
    """SLURM's commands, as scripts that note what they are asked, and a run that has failed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        self.says(squeue="", sacct="", sbatch="echo 9", scontrol="", sacctmgr="exit 1")

    def says(self, **commands: str) -> None:
        for name, lines in commands.items():
            path = self.bin / name
            path.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.folder}/asked\n{lines}\n')
            path.chmod(0o755)

    def asked(self, name: str) -> list[str]:
        lines = (self.folder / "asked").read_text().splitlines()
        return [line for line in lines if line.split()[0] == name]

    def failed(self, cause: str, **plan: object) -> Run:
        """A run that failed on node n1."""
        folder = self.folder / "runs" / "a" / "20260101-1200-aaaa"
        for name in ("logs", "submitit"):
            (folder / name).mkdir(parents=True)
        (folder / "submitit").chmod(0o700)
        (folder / "script.sbatch").write_text("#!/bin/bash\n")
        sent = {"backend": "slurm", "job_id": "7", "job_ids": ["7"], "time": 1, "sent": 1}
        result = {"state": "failed", "cause": cause, "message": "m", "attempts": []}
        for name, value in {
            "manifest": {},
            "plan": plan,
            "submitted": sent,
            "result": result,
        }.items():
            (folder / f"{name}.json").write_text(json.dumps(value))
        line = {"attempt": 1, "node": "n1", "job_id": "7", "time": 2.0}
        events = [{**line, "event": "start"}, {**line, "event": "end", "reason": "failed"}]
        (folder / "attempts.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
        return Run(folder)


@pytest.fixture
def site(tmp_path, monkeypatch):
    made = Site(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return made


def test_dry_run_sends_nothing(site, cli):
    run = site.failed("device", directives=[["exclude", "n9"]])
    before = {path: path.read_bytes() for path in run.paths.root.glob("*.json*")}

    answer = cli("retry", run.paths.root, "--dry-run")

    assert answer.code == 0
    assert answer.out == f"{run.name} · device · send it again, on another node · --exclude=n9,n1\n"
    assert {path: path.read_bytes() for path in run.paths.root.glob("*.json*")} == before


def test_failed_node_is_left(site, cli):
    """The user's own list of nodes stays; the next retry leaves the same node out."""
    run = site.failed("device", directives=[["exclude", "n9"]])

    answer = cli("retry", run.paths.root)

    assert (answer.code, answer.out) == (0, f"{run.paths.root}\n")
    assert "--exclude=n9,n1" in site.asked("sbatch")[0]
    last = json.loads(run.paths.attempts.read_text().splitlines()[-1])
    assert (last["event"], last["cause"], last["avoid"]) == ("resumed", "device", ["n1"])
    assert run.status(ask=False).state == "queued"


def test_user_error_is_refused(site, cli):
    run = site.failed("user_code")

    refused = cli("retry", run.paths.root)

    assert refused.code == 2
    assert "user_code, so it is not sent: the fault is in the script" in refused.err
    assert f"hpcdl logs {run.paths.root}" in refused.err
    assert cli("retry", run.paths.root, "--force").code == 0
    assert len(site.asked("sbatch")) == 1


def test_other_cause_is_left_alone(site, cli):
    run = site.failed("user_code")

    answer = cli("retry", run.paths.root, "--cause", "time_limit")

    assert (answer.code, answer.out) == (0, "")
    assert answer.err == f"{run.name}: nothing: its cause is user_code\n"


def test_refused_by_slurm_keeps_cause(site, cli):
    run = site.failed("time_limit")
    site.says(sbatch="echo 'sbatch: error: Invalid account' >&2; exit 1")

    answer = cli("retry", run.paths.root)

    assert answer.code == 1
    assert "Invalid account" in answer.err
    assert (run.status(ask=False).state, run.status(ask=False).cause) == ("failed", "time_limit")
    site.says(sbatch="echo 9")
    assert cli("retry", run.paths.root).code == 0
    assert run.status(ask=False).state == "queued"


def test_cancelled_run_with_living_job(site, cli):
    """Two jobs must not share a folder."""
    run = site.failed("time_limit")
    run.paths.cancelled.touch()
    site.says(squeue=f"echo '7|{run.paths.root}'")

    assert cli("retry", run.paths.root).code == 2
    refused = cli("retry", run.paths.root, "--cause", "cancelled")
    assert (refused.code, run.paths.cancelled.exists()) == (2, True)
    assert "7 of it has not ended yet" in refused.err
    site.says(squeue="")
    assert cli("retry", run.paths.root, "--cause", "cancelled").code == 0
    assert not run.paths.cancelled.exists()


def test_local_memory_cannot_grow(site, cli):
    run = site.failed("out_of_memory")
    run.paths.script.unlink()
    run.paths.submitted.write_text(json.dumps({"backend": "local", "time": 1}))

    refused = cli("retry", run.paths.root)

    assert refused.code == 2
    assert "whose memory hpcdl cannot change" in refused.err
