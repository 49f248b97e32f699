"""The one line that sums up a check: "could run" only where enough was looked at, and an exit code to match."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.cases("F8")

AWAY = "#!/bin/sh\necho 'Unable to contact slurm controller (connect failure)' >&2; exit 1\n"


@pytest.fixture
def check(world, cli):
    """The verdict of a check, its exit code, and what its JSON says."""

    def run(*argv: str):
        words = ["check", f"{world.folder}/model.yaml", "-c", f"{world.folder}/site.yaml", *argv]
        shown, told = cli(*words), cli(*words, "--json")
        assert shown.code == told.code
        verdict = shown.out.splitlines()[0].removeprefix("a on here").strip()
        return verdict, shown.code, json.loads(told.out)["could_run"]

    return run


def test_verdict_with_all_checks(check):
    assert check() == ("could run", 0, True)


def test_verdict_with_one_skipped_check(check, world):
    """Without a container command here the image stays unseen."""
    (world.bin / "container").unlink()

    assert check() == ("could run, as far as 9 of 10 checks can tell", 0, True)


def test_verdict_with_few_checks(check, world):
    """A site whose SLURM is away: that nothing is found means little."""
    for name in ("scontrol", "sacctmgr", "sbatch"):
        world.command(name, AWAY)

    expected = "no problem found, but 6 of 10 checks could not be made"
    assert check() == (expected, 1, None)


def test_verdict_with_problem(check, world):
    """Whatever was not looked at: what is wrong is wrong."""
    for name in ("scontrol", "sacctmgr", "sbatch"):
        world.command(name, AWAY)

    assert check("--set", "data.name=nothing") == ("1 problem, nothing was submitted", 2, False)


def test_unseen_checks_refuse_no_submission(world, cli):
    """`submit` sends what nothing is known against, and says what was not looked at."""
    for name in ("scontrol", "sacctmgr"):
        world.command(name, AWAY)
    world.command("sbatch", "#!/bin/sh\ncase $* in *test-only*) exit 1;; *) echo 7;; esac\n")

    answer = cli("submit", f"{world.folder}/model.yaml", "-c", f"{world.folder}/site.yaml")

    assert answer.code == 0
    assert "not checked" in answer.err
