"""hpcdl cancel where something else is wrong: a full disk, SLURM away, somebody else's run, a removed one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from small_disk import SmallDisk, can_mount

from hpcdl import cache
from hpcdl.run import Run

pytestmark = pytest.mark.cases("F7", "F8", "F25")

AWAY = "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"


class Site:
    """SLURM's commands, as scripts that note what they are asked, and runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.runs = folder, folder / "bin", folder / "runs"
        self.bin.mkdir()
        (self.runs / ".code").mkdir(parents=True)
        self.says(scancel="", squeue="", sacct="", sbatch="echo 9")

    def says(self, **commands: str) -> None:
        for name, lines in commands.items():
            path = self.bin / name
            path.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.folder}/asked\n{lines}\n')
            path.chmod(0o755)

    def asked(self, name: str) -> list[str]:
        path = self.folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] == name]

    def run(self, **submitted: object) -> Run:
        """A run that waits in the queue, as a chain of two jobs."""
        folder = self.runs / "a" / "20260101-1200-aaaa"
        (folder / "logs").mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "script.sbatch").write_text("#!/bin/bash\n")
        sent = {"backend": "slurm", "job_id": "7", "job_ids": ["7", "8"], "time": 0, **submitted}
        (folder / "submitted.json").write_text(json.dumps(sent))
        return Run(folder)


@pytest.fixture
def site(tmp_path, monkeypatch):
    made = Site(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return made


def test_full_disk_is_cancelled(site, cli, tmp_path):
    """The run that fills the quota is the very one that must be stopped."""
    if not can_mount(tmp_path / "try"):
        pytest.skip("no disk of its own can be mounted here: that needs root")
    disk = SmallDisk(site.runs / "a")
    try:
        run = site.run()
        disk.fill()
        disk.take_inodes()
        answer = cli("cancel", run.paths.root)

        assert answer.code == 0
        assert site.asked("scancel") == ["scancel --quiet 7 8"]
        assert answer.err.count("\n") == 2
        assert f"{run.paths.cancelled}: No space left on device" in answer.err
    finally:
        disk.remove()


def test_full_disk_with_inodes_is_marked(site, cli, tmp_path):
    """An empty mark has room where nothing else has."""
    if not can_mount(tmp_path / "try"):
        pytest.skip("no disk of its own can be mounted here: that needs root")
    disk = SmallDisk(site.runs / "a")
    try:
        run = site.run()
        disk.fill()
        answer = cli("cancel", run.paths.root)

        assert (answer.code, answer.err) == (0, f"cancelled: {run.paths.root}\n")
        assert run.status(ask=False).state == "cancelled"
    finally:
        disk.remove()


def test_slurm_state_shows_unmarked_cancel(site, cli, monkeypatch):
    """Later status shows it as cancelled, and resume does not send it again."""
    run = site.run()
    monkeypatch.setattr(Run, "_mark_cancelled", lambda self: "no room")
    assert cli("cancel", run.paths.root).code == 0

    site.says(squeue="echo '7|CANCELLED|None||N/A'; echo '8|CANCELLED|None||N/A'")
    cache.forget("slurm-jobs.json")
    assert cli("status", run.paths.root).out.split("\n")[1].split()[1] == "cancelled"
    refused = cli("resume", run.paths.root)
    assert (refused.code, site.asked("sbatch")) == (2, [])


@pytest.mark.parametrize("marked", [True, False])
def test_cancel_reports_unreachable_slurm(site, cli, monkeypatch, marked):
    """The message says whether the run is cancelled anyway."""
    run = site.run()
    site.says(scancel=AWAY)
    if not marked:
        monkeypatch.setattr(Run, "_mark_cancelled", lambda self: "no room")

    answer = cli("cancel", run.paths.root)

    assert answer.code == 1
    assert ("The run is cancelled anyway" in answer.err) == marked
    assert ("The run is not cancelled: no room" in answer.err) == (not marked)


@pytest.mark.parametrize("command", ["cancel", "resume"])
def test_somebody_elses_run(site, cli, monkeypatch, command):
    """It is refused before SLURM is asked, and nothing is written."""
    run = site.run()
    me = os.stat(run.paths.manifest).st_uid
    monkeypatch.setattr("os.geteuid", lambda: me + 4711)
    monkeypatch.setattr("hpcdl.run.handle._user_name", lambda number: "hpcuser")
    before = sorted(os.listdir(run.paths.root))

    answer = cli(command, run.paths.root)

    assert answer.code == 2
    assert f"is hpcuser's run: only hpcuser can {command} it" in answer.err
    assert sorted(os.listdir(run.paths.root)) == before
    assert not [line for name in ("scancel", "sbatch", "squeue") for line in site.asked(name)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is root")
def test_root_may_cancel_but_not_resume(site, cli):
    """Root's job would be another user's; ending one is root's business."""
    run = site.run()
    os.chown(run.paths.manifest, 4711, 4711)

    assert cli("resume", run.paths.root).code == 2
    assert cli("cancel", run.paths.root).code == 0
    assert site.asked("scancel") == ["scancel --quiet 7 8"]


def test_cancel_finds_job_by_folder(site, cli):
    """submitted.json was not to be written, or was lost: SLURM knows the job by its folder."""
    run = site.run()
    run.paths.submitted.unlink()
    site.says(squeue=f"echo '6|/elsewhere'; echo '7|{run.paths.root}'")

    assert cli("cancel", run.paths.root).code == 0
    assert site.asked("scancel") == ["scancel --quiet 7"]


@pytest.mark.parametrize("text", ["PATH", "aaaa", "20260101", "a/2026", "RELATIVE"])
def test_removed_run_still_in_queue(site, cli, text):
    """The message has the very command that ends what is left."""
    run = site.run()
    folder = run.paths.root
    shutil.rmtree(folder)
    queue = f"echo '6|/elsewhere/20260101-1200-aaaa'; echo '7|{folder}'; echo '8|{folder}'"
    site.says(squeue=queue)
    words = {"PATH": str(folder), "RELATIVE": os.path.relpath(folder)}

    answer = cli("cancel", words.get(text, text), "--runs-dir", site.runs)

    assert answer.code == 1
    assert answer.err.endswith("end that with: scancel 7 8\n")
    assert f"the run folder {folder} was removed" in answer.err
    assert site.asked("scancel") == []


@pytest.mark.parametrize(
    "squeue", ["", AWAY, "echo '6|/elsewhere'"], ids=["empty", "away", "others"]
)
def test_removed_run_that_is_gone(site, cli, squeue):
    run = site.run()
    shutil.rmtree(run.paths.root)
    site.says(squeue=squeue)

    answer = cli("cancel", run.paths.root)

    assert answer.code == 2
    assert f"there is no run folder {run.paths.root}" in answer.err


@pytest.mark.parametrize(
    "command", ["status", "logs", "result", "wait", "report", "resume", "compare"]
)
def test_removed_run_elsewhere(site, cli, command):
    run = site.run()
    shutil.rmtree(run.paths.root)

    answer = cli(command, run.paths.root)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("hpcdl: there is no run")


@pytest.mark.parametrize("part", ["logs", "submitted.json", "script.sbatch"])
@pytest.mark.parametrize("command", ["status", "logs", "result", "report", "cancel"])
def test_removed_part_fails_nothing(site, cli, part, command):
    """Whatever a user tidied away, the rest is shown."""
    run = site.run()
    path = run.paths.root / part
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

    assert cli(command, run.paths.root).code in (0, 1)


def test_waiting_for_a_removed_run_ends(site, monkeypatch):
    """`wait` and `logs -f` say what happened instead of waiting for ever."""
    run = site.run()
    states = run.watch(timeout_s=20)
    next(states)
    shutil.rmtree(run.paths.root)

    with pytest.raises(Exception, match="was removed"):
        list(states)
