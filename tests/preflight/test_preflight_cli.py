"""What `hpcdl check` shows: every problem with its place and its fix, what is well, and an exit code."""

from __future__ import annotations

import json
import os

import pytest


@pytest.fixture
def check(world, cli):
    """Runs `hpcdl check` on the small site."""

    def run(job, *options):
        return cli("check", world.folder / job, "--cluster", world.folder / "site.yaml", *options)

    return run


def test_good_job(check, world):
    answer = check("model.yaml")

    assert (answer.code, answer.err) == (
        0,
        f"looking into {world.folder}/tf.sif, once: some seconds\n",
    )
    assert check("model.yaml").err == ""
    lines = answer.out.splitlines()
    assert lines[0].split() == ["a", "on", "here", "could", "run"]
    passed = "job file, account, partition, QoS, time, size, image, data, host Python, file system, sbatch --test-only"
    assert lines[2].startswith(f" ✓ {passed} ")
    assert lines[2].endswith(" s")
    assert lines[-1].startswith("   would start ")


def test_check_shows_all_problems(check, world):
    (world.folder / "tf.sif").unlink()

    answer = check("model.yaml", "--set", "data.name=mnist", "--set", "cluster.qos=acc_debgu")

    assert answer.code == 2
    lines = answer.out.splitlines()
    assert lines[0].endswith("3 problems, nothing was submitted")
    assert (
        lines[2]
        == " ✗ QoS    there is no QoS acc_debgu; did you mean acc_debug?   (--set cluster.qos=acc_debgu)"
    )
    assert lines[3] == "          use one of: --set cluster.qos=acc_debug|normal|small"
    assert [line.split()[1] for line in lines if line.startswith(" ✗")] == ["QoS", "image", "data"]
    assert lines[-2].startswith(
        " ✓ job file, account, partition, time, size, host Python, file system, sbatch"
    )


def test_slurm_refusal_is_not_repeated(check, world):
    """A problem that hpcdl and sbatch both find is counted once."""
    world.slurm(
        sbatch="echo 'allocation failure: Invalid account or account/partition combination' >&2; exit 1"
    )

    lines = check("model.yaml", "--set", "cluster.account=nct01").out.splitlines()

    assert lines[0].endswith("1 problem, nothing was submitted")
    assert lines[-1] == "   SLURM refuses it: Invalid account or account/partition combination"


def test_problems_have_file_and_line(check, world):
    world.write(
        "model.yaml", (world.folder / "model.yaml").read_text().replace("01:00:00", "03:00:00")
    )
    world.write("site.yaml", (world.folder / "site.yaml").read_text() + "partition: no\n")

    answer = check("model.yaml")

    assert f"({world.folder}/site.yaml:9)" in answer.out
    assert f"({world.folder}/model.yaml:2)" in answer.out


def test_runs_dir_is_its_own_place(check, world):
    assert "(--runs-dir)" in check("model.yaml", "--runs-dir", world.folder / "tf.sif" / "runs").out


def test_script_of_a_bad_image(check, world):
    world.write("tf.sif", "<html>")

    answer = check("script.yaml")

    assert answer.code == 2
    assert " - script: not checked, the image cannot be asked\n" in answer.out


def test_warning_is_not_a_refusal(check, world):
    world.write("program.py", "def later():\n    import pandas_\n")

    answer = check("script.yaml")

    assert answer.code == 0
    assert " ! script  program.py imports pandas_, which the image does not have" in answer.out


def test_skipped_checks_are_reported(check, world):
    for name in ("scontrol", "sacctmgr", "sbatch"):
        (world.bin / name).unlink()
    world.command(
        "scontrol", f"#!/bin/sh\necho asked >>{world.folder}/asked; echo down >&2; exit 1\n"
    )
    world.command("sbatch", "#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")

    answer = check("model.yaml")

    assert answer.code == 1
    names = "account, partition, QoS, time, size, sbatch --test-only"
    assert f" - {names}: not checked, scontrol failed (exit 1): down" in answer.out
    assert (
        world.folder / "asked"
    ).read_text() == "asked\n"  # a SLURM that is busy is not asked by each check


def test_json(check, world):
    answer = check("model.yaml", "--set", "resources.time=04:00:00", "--json")

    told = json.loads(answer.out)
    assert (answer.code, told["could_run"]) == (2, False)
    assert told["findings"] == [
        {
            "check": "time",
            "cause": "resources.time is 04:00:00, but QoS acc_debug allows 02:00:00",
            "fix": "use --set cluster.qos=normal|small, or ask for less: --set resources.time=02:00:00",
            "source": "job",
            "key": "resources.time",
            "blocks": True,
            "where": "--set resources.time=04:00:00",
        }
    ]
    assert "data" in told["passed"]


def test_unreadable_job_file(check, world):
    world.write("model.yaml", "name: a\nmodle: {name: mlp}\n")

    answer = check("model.yaml")

    assert (answer.code, answer.out) == (2, "")
    assert "modle: unknown key; did you mean model?" in answer.err


def test_nothing_is_written(check, world):
    before = sorted(os.listdir(world.folder))

    check("script.yaml", "--runs-dir", world.folder / "runs")

    assert sorted(os.listdir(world.folder)) == sorted([*before, "tried"])
