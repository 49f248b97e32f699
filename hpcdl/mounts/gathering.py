"""Gathers the binds that a job's paths need, and tells what cannot be bound."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from hpcdl.mounts.binds import Bind, View, is_system, is_within, of_the_site
from hpcdl.planning import Plan
from hpcdl.usercode.named_paths import Named

_MOST_BINDS = 32
_MOST_ENTRIES, _LONGEST_S = 20_000, 3.0  # how much of all folders is looked at for links
_MOST_RIGHT_IN = 2_000  # entries of one folder, where what is in its folders does not matter
_WILD = re.compile(r"[*?\[]")
_PLAIN = re.compile(r"[A-Za-z0-9_./+@~{}:-]+")


@dataclass(frozen=True)
class Unseen:
    """Something that the container will not show as this machine shows it.

    Args:
        cause: what it is, and where it is named.
        fix: what to do.
        key: the key of the job that it comes from.
        blocks: whether the job cannot run without it.
    """

    cause: str
    fix: str
    key: str
    blocks: bool = False


@dataclass
class Shown:
    """Binds to add, a line about each that a program's text asks for, and what stays unseen."""

    binds: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)


class _TooManyError(Exception):
    """The search for links ended early."""


class Gather:
    """Collects binds until every path that was asked for is shown, as far as that can be."""

    def __init__(self, plan: Plan, own: Iterable[str]) -> None:
        self.shown = Shown()
        container = plan.require_container()
        self._binds = container.binds
        self._view = View([*container.binds, *own, *of_the_site(container.runtime)])
        self._entries, self._until = _MOST_ENTRIES, time.monotonic() + _LONGEST_S
        self._reported: set[str] = set()

    def need(self, path: str, key: str, blocks: bool = False, widen: bool = False) -> bool:
        """Make sure that a path is shown, by one more bind if needed.

        Args:
            path: on this machine, and in the container.
            key: the job's key.
            blocks: whether the job cannot run without it.
            widen: whether to bind the folder of a file, as for one of many linked files.

        Returns:
            Whether it is shown, or there is nothing to show.
        """
        try:
            bind = self._view.lacking(path)
        except OSError:
            return True  # a link to nowhere: other checks say so of what the job needs
        if bind is None:
            return True
        folder = Bind(os.path.dirname(bind.source), os.path.dirname(bind.target), bind.options)
        if widen and not os.path.isdir(bind.source) and not _is_wide(folder.target):
            bind = folder
        hidden = self._view.outside(bind.target) is not None  # nothing can be mounted there
        if set(f"{bind.source}{bind.target}") & set(":,"):
            cause = f"{path} leads to {bind.source}, and --bind splits at ':' and ','"
            self._add(Unseen(cause, "rename it", key, blocks))
            return False
        if hidden or is_system(bind.target) or len(self.shown.binds) >= _MOST_BINDS:
            self._tell(path, bind, key, blocks)
            return False
        self._view.add(bind)
        self.shown.binds.append(f"{bind.source}:{bind.target}:{bind.options}")
        return True

    def writable(self, folder: str) -> str:
        """The bind of an existing folder that the program writes in."""
        try:
            bind = self._view.lacking(folder, "")
        except OSError:
            bind = None
        return folder if bind is None else str(bind)

    def links_in(self, folder: str, key: str) -> None:
        """Make sure that all links below a folder are shown, also those in linked folders.

        The look ends after `_MOST_ENTRIES` entries or `_LONGEST_S` seconds, all folders together.
        """
        linked = False
        try:
            for entry in self._all_below(folder):
                if entry.is_symlink():
                    linked = True
                    self.need(entry.path, key, widen=True)
        except _TooManyError:
            if linked:
                cause = f"{folder} has links, and too many entries to look at: some may not be seen"
                fix = f"{self._fix('FOLDER')}, where FOLDER is what they lead to"
                self._add(Unseen(cause, fix, key))

    def links_right_in(self, folder: str, key: str) -> None:
        """Make sure that the links right in a folder are shown, and all below linked folders."""
        try:
            with os.scandir(folder) as entries:
                first = islice(entries, _MOST_RIGHT_IN)
                linked = [entry.path for entry in first if entry.is_symlink()]
        except OSError:
            return
        for path in linked:
            if self.need(path, key, widen=True) and os.path.isdir(path):
                self.links_in(path, key)

    def named(self, place: str, key: str, named: Named) -> None:
        """Make sure that what a program names is shown, read-only, or report why it is not.

        Only what is safe to bind is bound.

        Args:
            place: where the name stands, for people.
            key: the job's key.
            named: the name.
        """
        if named.text.startswith("~"):
            self._of_home(place, key, named)
        if not named.text.startswith("/") or named.text.startswith("//"):
            return
        path, is_all = existing(named)
        if path is None or is_system(path):
            return
        if self._view.shows(path):
            self._not_writable(place, key, named, path)
        elif named.written or not is_all or _is_wide(path):
            alone = path.count("/") == 1 and named.whole  # "/data" is as likely no file's name
            if not alone:
                text = os.path.normpath(named.text)
                cause = f"{place} names {text}, and the container does not see {path}"
                self._add(Unseen(cause, self._fix(path), key))
        else:
            before = len(self.shown.binds)
            self.need(path, key)
            self.links_in(path, key)
            if len(self.shown.binds) > before:
                self.shown.notes.append(f"the container sees {path}, read-only: {place} names it")

    def _all_below(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """All entries below a folder, linked folders too; each folder once, hidden ones not.

        Raises:
            _TooManyError: there are more than may be looked at.
        """
        visited: set[tuple[int, int]] = set()
        todo = [folder]
        while todo:
            current = todo.pop(0)
            try:
                status = os.stat(current)
                with os.scandir(current) as entering:
                    entries = list(islice(entering, self._entries + 1))
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            for entry in entries:
                self._entries -= 1
                if self._entries < 0 or time.monotonic() > self._until:
                    raise _TooManyError
                yield entry
                if not entry.name.startswith(".") and _is_folder(entry):
                    todo.append(entry.path)

    def _of_home(self, place: str, key: str, named: Named) -> None:
        """A job's ``~`` is the run's own home."""
        home = os.path.expanduser("~")
        path = os.path.expanduser(named.text)
        staged = is_within(path, f"{home}/.keras")
        if named.whole and path not in (home, named.text) and not staged and os.path.exists(path):
            text = f"{place} names {named.text}"
            cause = f"{text}, and in the job ~ is the run's own home, without it"
            self._add(Unseen(cause, f"write {path}", key))

    def _not_writable(self, place: str, key: str, named: Named, path: str) -> None:
        """A place where the program writes and the user may, and that is bound read-only."""
        around = [bind for bind in self._view.binds if is_within(path, bind.target)]
        read_only = bool(around) and "ro" in around[-1].options.split(",")
        if named.written and read_only and os.access(path, os.W_OK):
            text = os.path.normpath(named.text)
            cause = f"{place} writes to {text}, and the container sees {path} read-only"
            folder = path if os.path.isdir(path) else os.path.dirname(path)
            self._add(Unseen(cause, self._fix(folder), key))

    def _tell(self, path: str, bind: Bind, key: str, blocks: bool) -> None:
        real = os.path.realpath(path)
        cause = f"the container does not see {path}"
        if real != path:
            cause = f"{path} leads to {real}, and the container does not see that"
        self._add(Unseen(cause, self._fix(str(replace(bind, options=""))), key, blocks))

    def _add(self, unseen: Unseen) -> None:
        if unseen.cause not in self._reported and unseen.fix not in self._reported:
            self.shown.unseen.append(unseen)
        self._reported |= {unseen.cause, unseen.fix}

    def _fix(self, bind: str) -> str:
        words = ", ".join(_quoted(text) for text in [*self._binds, bind])
        return f"binds: [{words}] in the profile, or --set 'cluster.binds=[{words}]'"


def existing(named: Named) -> tuple[str | None, bool]:
    """The part of an absolute name that exists, and whether that is all of it.

    Returns:
        The path itself; else the folder of a name that goes on (``/a/b*``, ``f"/a/{x}"``), as if it
        were all; else the folder that a new file would be made in; None if that is missing, too.
    """
    whole = os.path.normpath(named.text)
    if named.whole and os.path.exists(whole):
        return whole, True
    wild = _WILD.search(named.text)
    begun = named.text[: wild.start()] if wild else named.text
    folder = os.path.normpath(begun.rpartition("/")[0] or "/")
    if not os.path.isdir(folder):
        return None, False
    return folder, wild is not None or not named.whole


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _is_wide(folder: str) -> bool:
    """Whether a folder is too much to be bound unasked: a whole file system, the user's home."""
    home = os.path.expanduser("~")
    return is_system(folder) or folder.count("/") < 2 or folder in (home, os.path.realpath(home))


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
