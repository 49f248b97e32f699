"""#SBATCH lines are read as the real sbatch reads them: it is asked what it made of each script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.read import read_script
from hpcdl.batchscript.sbatchtable import LETTERS, OPTIONS
from hpcdl.errors import UserError
from tests.testbed.conftest import Bed

pytestmark = [pytest.mark.testbed, pytest.mark.second_bed]
UNDERSTOOD = re.compile(r"^sbatch: ([a-z][a-z-]+) +: (.*)$", re.MULTILINE)
NOT_OF_THE_SCRIPT = {"verbose", "test-only"}
# What follows the first line, #!/bin/bash; times are written as sbatch tells them
TAKEN = {
    "comments": "#SBATCH --job-name=a # --nodes=2\n#SBATCH --comment=x#y\n#SBATCH -p acc # it's\n",
    "quotes": '#SBATCH --job-name=a"b c"d --comment=\'e # "f"\'\n',
    "backslash": "#SBATCH --comment=it\\'s\\#1 --job-name='a\\'b'\n",
    "not-read": "##SBATCH -N3\n# SBATCH -N3\n  #SBATCH -N3\n#sbatch -N3\n\n \n#SBATCH -n 2\n",
    "below-command": "#SBATCH -n2\nA=1\n#SBATCH --job-name=late\n",
    "letters": "#SBATCH -N2 -n 4 -c5 -Jglued -sHt 00:07:00\n",
    "equals-after-letter": "#SBATCH -J=x\n",
    "blank-or-equals": "#SBATCH --nodes 2 --ntasks=2\t--job-name\tb\n",
    "optional-value": "#SBATCH --nice --exclusive\n#SBATCH -k -J k\n",
    "optional-value-given": "#SBATCH --nice=5 --exclusive=user\n",
    "later-wins": "#SBATCH -t 00:07:00 -J a\n#SBATCH --gres=gpu:1\n#SBATCH -J b --gres=gpu:2\n",
    "mail-adds-up": "#SBATCH --mail-type=BEGIN,END\n#SBATCH --mail-type=NONE --mail-type=END,FAIL\n",
    "mail-none": "#SBATCH --mail-type=NONE --mail-type=BEGIN,NONE,END\n",
    "cut-short": "#SBATCH --job=a --part=acc --cpus-per-t=3\n",
    "no-blank": "#SBATCH--job-name=a\n#SBATCH\n#SBATCH # nothing\n",
    "dollar": "#SBATCH --comment=$HOME --export=ALL,A=1,2\n",
    "empty-word": '#SBATCH "" --nodes=2\n#SBATCH --job-name=a --comment=""\n',
}
REFUSED = {
    "windows": "#SBATCH --job-name=a\r\n",
    "word": "#SBATCH --exclusive user\n",
    "word-after-list": "#SBATCH --export=ALL, A=1\n",
    "longer-mark": "#SBATCHES -n2\n",
    "unknown": "#SBATCH --walltime=5\n",
    "ambiguous": "#SBATCH --gpu=1\n",
    "capital": "#SBATCH --Job-name=a\n",
    "flag-with-value": "#SBATCH --requeue=yes\n",
    "open-quote": '#SBATCH --comment="a\n#SBATCH -n2\n',
    "colon": "#SBATCH -n2 : -n3\n",
    "memory": "#SBATCH --mem=1G\n#SBATCH --mem-per-cpu=100\n",
    "tasks": "#SBATCH --nodes=1 --ntasks=8 --ntasks-per-node=4\n",
    "times": "#SBATCH --time=00:10:00 --time-min=01:00:00\n",
    "dash-of-a-text": "#SBATCH -J x –time=7\n",
}


def script(bed: Bed, name: str, lines: str) -> Path:
    path = bed.write(f"{name}.sh", "")
    path.write_bytes(f"#!/bin/bash\n{lines}true\n".encode())  # write_text() may change line ends
    return path


def test_options_are_what_sbatch_understood(bed: Bed) -> None:
    for name, lines in TAKEN.items():
        path = script(bed, name, lines)
        done = bed.run("sbatch", "-vv", "--test-only", path)
        understood = {
            option: re.sub("^gres[:/]", "", value)  # gres: in 22.05, gres/ in 24.11
            for option, value in UNDERSTOOD.findall(done.stderr)
            if option not in NOT_OF_THE_SCRIPT
        }

        read = {one.name: one.value for one in read_script(path).directives}

        assert set(read) == set(understood), (name, done.stderr)
        values = {option: value for option, value in read.items() if value is not None}
        assert values == {option: understood[option] for option in values}, name


def test_refused_lines_are_found(bed: Bed) -> None:
    """What sbatch refuses is either no batch script for hpcdl, or has a finding that blocks."""
    for name, lines in REFUSED.items():
        path = script(bed, name, lines)
        assert bed.run("sbatch", "--test-only", path, check=False).returncode != 0, name
        try:
            said = findings(read_script(path), Surroundings(folder=bed.folder))
        except UserError:
            continue
        assert any(one.blocks for one in said), (name, said)


def test_held_job_has_what_was_read(bed: Bed) -> None:
    """SLURM's own account of a job, not only sbatch's."""
    lines = (
        "#SBATCH --job-name='two words' --time=0-00:20 # days\n##SBATCH --nodes=4\n"
        '#SBATCH -N 2 -n4 -c5 --comment="a # b"\n#SBATCH --time=00:40:00\n'
        "true\n#SBATCH --job-name=late\n"
    )
    path = script(bed, "held", lines)
    job_id = bed.run("sbatch", "--parsable", "--hold", path).stdout.strip()
    try:
        job = bed.run("scontrol", "show", "job", job_id).stdout
    finally:
        bed.run("scancel", job_id)

    read = read_script(path)
    assert f"JobName={read.value('job-name')}\n" in job
    assert f"Comment={read.value('comment')} " in job or f"Comment={read.value('comment')}\n" in job
    assert f"TimeLimit={read.value('time')} " in job
    assert f"CPUs/Task={read.value('cpus-per-task')} " in job
    assert f"NumNodes={read.value('nodes')}" in job
    assert f"NumTasks={read.value('ntasks')} " in job
    assert [one.value for one in read.ignored] == ["late"]


def test_options_are_those_of_sbatchs_help(bed: Bed) -> None:
    """Each option that sbatch --help names is known, by the same letter, with a value or without."""
    text = bed.run("sbatch", "--help").stdout
    told = re.findall(r"^ +(?:-(\w),? +)?--([a-z-]+)(\[?=)?\S* {2,}", text, re.MULTILINE)

    assert len(told) > 80
    for letter, name, sign in told:
        assert name in OPTIONS, name
        assert not letter or LETTERS[letter] == name
        if sign:
            assert OPTIONS[name] != "no", name
