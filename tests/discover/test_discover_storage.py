"""Where data and runs could go, and what the login nodes are called."""

from __future__ import annotations

import getpass
import os

import pytest

from hpcdl.discover import storage
from hpcdl.discover.lines import Line, text
from hpcdl.discover.storage import binds_line, detect_line, place_lines
from hpcdl.errors import Problem
from hpcdl.mounts import binds
from hpcdl.mounts.file_systems import file_system_of
from hpcdl.yamlfile.reader import read_yaml
from hpcdl.yamlfile.writer import plain


@pytest.fixture
def shared(login, monkeypatch):
    """Folders of tests are in /tmp, which is this machine's own: here they are not."""
    monkeypatch.setattr(storage, "node_local", lambda path: "/local" if "/local/" in path else None)
    return login.folder


def values():
    return {line.key: line.value for line in place_lines() if line.state == "guess"}


def test_variables_before_home(shared, monkeypatch):
    mine = shared / getpass.getuser() / "work"
    mine.mkdir(parents=True)
    monkeypatch.setenv("SCRATCH", f"{shared}/scratch/")
    monkeypatch.setenv("WORK", str(mine))

    assert values() == {
        "data_root": f"{mine}/hpcdl/data",
        "runs_root": f"{shared}/scratch/{{user}}/hpcdl/runs",
    }


def test_home_is_storage_fallback(shared, monkeypatch):
    monkeypatch.setenv("SCRATCH", f"{shared}/missing")
    monkeypatch.setenv("WORK", "relative")
    monkeypatch.setenv("PROJECT", f"{shared}/local/x")
    (shared / "local" / "x").mkdir(parents=True)

    assert values() == {"data_root": "~/hpcdl/data", "runs_root": "~/hpcdl/runs"}


def test_folder_that_is_not_writable(shared, monkeypatch):
    monkeypatch.setenv("SCRATCH", f"{shared}/scratch")
    monkeypatch.setattr(os, "access", lambda path, mode: "scratch" not in path)

    assert values()["runs_root"] == "~/hpcdl/runs"


@pytest.fixture
def areas(shared, monkeypatch):
    """A disk with a folder for each account."""
    monkeypatch.setattr(binds, "SYSTEM", ("/usr", f"{shared}/system"))
    monkeypatch.setattr(storage, "_PARENTS", (f"{shared}/gpfs/scratch", f"{shared}/gpfs/projects"))
    monkeypatch.chdir(shared)
    mine = shared / "gpfs/scratch/nct00" / getpass.getuser()
    mine.mkdir(parents=True)
    return mine


@pytest.mark.cases("F9")
def test_binds_of_account_proposed(areas, shared):
    """The folder that is called like the account is the one where a course's data lie."""
    (shared / "gpfs/projects/nct00").mkdir(parents=True)

    line = binds_line({"nct00", "other"})

    assert line.value == [f"{shared}/gpfs/scratch/nct00", f"{shared}/gpfs/projects/nct00"]
    assert (line.key, line.state) == ("binds", "guess")
    assert line.why.count("named like your account") == 2


@pytest.mark.cases("F9")
def test_binds_of_variables_proposed(areas, shared, monkeypatch):
    """$SCRATCH in the group's area is that area; elsewhere it is the user's own folder."""
    (shared / "work" / getpass.getuser()).mkdir(parents=True)
    monkeypatch.setenv("SCRATCH", str(areas))
    monkeypatch.setenv("WORK", f"{shared}/work/{getpass.getuser()}")
    monkeypatch.setenv("PROJECT", f"{shared}/missing")

    line = binds_line({"nct00"})

    assert line.value == [f"{shared}/gpfs/scratch/nct00", f"{shared}/work/{{user}}"]
    assert f"{shared}/gpfs/scratch/nct00 is of $SCRATCH and named like your account" in line.why


@pytest.mark.cases("F9")
def test_binds_seen_from_current_folder(areas, shared, monkeypatch):
    """A folder of the account that no list knows: the one where the user calls, or has images."""
    (shared / "odd/nct00/images").mkdir(parents=True)
    monkeypatch.setattr(storage, "_PARENTS", ())

    assert binds_line({"nct00"}, [f"{shared}/odd/nct00/images"]).value == [f"{shared}/odd/nct00"]
    monkeypatch.chdir(areas)
    assert binds_line({"nct00"}).value == [f"{shared}/gpfs/scratch/nct00"]


@pytest.mark.cases("F9")
def test_binds_of_settings_proposed(areas, shared, monkeypatch):
    """What apptainer.conf binds counts, but for the image's own and what each machine has."""
    for name in ("shared", "system/x", "local/x"):
        (shared / name).mkdir(parents=True)
    paths = [f"{shared}/{name}" for name in ("shared", "system/x", "local/x", "none")]
    monkeypatch.setattr(storage, "of_the_site", lambda runtime: [*paths, "/usr", "/a:/b"])

    assert binds_line(set()).value == [f"{shared}/shared"]


@pytest.mark.cases("F9")
def test_no_binds_to_propose(areas, monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH", os.environ["HOME"])

    assert binds_line(set()).state == "unknown"


def test_no_storage_found(login):
    assert [(line.key, line.state) for line in place_lines()] == [
        ("data_root", "unknown"),
        ("runs_root", "unknown"),
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("lustre", "on lustre, which the nodes share"),
        ("xfs", "on xfs; see that the nodes share it"),
    ],
)
def test_file_system_is_named(shared, monkeypatch, kind, words):
    monkeypatch.setattr(storage, "file_system_of", lambda path: kind)

    assert all(line.why.endswith(words) for line in place_lines())


def test_file_system_of_this_machine():
    assert file_system_of("/proc/self") == "proc"


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("login1.site.org", "login*.site.org"),
        ("n12-34.x.edu", "n*-*.x.edu"),
        ("gateway", "gateway"),
        ("login02", "login*"),
    ],
)
def test_host_pattern(host, pattern):
    assert (detect_line(host).value, detect_line(host).state) == ([pattern], "guess")


def test_localhost_is_not_a_name():
    assert detect_line("localhost.localdomain").state == "unknown"


ODD = [
    "no",
    "~",
    "12:30",
    "1e-3",
    "a: b",
    "a #b",
    "{user}",
    "it's",
    'say "x"',
    "-x",
    "ü/é",
    "",
    "null",
    "a\nb",
    "[x]",
]


@pytest.mark.parametrize("word", ODD)
def test_odd_words_survive_yaml(word):
    problems: list[Problem] = []
    document = read_yaml(text([Line("a", {word: [word]}, "why\nnot # really")]), "x", problems)

    assert (problems, document and document.plain()) == ([], {"a": {word: [word]}})


def test_numbers_stay_numbers():
    assert (
        plain({"cpus": 80, "memory_gb": 488, "requeue": False})
        == "{cpus: 80, memory_gb: 488, requeue: false}"
    )
