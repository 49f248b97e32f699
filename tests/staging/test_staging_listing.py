"""The fingerprint of a folder in a run's manifest: a copy has the same, other names or sizes have not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hpcdl.staging.listing import list_files

pytestmark = pytest.mark.cases("F23")
FIND = r"cd '{}' && find -L . -type f ! -path '*/.*' -printf '%P\t%s\n' | LC_ALL=C sort | sha256sum"


@pytest.fixture
def folder(tmp_path):
    """Folders and files whose order is not that of a plain walk."""
    for number, name in enumerate(
        ["a/1.jpg", "a.b/1.jpg", "a b/x.jpg", "a", "b/c/d.jpg", "ä/é.jpg", "Z/1", "a-b"]
    ):
        path = tmp_path / "set" / (f"{name}.d" if name == "a" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(number))
    os.makedirs(os.fsencode(tmp_path) + b"/set/g\xe4nse")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/set/g\xe4nse/\xff.jpg")).write_bytes(b"123")
    (tmp_path / "set/b/linked").symlink_to(tmp_path / "set/a")
    (tmp_path / "set/nowhere").symlink_to("/nowhere")
    return tmp_path / "set"


def test_listing_agrees_with_find(folder):
    """As docs/my-data.md tells people to compare it."""
    done = subprocess.run(
        ["bash", "-c", FIND.format(folder)], capture_output=True, text=True, check=True
    )
    listing = list_files(str(folder))
    assert listing is not None
    assert listing.sha256 == done.stdout.split()[0]
    assert (listing.files, listing.bytes) == (10, 31)


def test_copies_have_the_same_listing(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy", symlinks=True, copy_function=shutil.copyfile)
    for name in (".DS_Store", "a/Thumbs.db", ".git/config", "@eaDir/x.jpg"):
        (tmp_path / "copy" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "copy" / name).write_text("x")
    assert list_files(str(tmp_path / "copy")) == list_files(str(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "Z/1").write_bytes(bytes(99)),
        lambda top: (top / "Z/1").rename(top / "Z/2"),
        lambda top: (top / "Z/1").unlink(),
        lambda top: (top / "new").write_bytes(b""),
    ],
)
def test_changes_change_the_listing(folder, change):
    before = list_files(str(folder))
    change(folder)
    assert list_files(str(folder)) != before


def test_listing_ends_on_circles_and_budgets(folder):
    (folder / "a/round").symlink_to(folder)
    assert list_files(str(folder)) is not None
    assert list_files(str(folder), budget_s=-1) is None
