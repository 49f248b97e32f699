"""The user's cache is a convenience: whatever is wrong with it, hpcdl goes on, with one line on stderr."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from hpcdl import cache


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.sif"
    path.write_bytes(b"one")
    return path


ONE = hashlib.sha256(b"one").hexdigest()


def test_hash_remembered_until_changed(image):
    os.utime(image, ns=(1, 1))
    assert cache.cached_sha256(image) == ONE

    image.write_bytes(b"two")
    os.utime(image, ns=(1, 1))  # the same size and time: nothing says that it changed
    assert cache.cached_sha256(image) == ONE

    os.utime(image, ns=(2, 2))
    assert cache.cached_sha256(image) == hashlib.sha256(b"two").hexdigest()


def test_cache_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache.store("a.json", {"b": 1})

    assert cache.folder() == tmp_path / "cache" / "hpcdl"
    assert cache.folder().stat().st_mode & 0o077 == 0
    assert cache.load("a.json") == {"b": 1}


DAMAGED = {
    "half": b'{"half',
    "not-an-object": b"[1, 2]",
    "not-text": b"\xff\xfe\x00",
    "empty": b"",
    "deep": b"[" * 100_000,
    "another-form": b'{"x|3|1": {"a": 1}}',
}


@pytest.mark.cases("F8")
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_file_is_replaced(image, content, capsys):
    cache.store("sha256.json", {})
    (cache.folder() / "sha256.json").write_bytes(content)

    assert cache.cached_sha256(image) == ONE
    assert ONE in json.loads((cache.folder() / "sha256.json").read_text()).values()
    assert capsys.readouterr().err == ""


def _no_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")


def _unset_home(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.geteuid", lambda: 4711)


def _file(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))


def _no_place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")


def _too_long(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", f"/{'a' * 300}")


def _folder_in_place_of_file(tmp_path, monkeypatch):
    (Path(os.environ["HOME"]) / ".cache/hpcdl/sha256.json").mkdir(parents=True, mode=0o700)


def _open_to_others(tmp_path, monkeypatch):
    (tmp_path / "hpcdl").mkdir()
    (tmp_path / "hpcdl").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.cases("F8")
@pytest.mark.parametrize(
    "spoil",
    [_no_home, _unset_home, _file, _no_place, _too_long, _folder_in_place_of_file, _open_to_others],
)
def test_unusable_cache_gives_one_line(image, tmp_path, monkeypatch, capsys, spoil):
    """Nothing fails, this process remembers, and one line names the place and the remedy."""
    spoil(tmp_path, monkeypatch)

    for _ in range(2):
        assert cache.cached_sha256(image) == ONE
        cache.store("a.json", {"b": 1})
        assert cache.load("a.json") == {"b": 1}
        with cache.locked("a.lock"):
            pass
        cache.forget("a.json")
        assert cache.load("a.json") == {}

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "going on without it; XDG_CACHE_HOME can name another folder" in lines[0]


@pytest.mark.cases("F8")
def test_home_is_never_created(monkeypatch, tmp_path):
    """A home folder that is not there is not hpcdl's to make, not even for root."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    cache.store("a.json", {})

    assert os.listdir(tmp_path) == []


@pytest.mark.cases("F8")
def test_relative_place_is_ignored(monkeypatch, tmp_path):
    """The XDG specification says so; a cache in the working directory helps nobody."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")

    assert cache.folder() == Path(os.environ["HOME"], ".cache", "hpcdl")


@pytest.mark.cases("F8")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user's")
def test_cache_of_another_user(monkeypatch, tmp_path, capsys):
    """Answers that somebody else wrote are not believed; with sudo, none are left there."""
    folder = tmp_path / "hpcdl"
    folder.mkdir(mode=0o700)
    (folder / "a.json").write_text('{"b": 1}')
    os.chown(folder, 4711, 4711)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache.load("a.json") == {}
    cache.store("c.json", {})

    assert os.listdir(folder) == ["a.json"]
    assert "belongs to user 4711" in capsys.readouterr().err
