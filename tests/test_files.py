"""Small files: written whole or not at all, read whole or not at all, hashed once until they change."""

from __future__ import annotations

import hashlib
import os

import pytest

from hpcdl.files import (
    append_json_line,
    nobody_else_writes,
    others_could_write,
    read_json,
    read_json_lines,
    sha256_file,
    write_json,
    write_text,
)


def test_json_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "é"})
    before = path.stat().st_ino
    write_json(path, {"a": 2})

    assert read_json(path) == {"a": 2}
    assert path.stat().st_ino != before, "a reader of the old file keeps the old file"
    assert os.listdir(tmp_path) == ["a.json"]


def test_equal_values_give_equal_bytes(tmp_path):
    for name, value in (("a", {"x": 1, "y": 2}), ("b", {"y": 2, "x": 1})):
        write_json(tmp_path / name, value)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_failed_write_keeps_old(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")

    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"], "nothing is left beside it"


def test_mode_as_asked(tmp_path):
    write_text(tmp_path / "a", "x", mode=0o600)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [None, b"", b'{"a": ', b"[1]", b"\xff", b'{"a":' * 9999],
    ids=["none", "empty", "half", "list", "bytes", "deep"],
)
def test_unreadable_json_gives_none(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)

    assert read_json(path) is None


def test_json_lines_appended(tmp_path):
    path = tmp_path / "a.jsonl"
    assert read_json_lines(path) == []
    for number in range(3):
        append_json_line(path, {"n": number})

    assert read_json_lines(path) == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize("tail", ['{"n": ', '{"n": 2', "nonsense", "[2]", "\n\n"])
def test_half_written_line_left_out(tmp_path, tail):
    path = tmp_path / "a.jsonl"
    append_json_line(path, {"n": 1})
    with path.open("a") as stream:
        stream.write(tail)

    assert read_json_lines(path) == [{"n": 1}]


def test_hash_of_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * (3 << 20))

    assert sha256_file(path) == hashlib.sha256(b"x" * (3 << 20)).hexdigest()


# Whose work it is


@pytest.mark.parametrize(
    ("mode", "why"), [(0o700, None), (0o755, None), (0o2770, "(mode 2770)"), (0o757, "(mode 757)")]
)
def test_file_writable_by_others_is_noticed(tmp_path, mode, why):
    tmp_path.chmod(mode)

    said = others_could_write(tmp_path)

    assert said is None if why is None else said == f"can be written by others {why}"


def test_link_and_missing_file(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path)

    assert others_could_write(tmp_path / "a") == "is a link"
    assert others_could_write(tmp_path / "b") is None


def test_file_of_other_user_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    assert others_could_write(tmp_path) == f"belongs to user {os.getuid()}, not to 4711"


def test_files_are_private_under_any_umask(tmp_path):
    usual = os.umask(0)
    try:
        with nobody_else_writes():
            (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
    finally:
        os.umask(usual)

    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o755, 0o777]
