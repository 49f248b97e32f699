"""What the tab key offers, asked as bash asks."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def offered(hpcdl_process, tmp_path):
    """The words that are offered after a command line, each with its kind (plain or file)."""

    def ask(words: str) -> list[str]:
        variables = {
            "_HPCDL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - (0 if words.endswith(" ") else 1)),
        }
        answer = hpcdl_process(cwd=tmp_path, env=variables)
        assert answer.err == ""
        lines: list[str] = answer.out.splitlines()
        return lines

    return ask


@pytest.fixture
def program(tmp_path):
    """The installed command: the name of the variable goes by its own."""
    start = "import sys; sys.argv[0] = 'hpcdl'; from hpcdl.cli import entrypoint; entrypoint()"
    return [sys.executable, "-c", start]


@pytest.fixture
def runs(tmp_path):
    for name in (
        "mnist/20260101-1200-aaaa",
        "mnist/20260102-1200-bbbb",
        "other/20260103-1200-cccc",
        ".code/x",
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)


@pytest.mark.parametrize("command", ["status", "logs", "cancel", "compare", "clean", "resume"])
def test_completion_offers_newest_runs_first(offered, runs, command):
    assert offered(f"hpcdl {command} ") == [
        "plain,other/20260103-1200-cccc",
        "plain,mnist/20260102-1200-bbbb",
        "plain,mnist/20260101-1200-aaaa",
    ]
    assert offered(f"hpcdl {command} mnist/20260101") == ["plain,mnist/20260101-1200-aaaa"]


def test_batch_scripts_are_files(offered):
    assert offered("hpcdl adopt MN") == ["file,MN"]
    assert offered("hpcdl adopt MNIST.slurm -o m") == ["file,m"]


@pytest.mark.parametrize("command", ["submit", "check", "render", "env build", "jobs copy"])
def test_jobs(offered, command):
    assert offered(f"hpcdl {command} digits") == ["plain,digits_cnn"]
    assert offered(f"hpcdl {command} train.y") == ["file,train.y"]


def test_profiles(offered):
    assert offered("hpcdl submit x --cluster mare") == ["plain,marenostrum5"]
    assert offered("hpcdl submit x --cluster ./my") == ["file,./my"]


def test_broken_profile_offers_files(offered, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: [\n")

    assert offered("hpcdl status --cluster bad.yaml ") == ["file,"]
