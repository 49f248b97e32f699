"""Each site's script through the real sbatch: it takes every option, and refuses only the site's own names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.testbed.conftest import CHECKOUT, Bed

pytestmark = pytest.mark.testbed

FOLDER = CHECKOUT / "tests" / "golden_sites"
NAMES = sorted(path.name for path in FOLDER.iterdir())
NOT_AN_OPTION = 255  # sbatch's exit status where its own parser refuses
# What SLURM says of a partition, QoS, kind of GPU, feature or cluster that this bed does not have
ABOUT_NAMES = (
    r"sbatch: error: invalid partition specified: \S+",
    r"allocation failure: Invalid partition name specified",
    r"allocation failure: Invalid qos specification",
    r"allocation failure: Invalid feature specification",
    r"allocation failure: Requested node configuration is not available",
    r"sbatch: error: No cluster '\w+' known by database\.",
    r"sbatch: error: '\w+' can't be reached now, or it is an invalid entry for --cluster\..*",
    r"sbatch: error: Invalid generic resource \(gres\) specification",  # local scratch, as at Saga
    r"sbatch: Job \d+ to start at .*",
)
# The site's own names in a script, and sizes that only its nodes have
REPLACED = (
    (r"(?m)^#SBATCH --(clusters|partition|qos|constraint)=.*\n", ""),
    (r"(?m)^#SBATCH --cpus-per-task=\d+$", "#SBATCH --cpus-per-task=1"),
    (r"(?m)^#SBATCH --(mem[a-z-]*)=\d+M$", r"#SBATCH --\1=100M"),
    (r"(?m)^#SBATCH --(gres=gpu:|gpus-per-node=)[a-z]\w*:1", r"#SBATCH --\g<1>1"),
    (r"(?m)^#SBATCH --gres=localscratch:20G\n", ""),
)


def unknown_words(said: str) -> list[str]:
    """What sbatch said that is not about a name of the site's."""
    lines = [line for line in said.splitlines() if line]
    return [line for line in lines if not any(re.fullmatch(one, line) for one in ABOUT_NAMES)]


@pytest.mark.parametrize("name", NAMES)
def test_sbatch_knows_every_option(bed: Bed, name: str) -> None:
    shutil.copy(FOLDER / name, bed.folder)

    done = bed.run("sbatch", "--test-only", name, check=False)

    assert done.returncode != NOT_AN_OPTION
    assert unknown_words(done.stderr) == []


@pytest.mark.parametrize("name", NAMES)
def test_slurm_takes_all_options_together(bed: Bed, name: str) -> None:
    """Without the site's names and sizes, the bed's own SLURM would start it."""
    text = (FOLDER / name).read_text()
    for of_the_site, of_the_bed in REPLACED:
        text = re.sub(of_the_site, of_the_bed, text)
    bed.write(name, text)

    done = bed.run("sbatch", "--test-only", name, check=False)

    assert re.search(r"sbatch: Job \d+ to start at ", done.stderr), done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("line", ["--frobnicate=1", "--mem-per-gpu=3Q", "--open-mode=sideways"])
def test_wrong_options_are_noticed(bed: Bed, line: str) -> None:
    """The first test would fail with any of these in a script."""
    text = (FOLDER / NAMES[0]).read_text().replace("\n#SBATCH --nodes=1\n", f"\n#SBATCH {line}\n")
    bed.write("wrong.sbatch", text)

    done = bed.run("sbatch", "--test-only", Path("wrong.sbatch"), check=False)

    assert done.returncode == NOT_AN_OPTION
    assert unknown_words(done.stderr)
