"""Run folders in a project's shared folder: what is made there is the user's own work all the same."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from hpcdl.files import others_could_write
from tests.preflight.conftest import World

pytestmark = pytest.mark.cases("C43")


def default_acl(folder: Path, monkeypatch) -> None:
    """As `setfacl -d` makes it: the umask is not heeded below."""
    if shutil.which("setfacl") is None:
        pytest.skip("needs setfacl")
    rules = "g::rwx,g:daemon:rwx,o::rx"
    done = subprocess.run(["setfacl", "-d", "-m", rules, str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("this file system has no ACLs")


def generous_mkdir(folder: Path, monkeypatch) -> None:
    """As a file system that gives every new folder to the group."""
    make = os.mkdir

    def mkdir(path, mode=0o777, **options):
        make(path, mode, **options)
        if mode & 0o070:
            os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | 0o020)

    monkeypatch.setattr("os.mkdir", mkdir)


def umask_002(folder: Path, monkeypatch) -> None:
    """As many sites set it for their users."""
    os.umask(0o002)


@pytest.fixture(params=[default_acl, generous_mkdir, umask_002])
def world(request, tmp_path, monkeypatch):
    """A site whose runs_root is a setgid folder that gives a group everything."""
    umask = os.umask(0o022)
    made = World(tmp_path)
    made.command("sbatch", "#!/bin/sh\necho 7")
    made.write("helper.py", "x = 1\n")
    made.write("program.py", "import helper\n")
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "shared.txt").touch()
    (folder / "shared.txt").chmod(0o666)
    made.write("script.yaml", "name: a\nresources: {gpus: 1}\nscript: program.py\nfiles: [notes]\n")
    (tmp_path / "runs").mkdir(mode=0o770)
    (tmp_path / "runs").chmod(0o2770)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    request.param(tmp_path / "runs", monkeypatch)
    yield made
    os.umask(umask)


def test_shared_folder_takes_submission(cli, world):
    """Nobody else can write what the job runs, and the worker will believe it."""
    answer = cli("submit", "script.yaml", "-c", "site.yaml", "--no-check")

    assert answer.code == 0, answer.err
    run = Path(answer.out.rstrip("\n"))
    for path in (run, *run.rglob("*"), *(world.folder / "runs/.code").rglob("*")):
        assert others_could_write(path) is None, path
    assert list((run / "submitit").glob("*.pkl"))
    assert (run / "submitit").stat().st_mode & 0o077 == 0


def test_project_group_is_kept(cli, world):
    """The setgid bit, by which a project pays for its files, is passed on."""
    run = Path(cli("submit", "script.yaml", "-c", "site.yaml", "--no-check").out.rstrip("\n"))

    for path in (run, run / "logs", run / "user", run / "work"):
        assert path.stat().st_mode & stat.S_ISGID, path


def test_opened_run_folder_is_refused(cli, world, monkeypatch):
    """Only what hpcdl has just made is closed; a folder that somebody opened later is not trusted."""
    run = Path(cli("submit", "script.yaml", "-c", "site.yaml", "--no-check").out.rstrip("\n"))
    run.chmod(0o2770)

    assert "can be written by others" in (others_could_write(run) or "")
