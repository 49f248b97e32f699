"""Makes a job's paths absolute, and checks that what must exist does."""

from __future__ import annotations

import os
from pathlib import Path

from hpcdl import shipped
from hpcdl.environment import expand, nobodys_home
from hpcdl.job.sbatchoptions import NO_DIRECTIVE, directive_carries
from hpcdl.text import show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker


class Paths:
    """The paths of one job file.

    Args:
        folder: the job file's folder, where relative paths start.
        document: the job file, for the places of keys.
        walker: gets the problems.
    """

    def __init__(self, folder: Path, document: Located, walker: Walker) -> None:
        self._folder = folder
        self._document = document
        self._walker = walker

    def add(self, key: str, message: str) -> None:
        """Report one problem at the place of a key."""
        self._walker.add(self._document.at(key), key, message)

    def absolute(self, key: str, text: str, want: str = "") -> str:
        """The absolute path that a key means, with ~ and $NAME expanded.

        Args:
            key: the key.
            text: the path as it is written.
            want: what must be there, ``file`` or ``folder``; if empty, nothing need be.

        Returns:
            the path; the text itself if it means none, which is reported.
        """
        if not text.strip():
            self.add(key, "is empty; expected a path (is a shell variable not set?)")
            return text
        try:
            text = expand(text)
        except ValueError as error:
            self.add(key, str(error))
            return text
        full = self._folder / os.path.expanduser(text)
        item = self._document.at(key)
        if item.where.startswith("--set ") and "\0" not in text:
            full = self._typed(full, item, key)
        if not all(ord(character) >= 32 for character in text):
            self.add(key, "a path cannot hold a line break or a control character")
        elif key == "workdir" and not directive_carries(text):
            self.add(key, f"{NO_DIRECTIVE}; got {show(text)}")
        elif want and not full.exists():
            self.add(key, f"there is no {want} {full}{_why_missing(full, text)}")
        return os.path.normpath(full)

    def _typed(self, full: Path, item: Located, key: str) -> Path:
        """The path of a ``--set``: it starts at the job file's folder, or where it is typed.

        The user does not know a shipped job's folder, so there it starts where it is typed.

        Args:
            full: the path from the job file's folder.
            item: the value.
            key: its key.
        """
        here = Path.cwd() / os.path.expanduser(str(item.raw))
        if full.is_relative_to(shipped.folder("jobs").resolve()):
            return here
        if not os.path.exists(here) or full == here:
            return full
        if not os.path.exists(full):
            return here
        if not os.path.samefile(full, here):
            self.add(key, f"is a path in two folders; say which: {full} or {here}")
        return full


def _why_missing(path: Path, text: str) -> str:
    """What a path that does not exist may have been meant as."""
    if nobodys_home(text):
        return f": {nobodys_home(text)}"
    if path.is_symlink():
        return f": it is a link to {os.readlink(path)}, which is not there"
    if set(path.name) & set("*?["):
        return ": names are taken as they are, without * and ?; name each file, or their folder"
    return ""
