"""`hpcdl cluster discover`: the profile alone on stdout, talk on stderr, a file that is not overwritten by mistake."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def site(login, monkeypatch):
    login.slurm("testbed")
    login.container("apptainer", "system")
    monkeypatch.chdir(login.folder)
    monkeypatch.setattr(socket, "getfqdn", lambda: "login1.site.org")
    return login


def test_only_profile_on_stdout(site, cli):
    done = cli("cluster", "discover")

    assert done.code == 0
    assert done.out.startswith("# The site of login1.site.org, ")
    assert "\nname: testbed " in done.out
    said = done.err.splitlines()
    assert said[:2] == [
        "asking scontrol and sacctmgr ...",
        "looking for apptainer and singularity ...",
    ]
    assert said[-3:] == [
        "guessed, please check: detect",
        "not found: images, binds, data_root, runs_root",
        "next: hpcdl check mnist_cnn --cluster FILE, after hpcdl cluster discover -o FILE",
    ]


def test_file_written_and_not_overwritten(site, cli):
    first = cli("cluster", "discover", "-o", "site.yaml")
    path = site.folder / "site.yaml"

    assert (first.code, first.out) == (0, "")
    assert first.err.endswith("next: hpcdl check mnist_cnn --cluster site.yaml\n")
    assert "\nname: testbed " in path.read_text()

    path.write_text("mine\n")
    asked = site.asked()
    again = cli("cluster", "discover", "-o", "site.yaml")
    assert (again.code, again.err) == (
        2,
        "hpcdl: site.yaml exists already; --force replaces it\n",
    )
    assert (path.read_text(), site.asked()) == ("mine\n", asked)

    assert cli("cluster", "discover", "-o", "site.yaml", "--force").code == 0
    assert "\nname: testbed " in path.read_text()


def test_output_file_is_not_writable(site, cli):
    done = cli("cluster", "discover", "-o", "missing/site.yaml")

    assert done.code == 1
    assert "hpcdl: cannot write missing/site.yaml: No such file or directory; " in done.err


def test_discover_without_slurm(site, cli):
    (site.bin / "scontrol").unlink()

    done = cli("cluster", "discover")

    assert (done.code, done.out) == (1, "")
    assert "scontrol is not on this machine: run hpcdl on a login node" in done.err


def test_discover_with_unreachable_slurm(site, cli):
    site.command(site.bin / "scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1")

    done = cli("cluster", "discover")

    assert done.code == 1
    assert "Unable to contact slurm controller" in done.err


def test_unknown_partition(site, cli):
    done = cli("cluster", "discover", "--partition", "ac")

    assert (done.code, done.out) == (2, "")
    assert "there is no partition 'ac'; did you mean acc?" in done.err


def test_cluster_without_partitions(site, cli):
    (site.folder / "answers" / "partition.txt").write_text("No partitions in the system\n")

    done = cli("cluster", "discover")

    assert done.code == 1
    assert "lists no partition that you can see" in done.err
