"""What is no batch script for SLURM and bash is refused, each with its own words; what sbatch would refuse blocks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.read import read_script
from hpcdl.errors import UserError

BAD = Path(__file__).with_name("bad")
REFUSED = {
    "nodes-of-pbs.pbs": ["PBS", "#SBATCH --time=00:30:00", "#SBATCH --gpus-per-node=1"],
    "queue-of-lsf.lsf": ["LSF", "#SBATCH --ntasks=20", "#SBATCH --output=digits.%J.out"],
    "binary.slurm": ["is not a text file"],
    "does-not-parse.slurm": ["does-not-parse.slurm:12:", "syntax error", "bash -n"],
    "pipes-into-sbatch.sh": ["pipes-into-sbatch.sh:4:", "pipes it into sbatch"],
    "for-csh.slurm": ["for-csh.slurm:1:", "csh", "#!/bin/bash"],
    "line-ends-of-windows.slurm": ["Windows", "sed -i"],
    "no-first-line.slurm": ["first line", "#!/bin/bash"],
}
BLOCKED = {
    "placeholder-account.sbatch": ("placeholder", 3),
    "contradicting.slurm": ("contradiction", 6),
}


def test_every_bad_file_is_tried():
    assert {path.name for path in BAD.iterdir()} == REFUSED.keys() | BLOCKED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_bad_files_are_refused(name):
    with pytest.raises(UserError) as caught:
        read_script(BAD / name, shown=name)

    message = str(caught.value)
    assert [word for word in REFUSED[name] if word not in message] == [], message
    assert message.startswith(name)


@pytest.mark.parametrize("name", BLOCKED)
def test_unfit_directives_block(name):
    said = findings(read_script(BAD / name), Surroundings(folder=BAD))

    assert BLOCKED[name] in [(one.code, one.line) for one in said if one.blocks]


def test_large_file_is_refused(tmp_path):
    """10 MB are no batch script; they are not parsed."""
    path = tmp_path / "large.slurm"
    path.write_text("#!/bin/bash\n#SBATCH --time=10\n" + "echo of a line\n" * 700_000)

    with pytest.raises(UserError, match="larger than 256 KB"):
        read_script(path)


def test_script_for_zsh_is_refused(tmp_path):
    """It splits no variable into words, and counts from 1."""
    (tmp_path / "a.slurm").write_text("#!/bin/zsh\n#SBATCH -t 5\npython x.py $ARGS\n")

    with pytest.raises(UserError, match="it is a script for zsh"):
        read_script(tmp_path / "a.slurm")


def test_line_that_bash_names_is_said():
    """bash itself finds the end of the loop in the same line."""
    done = subprocess.run(
        ["bash", "-n", BAD / "does-not-parse.slurm"],
        capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip

    assert "line 12: syntax error" in done.stderr
