"""A login node in a folder: SLURM's commands say what was recorded, and a module command that is told what it has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hpcdl.discover import software, storage

RECORDED = Path(__file__).with_name("recorded")
MODULE = """() {{
 case "$*" in
 *avail*) cat {folder}/available >&2;;
 "load {name}") [ -d {folder}/module ] && PATH="{folder}/module:$PATH";;
 load*) return 1;;
 esac
}}"""


class Login:
    """The machine that `discover` runs on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.system = folder, folder / "bin", folder / "system"
        for path in (self.bin, self.system, folder / "scratch"):
            path.mkdir()
        for name in (
            "bash",
            "true",
            "cat",
        ):  # a system that has no container command, whatever this machine has
            (self.system / name).symlink_to(shutil.which(name) or name)

    def slurm(self, site: str, **changes: str) -> None:
        """SLURM's commands say what was recorded at a site, with some of its texts changed: old="new"."""
        answers = self.folder / "answers"
        answers.mkdir(exist_ok=True)
        for path in (RECORDED / site).iterdir():
            text = path.read_text()
            for old, new in changes.items():
                text = text.replace(old, new)
            (answers / path.name).write_text(text)
        asked = f'echo "${{0##*/}} $*" >>{self.folder}/asked'
        self.command(self.bin / "scontrol", f"{asked}\ncat {answers}/$2.txt")
        if (answers / "user.txt").exists():
            self.command(self.bin / "sacctmgr", f"{asked}\ncat {answers}/$4.txt")

    def command(self, path: Path, lines: str) -> None:
        """An executable."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)

    def container(self, name: str, folder: str) -> Path:
        """A container command that tells its version, in one of this machine's folders."""
        path = self.folder / folder / name
        self.command(path, f"echo {name} version 1.3")
        return path

    def modules(self, available: str, loads: str) -> str:
        """A module command as a shell function: what ``module avail`` lists, and the one module that it loads."""
        (self.folder / "available").write_text(available)
        return MODULE.format(folder=self.folder, name=loads)

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def login(tmp_path, monkeypatch):
    made = Login(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:{made.system}")
    monkeypatch.setattr(software, "_CLEAN", str(made.system))
    monkeypatch.setattr(software, "_INITS", ())
    monkeypatch.setattr(storage, "_PARENTS", ())
    monkeypatch.setattr(storage, "of_the_site", lambda runtime: [])
    for name in [*os.environ]:
        if name.startswith(("BASH_FUNC_", "LMOD_", "MODULE")) or name in (
            "SCRATCH",
            "WORK",
            "PROJECT",
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BASH_FUNC_module%%", "() { return 1; }")
    return made
