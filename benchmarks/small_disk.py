"""A small file system of its own, which can really be full, over quota, out of inodes or read-only for a while."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

SIZE = "24M"
INODES = 1500


class SmallDisk:
    """A file system under `folder`; the user's own place there is `root`.

    A tmpfs, or, where it is to have a quota, a btrfs in a file: of the file systems that are common,
    its quota needs no kernel option. What is read-only is a second mount over the first: the kernel
    refuses to remount a file system read-only while a program has a file open for writing.

    Args:
        folder: made; nothing else is in it.
        quota: whether its user has one, instead of the whole disk.
    """

    def __init__(self, folder: Path, quota: bool = False) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._quota = quota
        self.root = folder / "user" if quota else folder
        if quota:
            image = folder.with_suffix(".btrfs")
            with image.open("wb") as file:
                file.truncate(128 << 20)
            _run("mkfs.btrfs", "-q", "--mixed", image)
            _run("mount", "-o", "loop", image, folder)
            _run("btrfs", "quota", "enable", folder)
            _run("btrfs", "-q", "subvolume", "create", self.root)
            _run("btrfs", "qgroup", "limit", SIZE, self.root)
        else:
            _run(
                "mount",
                "-t",
                "tmpfs",
                "-o",
                f"size={SIZE},nr_inodes={INODES}",
                "hpcdl-chaos",
                folder,
            )

    def fill(self) -> None:
        """Use up all space that is left."""
        with suppress(OSError), (self.root / "filler").open("ab", 0) as file:
            for size in (1 << 16, 1 << 9, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def take_inodes(self) -> None:
        """Use up all inodes that are left."""
        taken = self.root / "taken"
        with suppress(OSError):
            taken.mkdir(exist_ok=True)
            for number in range(INODES):
                (taken / str(number)).touch()

    def make_read_only(self) -> None:
        if not self._is_covered():
            _run("mount", "--bind", "-o", "ro", self.root, self.root)

    def recover(self) -> None:
        """Make it well again."""
        if self._is_covered():
            _run("umount", "--lazy", self.root)
        (self.root / "filler").unlink(missing_ok=True)
        shutil.rmtree(self.root / "taken", ignore_errors=True)

    def remove(self) -> None:
        self.recover()
        _run("umount", "--lazy", self._folder)

    def _is_covered(self) -> bool:
        return any(
            line.split()[1] == str(self.root) and "ro" in line.split()[3].split(",")
            for line in Path("/proc/mounts").read_text().splitlines()
        )


def can_mount(scratch: Path, quota: bool = False) -> bool:
    """Whether this machine lets this user make such a disk."""
    try:
        SmallDisk(scratch, quota).remove()
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.with_suffix(".btrfs").unlink(missing_ok=True)
    return True


def _run(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)
