"""What a container with some binds shows, links and all; the kernel's own answer is in tests/testbed/test_shown.py."""

from __future__ import annotations

import os

import pytest

from hpcdl.mounts import binds
from hpcdl.mounts.binds import Bind, View, of_the_site, ordered, parse


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("/a", Bind("/a", "/a")),
        ("/a/", Bind("/a/", "/a")),
        ("/a:/b", Bind("/a", "/b")),
        ("/a:/b:ro", Bind("/a", "/b", "ro")),
        ("/x.sqfs:/p:image-src=/,ro", Bind("/x.sqfs", "/p", "image-src=/,ro")),
    ],
)
def test_bind_read_as_written(text, bind):
    assert parse(text) == bind


@pytest.mark.cases("C5")
def test_folders_come_before_their_contents():
    """A later mount would hide an earlier one inside its target; of two for one target the first counts."""
    given = ["/a/b/c:/a/b/c:ro", "/x", "/a", "/a:/a:ro", "/:/host:ro", "/a/b"]

    assert ordered(given) == ["/x", "/a", "/:/host:ro", "/a/b", "/a/b/c:/a/b/c:ro"]


@pytest.fixture
def disk(tmp_path):
    """proj/link -> else/photos, which has a file and a link out of it again."""
    for name in ("proj", "else/photos", "far"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "else/photos/1.jpg").write_text("1")
    (tmp_path / "far/2.jpg").write_text("2")
    (tmp_path / "else/photos/2.jpg").symlink_to(tmp_path / "far/2.jpg")
    (tmp_path / "proj/link").symlink_to(tmp_path / "else/photos")
    return tmp_path


@pytest.mark.cases("F9", "C5")
def test_link_inside_bound_folder_lacks_target(disk):
    view = View([f"{disk}/proj"])

    assert not view.shows(f"{disk}/proj/link")
    bind = view.lacking(f"{disk}/proj/link")
    assert bind == Bind(f"{disk}/else/photos", f"{disk}/else/photos", "ro")
    view.add(bind)
    assert view.shows(f"{disk}/proj/link/1.jpg")
    assert view.lacking(f"{disk}/proj/link/2.jpg") == Bind(
        f"{disk}/far/2.jpg", f"{disk}/far/2.jpg", "ro"
    )


def test_bound_link_is_a_folder_inside(disk):
    """Apptainer mounts what the source leads to: inside, the target is no link."""
    assert View([f"{disk}/proj/link:{disk}/proj/link:ro"]).shows(f"{disk}/proj/link/1.jpg")


def test_linked_home_seen_under_its_name(disk):
    (disk / "home").symlink_to(disk / "proj")

    assert View([f"{disk}/home"]).shows(f"{disk}/home")
    assert View([f"{disk}/home/runs"]).outside(f"{disk}/home/runs/a/1") == f"{disk}/home/runs/a/1"


def test_relative_link_inside_container(disk):
    """``..`` in a link goes up from where the folder is mounted, not from where it lies."""
    (disk / "else/photos/up.jpg").symlink_to("../../far/2.jpg")
    (disk / "deep/in").mkdir(parents=True)
    (disk / "deep/in/photos").symlink_to(disk / "else/photos")
    view = View([f"{disk}/deep/in/photos"])

    bind = view.lacking(f"{disk}/deep/in/photos/up.jpg")

    assert bind == Bind(f"{disk}/far/2.jpg", f"{disk}/deep/far/2.jpg", "ro")
    view.add(bind)
    assert view.shows(f"{disk}/deep/in/photos/up.jpg")


def test_other_target_shows_other_files(disk):
    """With ``src:dst`` a path shows what lies elsewhere: it is not seen under its own name."""
    view = View([f"{disk}/far:{disk}/proj"])

    assert view.outside(f"{disk}/proj/2.jpg") == f"{disk}/far/2.jpg"
    assert not view.shows(f"{disk}/proj/link")


def test_dangling_and_circular_links_fail(disk):
    (disk / "proj/dangling").symlink_to(disk / "none")
    (disk / "proj/round").symlink_to(disk / "proj/about")
    (disk / "proj/about").symlink_to(disk / "proj/round")
    view = View([f"{disk}/proj"])

    for name in ("dangling", "round", "missing"):
        with pytest.raises(OSError, match=r"No such file|Too many levels"):
            view.lacking(f"{disk}/proj/{name}")


def test_site_binds_are_known(tmp_path, monkeypatch):
    """What apptainer.conf binds is seen with hpcdl's options, which leave it as it is."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/odd").write_text("")
    (tmp_path / "bin/odd").chmod(0o755)
    (tmp_path / "etc/apptainer").mkdir(parents=True)
    settings = "# bind path = /no\nbind path = /etc/hosts\nbind path = /gpfs\nbind path=/a:/b\nmount hostfs = no\n"
    (tmp_path / "etc/apptainer/apptainer.conf").write_text(settings)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    assert of_the_site("odd") == ["/gpfs", "/a:/b"]
    monkeypatch.setattr(binds, "_mount_points", lambda: ["/", "/proc", "/work"])
    (tmp_path / "etc/apptainer/apptainer.conf").write_text("mount hostfs = yes\n")
    assert of_the_site("odd") == ["/work"]
