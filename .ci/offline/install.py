"""Installs the wheels of an installer file into a folder of its own; runs on the user's Python.

The standard library of Python 3.10 only. installer.sh has compared the file's sum before this runs.

    DIR/bin/hpcdl          starts the version in use; replacing this file is the upgrade
    DIR/0.6.0-py3.11/      an environment; an upgrade makes another one beside it
    DIR/installed.json     what was made here, so that no more than that is ever removed
"""

import argparse
import contextlib
import errno
import fcntl
import io
import json
import lzma
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
MARK = "# Written by the hpcdl installer: it starts the version in use."
NAME = re.compile(r"[0-9][\w.+-]*-py3\.[0-9]+(-[0-9]+)?")  # of an environment's folder
MADE_BY = "hpcdl-installer"
LOCK = ".lock"
FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


class RefusalError(Exception):
    """What keeps the installer from going on, and the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def main(file: str, payload: bytes, argv: list[str]) -> int:
    """Do what the command line asks for; the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    os.umask(os.umask(0o022) | 0o022)  # what people start, nobody else may write
    options = parser(file).parse_args(argv)
    try:
        if options.list:
            print_packages(payload)
            return 0
        record = Record(prefix_of(options.prefix))
        installs = not options.remove and not options.prune
        with record.alone(may_claim=installs):
            if installs:
                Installation(file, payload, record).install()
            else:
                record.remove() if options.remove else record.prune()
    except RefusalError as refusal:
        print(f"hpcdl-installer: {refusal}{what_helps(str(refusal))}", file=sys.stderr)
        return refusal.status
    except OSError as error:
        print(f"hpcdl-installer: {error}{what_helps(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hpcdl-installer: stopped; what was installed before is as it was", file=sys.stderr)
        return 130
    return 0


def what_helps(error: str) -> str:
    """The line below an error where the disk became full, or its quota was used up."""
    if not any(words in error for words in FULL):
        return ""
    text = "make room there, or give another --prefix DIR"
    return f"\nthe disk is full, or your quota is used up: {text}"


def interrupt(*_: object) -> NoReturn:
    """End as if Ctrl-C were pressed."""
    raise KeyboardInterrupt


def parser(file: str) -> argparse.ArgumentParser:
    """The options; installer.sh answers --help, and finds what --python names."""
    words = "[--prefix DIR] [--python PATH] [--list | --prune | --remove]"
    options = argparse.ArgumentParser(
        prog="hpcdl-installer",
        usage=f"sh {shlex.quote(file)} {words}".replace("%", "%%"),
        add_help=False,
        allow_abbrev=False,
    )
    options.add_argument("--prefix", metavar="DIR")
    options.add_argument("--python", metavar="PATH")
    verb = options.add_mutually_exclusive_group()
    verb.add_argument("--list", action="store_true")
    verb.add_argument("--prune", action="store_true")
    verb.add_argument("--remove", action="store_true")
    return options


def prefix_of(given: str | None) -> Path:
    """The folder to install into, as an absolute path."""
    home = os.environ.get("HOME", "")
    if given is None and not os.path.isabs(home):
        raise RefusalError("HOME is not set, so say where to install: --prefix DIR", 2)
    path = Path(os.path.abspath(given or os.path.join(home, "hpcdl-offline")))
    if path.is_symlink():  # its parents stay as they are: an automounter knows them by that name
        path = path.resolve()
    if re.search(r"[:\n\r]", str(path)):
        text = "has a colon or a line break, which PATH cannot hold: give another --prefix DIR"
        raise RefusalError(f"{str(path)!r} {text}", 2)
    return path


class Record:
    """The folder that is installed into, and what was made in it."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.file = prefix / "installed.json"
        self.launcher = prefix / "bin" / "hpcdl"

    def read(self) -> dict[str, Any]:
        """What was made here; refuses where that is not known."""
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            content = None
        except ValueError as error:
            raise RefusalError(
                f"{self.file} cannot be read ({error}), so nothing is changed"
            ) from None
        if not isinstance(content, dict) or content.get("made_by") != MADE_BY:
            text = "was not made by this installer, so nothing is changed there"
            raise RefusalError(f"{self.prefix} {text}; give the right one: --prefix DIR", 2)
        return content

    def write(self, content: dict[str, Any]) -> None:
        """Replace the record at once."""
        replace(self.file, json.dumps({"made_by": MADE_BY, **content}, indent=1) + "\n")

    def is_new(self) -> bool:
        """Whether an installer may take the folder: it is empty, but for what they make first."""
        if not self.prefix.is_dir():
            return False
        names = set(os.listdir(self.prefix)) - {LOCK}
        if self.file.name in names:
            return False
        if any(not name.startswith(f".{self.file.name}.") for name in names):
            text = "is not empty, and no installer made it: give another --prefix DIR"
            raise RefusalError(f"{self.prefix} {text}", 2)
        return True

    @contextlib.contextmanager
    def alone(self, may_claim: bool) -> Iterator[None]:
        """Keep a second installer out, where the file system can tell.

        Args:
            may_claim: whether to make the folder, or to take one that is empty.
        """
        new = [path for path in (self.prefix, *self.prefix.parents) if not os.path.lexists(path)]
        if may_claim and new:
            self.prefix.mkdir(parents=True, exist_ok=True)
        if not may_claim or not self.is_new():
            self.read()  # in a folder of somebody else's nothing is written
        with open(self.prefix / LOCK, "a", encoding="utf-8") as lock:
            self.take(lock)
            claims = may_claim and self.is_new()  # looked at again: another one may have come
            try:
                if claims:
                    self.write({"folders": []})
                yield
            except BaseException:
                if claims:
                    self.unclaim(new)
                raise

    def take(self, lock: TextIO) -> None:
        """Lock the file, or refuse; go on where there are none, as on a Lustre without flock."""
        text = f"{self.prefix}: another installer works there; try again when it has ended"
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusalError(text) from None
        except OSError:
            pass
        there = os.path.exists(lock.name)
        if not there or not os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name)):
            raise RefusalError(text)  # one that removed all has just ended
        os.set_inheritable(lock.fileno(), True)  # pip may outlive an installer that is killed

    def unclaim(self, new: list[Path]) -> None:
        """Leave nothing of a first installation that failed, nor the folders made for it."""
        with contextlib.suppress(OSError, RefusalError):
            if self.file.exists() and self.folders():
                return
            self.forget()
            for folder in new:
                folder.rmdir()

    def forget(self) -> None:
        """Remove what is beside the environments: the launcher, the record and the lock."""
        with contextlib.suppress(OSError):
            if MARK in self.launcher.read_text(encoding="utf-8"):
                self.launcher.unlink()
        with contextlib.suppress(OSError):
            self.launcher.parent.rmdir()
        self.file.unlink(missing_ok=True)
        (self.prefix / LOCK).unlink(missing_ok=True)

    def folders(self) -> list[Path]:
        """The environments that were made here and are still there, also half-made ones."""
        paths = [self.prefix / name for name in self.read()["folders"] if NAME.fullmatch(name)]
        return [path for path in paths if path.is_dir() and not path.is_symlink()]

    def new_folder(self, version: str) -> Path:
        """A folder for one more environment; the record has it before it exists."""
        content = self.read()
        name, number = f"{version}-py{PYTHON}", 1
        while os.path.lexists(self.prefix / name):
            number += 1
            name = f"{version}-py{PYTHON}-{number}"
        content["folders"] = [path.name for path in self.folders()] + [name]
        self.write(content)
        return self.prefix / name

    def use(self, folder: Path) -> None:
        """Make one environment the version in use: one rename, after which all is new."""
        python, program = folder / "bin" / "python", folder / "bin" / "hpcdl"
        self.launcher.parent.mkdir(exist_ok=True)
        start = shlex.join(["exec", str(python), str(program)])
        replace(self.launcher, f'#!/bin/sh\n{MARK}\n{start} "$@"\n', 0o777)

    def drop(self, folders: list[Path]) -> None:
        """Remove environments."""
        for folder in folders:
            if folder.exists():
                (folder / "whole").unlink(missing_ok=True)  # the next try ends what is killed here
                shutil.rmtree(folder)
        content = self.read()
        names = [path.name for path in folders]
        content["folders"] = [name for name in content["folders"] if name not in names]
        self.write(content)

    def current(self) -> Path | None:
        """The environment in use: the one that bin/hpcdl starts."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = shlex.split(self.launcher.read_text(encoding="utf-8"), comments=True)
            folder = self.prefix / Path(words[1]).parents[1].name
            return folder if folder in self.folders() else None
        return None

    def drop_unfinished(self) -> None:
        """Remove what an installer that was killed has left."""
        self.drop([path for path in self.folders() if not (path / "whole").exists()])

    def prune(self) -> None:
        """Remove all environments but the one in use."""
        current = self.current()
        if current is None:
            raise RefusalError(
                f"{self.launcher} starts no version of {self.prefix}: install it again"
            )
        old = [path for path in self.folders() if path != current]
        self.drop(old)
        for path in old:
            print(f"removed {path}")
        print(f"{current} is in use and stays")

    def remove(self) -> None:
        """Remove what the installer made, and no more."""
        self.drop(self.folders())
        self.forget()
        try:
            self.prefix.rmdir()
            print(f"removed {self.prefix}; take its bin out of PATH, too")
        except OSError:
            others = ", ".join(sorted(os.listdir(self.prefix)))
            print(
                f"removed hpcdl from {self.prefix}; left what the installer did not make: {others}"
            )


class Installation:
    """One installation or upgrade."""

    def __init__(self, file: str, payload: bytes, record: Record) -> None:
        self.file = file
        self.payload = payload
        self.record = record

    def install(self) -> None:
        """Make an environment beside the one in use, try it, and put it in its place."""
        begin = time.monotonic()
        self.record.drop_unfinished()
        old = self.record.current()
        stream = Stream(self.payload)
        part = stream.index["pythons"][PYTHON]
        self.check_machine(part)
        folder = self.record.new_folder(stream.index["version"])
        print(f"installing hpcdl {stream.index['version']} for {sys.executable} into {folder}")
        try:
            wheels = stream.restore(part["wheels"], folder / "wheels")
            self.fill(folder, wheels)
            self.try_out(folder)
            (folder / "whole").touch()
            self.record.use(folder)
        except BaseException as error:
            with contextlib.suppress(OSError):
                if self.record.current() != folder:
                    self.record.drop([folder])
            if isinstance(error, OSError):
                raise RefusalError(f"{error}; what was installed is as it was") from error
            raise
        print(f"hpcdl {stream.index['version']} is installed ({time.monotonic() - begin:.0f} s)")
        self.say_what_next(folder, old)

    def check_machine(self, part: dict[str, Any]) -> None:
        """The C library is new enough, and the disk has room."""
        glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "no glibc").split()[-1]
        numbers = [int(number) for number in re.findall(r"\d+", glibc)]
        if numbers < [int(number) for number in part["glibc"].split(".")]:
            text = f"the wheels for Python {PYTHON} need glibc {part['glibc']}, and here is {glibc}"
            raise RefusalError(f"{text}; another Python may need less: --python PATH")
        free = shutil.disk_usage(self.record.prefix).free
        if free < part["disk_bytes"]:
            text = f"has {free / 1e6:.0f} MB free, and hpcdl needs {part['disk_bytes'] / 1e6:.0f}"
            raise RefusalError(f"{self.record.prefix} {text}; give another --prefix DIR")

    def fill(self, folder: Path, wheels: list[Path]) -> None:
        """Make the environment, and let the pip among the wheels install them all."""
        run([sys.executable, "-I", "-m", "venv", "--without-pip", str(folder)])
        python = str(folder / "bin" / "python")
        pip = next(path for path in wheels if path.name.startswith("pip-"))
        options = ["--no-index", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
        options += ["--find-links", str(folder / "wheels")]
        words = [python, "-I", str(pip / "pip"), "--quiet", "install", *options]
        scratch = folder / "wheels" / "tmp"  # /tmp may be small
        scratch.mkdir()
        run(
            [*words, *("==".join(path.name.split("-")[:2]) for path in wheels)], TMPDIR=str(scratch)
        )
        shutil.rmtree(folder / "wheels")

    def try_out(self, folder: Path) -> None:
        """The new environment is whole, and its hpcdl renders a job, whatever the user has set."""
        python, program = str(folder / "bin" / "python"), str(folder / "bin" / "hpcdl")
        run([python, "-I", "-m", "pip", "--disable-pip-version-check", "check"])
        words = [python, program, "render", "digits_cnn", "--cluster", "generic"]
        own = {f"XDG_{name.upper()}_HOME": str(folder / name) for name in ("cache", "config")}
        run(words, cwd=folder, HOME=str(folder), **own)
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **own}
        done = subprocess.run(words, cwd=folder, env=bare, capture_output=True, check=False)
        for path in own.values():
            shutil.rmtree(path, ignore_errors=True)
        if done.returncode:
            print(f"note: {sys.executable} works only with this shell's variables (a module's?).")
            print("  Load the same module before hpcdl, and name it in the cluster's profile, as")
            print("  host_modules: the compute nodes need it, too.")

    def say_what_next(self, folder: Path, old: Path | None) -> None:
        """What to put into PATH, and what became of the version before."""
        quoted = shlex.quote(str(self.record.launcher.parent))
        if shutil.which("hpcdl") != str(self.record.launcher):
            print("Put it into PATH, here and as a line of ~/.bashrc:")
            print(f"  export PATH={quoted}:$PATH")
        if old is None or not old.exists():
            return
        lacking = sorted(packages(old) - packages(folder))
        if lacking:
            python = shlex.quote(str(folder / "bin" / "python"))
            print(f"{old.name} has packages of yours, which the new one lacks; install them again:")
            print(f"  {python} -m pip install --no-index --find-links FOLDER {' '.join(lacking)}")
        print(f"Jobs that were sent before still use {old}. Remove it when they have ended:")
        prefix = shlex.quote(str(self.record.prefix))
        print(f"  sh {shlex.quote(self.file)} --prune --prefix {prefix}")


class Stream:
    """The packed wheels: an index, then each file once that any wheel has."""

    def __init__(self, payload: bytes) -> None:
        self.stream = lzma.open(io.BytesIO(payload))  # noqa: SIM115 - it holds no file
        length = int.from_bytes(self.stream.read(8), "big")
        self.index: dict[str, Any] = json.loads(self.stream.read(length))

    def restore(self, wheels: dict[str, list[list[Any]]], folder: Path) -> list[Path]:
        """Write wheels as they were but for the compression: their RECORD holds."""
        numbers = {number for members in wheels.values() for _, number, _ in members}
        contents = {}
        for number, size in enumerate(self.index["sizes"]):
            content = self.stream.read(size)
            if number in numbers:
                contents[number] = content
        folder.mkdir(parents=True)
        for name, members in wheels.items():
            with zipfile.ZipFile(folder / name, "w") as archive:
                for member, number, attributes in members:
                    info = zipfile.ZipInfo(member)
                    info.external_attr = attributes
                    archive.writestr(info, contents[number])
        return [folder / name for name in wheels]


def print_packages(payload: bytes) -> None:
    """The packages in the file, for each Python."""
    index = Stream(payload).index
    for python, part in index["pythons"].items():
        names = [" ".join(name.split("-")[:2]) for name in part["wheels"]]
        print(f"Python {python}, glibc {part['glibc']} or newer: {', '.join(names)}")


def packages(folder: Path) -> set[str]:
    """The names of the packages in an environment."""
    infos = folder.glob("lib/python*/site-packages/*.dist-info")
    return {info.name.split("-")[0] for info in infos}


def run(argv: list[str], cwd: Path | None = None, **variables: str) -> None:
    """Run one step without the user's settings of Python and pip; its words only if it fails."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "HPCDL_"))}
    env.update(variables, PIP_CONFIG_FILE=os.devnull)
    done = subprocess.run(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", close_fds=False, check=False,
    )  # fmt: skip
    if done.returncode:
        text = f"this step failed (exit {done.returncode}), and what was installed is as it was"
        raise RefusalError(f"{text}:\n  {shlex.join(argv)}\n{done.stdout.strip()}")


def replace(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a file aside, then put it in its place at once."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, mode)) as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
