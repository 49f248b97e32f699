"""hpcdl check of a batch script, on a machine without SLURM: its findings, their lines, exit codes, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcdl.cli.script_words import in_words
from hpcdl.preflight.replicas import alone_on_each_node

SCRIPT = """#!/bin/bash
#SBATCH --job-name=mine
#SBATCH --account=nct00
#SBATCH --time=00:10:00
#SBATCH --cpus-per-task=2
module load singularity
singularity exec /images/none.sif python train.py
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Writes a.slurm beside train.py, where no command of SLURM's is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    Path("train.py").write_text("print(1)\n")

    def write(text: str = SCRIPT) -> str:
        Path("a.slurm").write_text(text)
        return "a.slurm"

    return write


def findings(answer) -> dict[str, dict[str, object]]:
    return {item["check"]: item for item in json.loads(answer.out)["findings"]}


def test_missing_image_has_its_line(cli, script):
    answer = cli("check", script(), "--json")
    content = json.loads(answer.out)

    assert answer.code == 2
    assert (content["job"], content["cluster"], content["could_run"]) == (
        "mine",
        "this cluster",
        False,
    )
    image = findings(answer)["image"]
    assert (image["where"], image["cause"]) == (
        "a.slurm:7",
        "there is no image /images/none.sif",
    )
    assert content["passed"][0] == "batch script"
    assert {"account", "partition", "QoS", "time", "size", "sbatch --test-only"} <= {
        item["check"] for item in content["skipped"]
    }


def test_most_checks_not_made_is_one(cli, script):
    answer = cli("check", script(SCRIPT.replace("singularity exec /images/none.sif ", "")))

    assert answer.code == 1
    assert "mine on this cluster" in answer.out
    assert (
        "image, imports and names: not checked, the program runs without a container" in answer.out
    )


def test_program_that_is_not_there(cli, script):
    answer = cli("check", script(SCRIPT.replace("train.py", "trained.py")), "--json")

    found = findings(answer)["script"]
    assert answer.code == 2
    assert found["where"] == "a.slurm:7"
    assert "there is no file" in str(found["cause"])


def test_own_findings_come_with_lines(cli, script):
    text = SCRIPT.replace("=nct00", "=<project>").replace("exec ", "exec --nv ")
    answer = cli("check", script(text), "--json")

    assert findings(answer)["placeholder"]["where"] == "a.slurm:3"
    assert findings(answer)["nv-without-gpus"]["where"] == "a.slurm:7"


def test_script_that_is_no_job_is_checked(cli, script):
    """The checks that need no program are made, the others are said."""
    answer = cli("check", script(SCRIPT.replace("python train.py", "./solver")))

    assert "script, paths: not checked, line 7: a job runs a Python script" in answer.out


def test_program_text_is_looked_at(cli, script):
    Path("train.py").write_text("x = input()\n")
    text = SCRIPT.replace("singularity exec /images/none.sif ", "")
    answer = cli("check", script(text), "--json")

    assert "input() has nobody to answer it" in str(findings(answer)["script"]["cause"])


def test_profile_limits_have_lines(cli, script):
    text = SCRIPT.replace("--cpus-per-task=2", "--cpus-per-task=900")
    answer = cli("check", script(text), "-c", "marenostrum5", "--json")

    size = findings(answer)["size"]
    assert size["where"] == "a.slurm:5"
    assert size["cause"] == "--cpus-per-task is 900, but a node of marenostrum5 has 80"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--probe",), "--probe is for a job, and a.slurm is a batch script"),
        (("--backend", "local"), "--backend local is for a job, and a.slurm is a batch script"),
        (("--time", "00:30:00"), "--time 00:30:00 changes a job, and a.slurm is a batch script"),
        (("--gpus", "1"), "--gpus 1 changes a job"),
        (("-s", "resources.cpus=1"), "resources.cpus=1 changes a job"),
        (("--", "-v"), "-v changes a job"),
    ],
)
def test_option_of_jobs_is_refused(cli, script, options, words):
    answer = cli("check", script(), *options)

    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert "hpcdl adopt a.slurm -o job.yaml" in answer.err


@pytest.mark.parametrize("command", ["submit", "render"])
def test_other_commands_name_adopt(cli, script, command):
    answer = cli(command, script(), "-c", "marenostrum5")

    assert answer.code == 2
    assert "hpcdl adopt a.slurm -o a.yaml writes the job file" in answer.err


def test_hostile_values_are_findings(cli, script):
    """A value that a profile cannot have is said at its line, and runs nothing."""
    text = SCRIPT.replace("load singularity", "load 'x; touch ran'").replace("-job-name", "-hint")
    answer = cli("check", script(text), "-c", "marenostrum5", "--json")

    assert answer.code == 2
    assert json.loads(answer.out)["findings"]
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/bash\n#PBS -N a\n#PBS -l walltime=1\npython a.py\n", "is a script for PBS"),
        ("#!/bin/bash\n#SBATCH -n 1\nif true; then\n", "bash cannot read this script"),
        ("#!/bin/bash\n#SBATCH -n 1\n" + "# x\n" * 2_600_000, "is larger than"),
        ("#!/bin/bash\nsbatch <<EOF\n#!/bin/bash\n#SBATCH -n 1\nEOF\n", "pipes it into sbatch"),
    ],
    ids=["pbs", "bash", "large", "pipe"],
)
@pytest.mark.parametrize("command", ["check", "adopt"])
def test_bad_script_is_refused(cli, script, monkeypatch, text, words, command):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    answer = cli(command, script(text))

    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err


def test_shell_text_has_its_line(cli, script):
    text = SCRIPT.replace("singularity exec /images/none.sif ", "").rstrip() + " '$HOME'\n"
    answer = cli("check", script(text), "--json")

    paths = findings(answer)["paths"]
    assert paths["where"] == "a.slurm:7"
    assert str(paths["cause"]).startswith("an argument is $HOME, and the program gets exactly that")


def test_check_with_a_finding_is_not_skipped(cli, script):
    text = SCRIPT.replace("python train.py", "python none.py\npython train.py")
    answer = cli("check", script(text), "--json")

    assert findings(answer)["script"]["where"] == "a.slurm:7"
    assert "script" not in {item["check"] for item in json.loads(answer.out)["skipped"]}


def test_peers_in_a_scripts_words():
    """hpcdl sets TF_CONFIG in its own jobs alone."""
    subject: Any = SimpleNamespace(
        plan=SimpleNamespace(size=SimpleNamespace(nodes=2)), job=SimpleNamespace(script="a.py")
    )
    (alone,) = alone_on_each_node(subject, {"a.py": "print(1)"})

    assert "set TF_CONFIG on each node, which" in in_words(alone.fix)
    assert in_words(alone.fix).endswith("or set --nodes=1")


def test_placeholders_are_told_once(cli, script):
    text = SCRIPT.replace("=nct00", "=<project> -p YOUR_PARTITION")
    answer = cli("check", script(text), "-c", "marenostrum5", "--json")
    content = json.loads(answer.out)
    at_line = [item["check"] for item in content["findings"] if item["where"] == "a.slurm:3"]

    assert at_line == ["placeholder", "placeholder"]
    assert not {"account", "partition"} & set(content["passed"])


@pytest.mark.parametrize(
    ("limit", "words"),
    [("UNLIMITED", "UNLIMITED is no time limit"), (None, "the script names no time limit")],
)
def test_time_limit_that_is_none(cli, script, limit, words):
    line = f"#SBATCH --time={limit}\n" if limit else ""
    answer = cli("check", script(SCRIPT.replace("#SBATCH --time=00:10:00\n", line)), "--json")
    reasons = {item["check"]: item["reason"] for item in json.loads(answer.out)["skipped"]}

    assert reasons["time"] == f"{words}: the partition's own counts"


def test_seconds_that_were_meant_as_minutes(cli, script):
    answer = cli("check", script(SCRIPT.replace("00:10:00", "0:30")), "--json")

    found = findings(answer)["short-time"]
    assert found["cause"] == "--time=0:30 is 30 seconds: sbatch reads minutes:seconds"
    assert (found["fix"], found["blocks"]) == ("#SBATCH --time=00:30:00", False)


def test_image_that_is_set_nowhere(cli, script, monkeypatch):
    monkeypatch.delenv("IMG", raising=False)
    answer = cli("check", script(SCRIPT.replace("/images/none.sif", "$IMG")), "--json")

    assert findings(answer)["image"]["where"] == "a.slurm:7"
    assert "$IMG is not set in this shell" in str(findings(answer)["image"]["cause"])


@pytest.mark.parametrize(
    ("before", "start", "words"),
    [
        ("cp /data/new.py .", "python new.py", "see whether line 6 makes it"),
        ("git clone -q https://host/code", "python new.py", "see whether line 6 makes it"),
        ("cat > new.py <<E\nprint(1)\nE", "python new.py", "see whether line 6 makes it"),
        ("true", "srun --container-image=a python /opt/x.py", "see whether the image has it"),
        ("date", "[ -f new.py ] && python new.py", "the script may not come to this"),
    ],
)
def test_program_that_may_come_does_not_block(cli, script, before, start, words):
    text = SCRIPT.replace("module load singularity", before)
    answer = cli(
        "check",
        script(text.replace("singularity exec /images/none.sif python train.py", start)),
        "--json",
    )

    found = findings(answer)["script"]
    assert words in str(found["fix"])
    assert found["blocks"] is False


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ("mkdir -p /none/j; cp new.py /none/j; cd /none/j; python new.py", "see whether line 6 makes it"),
        ("srun bash -c 'mkdir /none/j; cp new.py /none/j; cd /none/j; python new.py'", "see whether line 6 makes it"),
        ("cd /none/j; python $SLURM_SUBMIT_DIR/train.py", "the nodes have it"),
    ],
)  # fmt: skip
def test_folder_that_may_come_does_not_block(cli, script, commands, words):
    text = SCRIPT.partition("module")[0]
    answer = cli("check", script(f"{text}{commands}\n"), "--json")

    found = findings(answer)
    assert words in str(found["file system"]["fix"])
    assert not any(item["blocks"] for item in found.values())


def test_file_in_a_missing_folder_blocks(cli, script):
    text = SCRIPT.partition("module")[0]
    found = findings(cli("check", script(f"{text}cd /none/j\npython new.py\n"), "--json"))

    assert (found["file system"]["blocks"], found["script"]["blocks"]) == (False, True)


def test_lines_are_shown_without_secrets(cli, script):
    lines = (
        "#SBATCH --gres=gpu:1\nCUDA_VISIBLE_DEVICES=0 python train.py --api-key ab12cd34ef56gh\n"
    )
    answer = cli("check", script(SCRIPT.replace("module load singularity\n", lines)), "--json")

    fix = findings(answer)["cuda-visible-devices"]["fix"]
    assert "python train.py --api-key (hidden)" in str(fix)
    assert "ab12cd34ef56gh" not in answer.out


def test_program_without_condition_is_looked_at(cli, script):
    text = SCRIPT.replace("module load singularity", "if false; then python old.py; fi")
    answer = cli("check", script(text), "--json")

    assert findings(answer)["image"]["where"] == "a.slurm:7"
    assert "script" not in findings(answer)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("$(runtime) exec", "which program this starts is not known before the script runs"),
        ('bash -c "$(text)"', "which program this starts is not known before the script runs"),
        ("srun ./nemo", "no container is started"),
        ("${RT:-singularity} exec $(image) x;", "which image this is, is not known before the script runs"),
    ],
)  # fmt: skip
def test_why_no_image_is_looked_at(cli, script, start, reason):
    answer = cli("check", script(SCRIPT.replace("singularity exec", start)), "--json")
    reasons = {item["check"]: item["reason"] for item in json.loads(answer.out)["skipped"]}

    assert reasons["image"] == reason


def test_partition_that_no_profile_lists(cli, script):
    """A profile lists GPU partitions; a batch script may use any that SLURM has."""
    text = SCRIPT.replace("--cpus-per-task=2", "--partition=small\n#SBATCH --cpus-per-task=200")
    answer = cli("check", script(text), "-c", "lumi", "--json")

    found = findings(answer)
    assert (found["partition"]["where"], found["partition"]["blocks"]) == ("a.slurm:5", False)
    assert "the profile lumi does not list small" in str(found["partition"]["cause"])
    assert "size" not in found  # 200 CPUs are too many for the profile's nodes alone


def test_profiles_folders_are_not_the_scripts(cli, script, monkeypatch):
    """Leonardo's profile has its images below $WORK, which is set there alone."""
    monkeypatch.delenv("WORK", raising=False)
    answer = cli("check", script(), "-c", "leonardo", "--json")

    assert json.loads(answer.out)["cluster"] == "leonardo"
    assert findings(answer)["image"]["where"] == "a.slurm:7"
